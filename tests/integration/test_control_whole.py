"""A reload is whole or not at all: whatever fails, and wherever the master is killed in it.

Memory that is lost on the way is found by the leak sanitizer at the daemon's end.
"""

import collections
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

from sluice import (WAIT, CtlError, Daemon, Port, amount, connect, descriptors, family, is_alive,
                    pool, service, wait_for)

BACKENDS_MAX, SERVICES_MAX = 8192, 512


@pytest.fixture
def config():
    with Port() as port:
        def text(weight=1, more=""):
            return service("web") + pool(
                "web", {"a": {"address": port.address, "weight": weight}}) + more
        yield text


def pids(daemon):
    info = daemon.ctl_json("show info")
    return [info["pid"], info["monitor_pid"], *info["worker_pids"]]


TAKEN = {"file_runs": True, "file_refused": False, "file_refused_wall_ms": None,
         "file_refused_error": None}  # what is said of a file that runs


def look(daemon):
    """All that must be the same after a reload that failed, but for what is said of the file."""
    shown = [daemon.ctl_json(f"show {what}") for what in ("config", "configs", "diff")]
    for view in shown:
        for key in TAKEN:
            view.pop(key, None)
    for row in shown[1]["configs"]:
        del row["file"], row["state"]
    stats = daemon.stats()
    return [shown, stats["generation"], [s["listen"] for s in stats["services"]],
            [p["name"] for p in stats["pools"]], [descriptors(pid) for pid in pids(daemon)]]


def is_as(before, after, more=0):
    """Connections of those who looked may still be closing, so fewer descriptors are fine."""
    return after[:-1] == before[:-1] and all(
        now <= was + more for was, now in zip(before[-1], after[-1]))


def of_file(daemon):
    """What is said of the file; the same wherever it is."""
    said = {key: daemon.ctl_json("show configs")[key] for key in TAKEN}
    for words in "show info", "show diff":
        shown = daemon.ctl_json(words)
        assert {key: shown[key] for key in TAKEN} == said, words
    return said


def kept(daemon, words):
    """The refusal; state and descriptors are as before it."""
    before = look(daemon)
    with pytest.raises(CtlError) as error:
        daemon.ctl(words)
    wait_for(lambda: is_as(before, look(daemon)), 10, f"the old state after {words}: {error.value}")
    event = daemon.ctl_json("show events kind=refused limit=1")["events"][0]
    assert event["text"].startswith(words), event
    return str(error.value)


# --- what may fail ---

def bad_file(stack, good):
    return good + "pool {", "not closed|name"


def held_port(stack, good):
    port = stack.enter_context(contextlib.closing(socket.socket()))
    port.bind(("127.0.0.1", 0))
    port.listen()
    address = f"127.0.0.1:{port.getsockname()[1]}"
    return good + service("more", "web", ["127.0.0.1:0", address]), "in use"


def absent_address(stack, good):
    return (good + service("more", "web", ["127.0.0.1:0", "192.0.2.7:0"], freebind=False),
            "192.0.2.7")


def too_many_backends(stack, good):
    return good + pool("more", {f"b{n}": "127.0.0.1:1" for n in range(BACKENDS_MAX)}), "backends"


def too_many_services(stack, good):
    return good + "".join(service(f"s{n}", "web", [f"unix:/tmp/none/{n}"])
                          for n in range(SERVICES_MAX)), "services"


def too_large(stack, good):
    return good + "#" * (17 << 20), "too large"


def no_log(stack, good):
    return good.replace("global {", 'global {\n log = "/none/x"', 1), "cannot open log"


@pytest.mark.parametrize("make", [bad_file, held_port, absent_address, too_many_backends,
                                  too_many_services, too_large, no_log],
                         ids=lambda make: make.__name__)
def test_what_fails_changes_nothing(start, config, make):
    daemon = start(Daemon(config()))
    daemon.reload(config(2))
    with contextlib.ExitStack() as stack:
        text, needle = make(stack, daemon.config_path.read_text().replace("weight = 2",
                                                                          "weight = 9"))
        daemon.config_path.write_text(text)
        assert of_file(daemon) == TAKEN
        refused_ms = 0
        for words in ("reload", "reload confirm=5m"):
            assert re.search(needle, kept(daemon, words))
            said = of_file(daemon)
            assert said["file_refused"] is True and said["file_runs"] is False
            assert re.search(needle, said["file_refused_error"])
            assert said["file_refused_wall_ms"] > refused_ms
            assert not any(row["file"] for row in daemon.ctl_json("show configs")["configs"])
            assert said["file_refused_error"] in daemon.ctl("show configs")
            refused_ms = said["file_refused_wall_ms"]
        # Nor is it the file's once another one runs; only a reload that takes it is.
        daemon.ctl("rollback")
        assert of_file(daemon) == said
    daemon.reload(config(3))
    assert daemon.backend("web", "a")["weight"] == 3 and of_file(daemon) == TAKEN


def test_without_descriptors_nothing_changes(start, config):
    """Every limit from what master has to what the reload needs: one after the other is short."""
    daemon = start(Daemon(config()))
    more = service("more", "web", ["127.0.0.1:0"] * 1) + service("less", "web")
    before = look(daemon)
    daemon.write(config(2, more))
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    refusals = []
    with connect(f"unix:{daemon.control}") as sock:
        def ask(words):
            sock.sendall(f"{words}\n".encode())
            reply = b""
            while not reply.endswith(b"\n\n"):
                reply += sock.recv(65536)
            return reply.decode()
        ask("help")  # it is accepted, and needs no more
        taken = {int(fd) for fd in os.listdir(f"/proc/{daemon.pid}/fd")}
        free = next(fd for fd in range(1000) if fd not in taken)
        for most in range(free, free + 60):
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (most, limits[1]))
            reply = ask("reload")
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
            if not reply.startswith("error: "):
                break
            refusals.append(reply)
            assert re.search("descriptors|open files", reply), reply
            assert of_file(daemon) == TAKEN, reply
            wait_for(lambda: is_as(before, look(daemon), 1), 10, f"the old state with {most}")
    assert len(set(refusals)) > 1 and daemon.backend("web", "a")["weight"] == 2
    assert len(daemon.stats()["services"]) == 3


# --- a master that is killed ---

def attach(daemon, *options):
    """strace on the master, once it is there."""
    tracer = subprocess.Popen(["strace", "-p", str(daemon.pid), *options], stderr=subprocess.PIPE,
                              start_new_session=True)
    assert b"attached" in tracer.stderr.readline()
    return tracer


def detach(tracer):
    if tracer.poll() is None:
        tracer.send_signal(signal.SIGTERM)
    tracer.communicate(timeout=WAIT)


def read_steps(log):
    """Each system call as its name and how many of that name came before it: strace counts so."""
    seen = collections.Counter()
    for name in re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE):
        seen[name] += 1
        yield name, seen[name]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_master_killed_at_any_step_leaves_old_or_new(config, folder):
    """The state file is whole, the next start has all of the old or all of the new, none is left."""
    path = folder / "state.json"
    good, other = config(), config(2, service("more", "web"))
    with Daemon(good, state_file=path) as daemon:
        daemon.ctl("set pool web retries=1")
        tracer = attach(daemon, "-o", folder / "steps")
        daemon.write(other)
        daemon.ctl("reload confirm=1h")
        detach(tracer)
    steps = list(read_steps(folder / "steps"))
    assert len(steps) > 100
    ended = 0
    for step in steps[::len(steps) // amount(40, 12)]:
        daemon = Daemon(good, state_file=path)
        left = family(daemon.pid)
        tracer = attach(daemon, "-o", "/dev/null", "-e",
                        f"inject={step[0]}:signal=KILL:when={step[1]}")
        daemon.write(other)
        with contextlib.suppress(CtlError, OSError):
            daemon.ctl("reload confirm=1h")
        detach(tracer)
        ended += not is_alive(daemon.pid)
        os.kill(daemon.pid, signal.SIGKILL)
        state = json.loads(path.read_text())
        assert state["version"] == 2 and state["overrides"], step
        wait_for(lambda: not any(is_alive(pid) for pid in left), what=f"the end after step {step}")
        daemon.kill()
        daemon.clean()
        with Daemon(other, state_file=path) as second:
            names = [row["name"] for row in second.stats()["services"]]
            is_old = second.backend("web", "a")["weight"] == 1
            assert names == (["web"] if is_old else ["web", "more"]), step
            # What was to be confirmed is not taken by a restart, once it had come into force.
            assert is_old == ("confirm" in state), step
            assert second.ctl_json("show diff")["overrides"][0]["option"] == "retries"
    assert ended > amount(20, 5)
