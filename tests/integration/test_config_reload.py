"""Configuration files, good and bad: what a reload takes, keeps and refuses."""

import hashlib
import json
import os
import pwd
import re
import signal
import socket
import stat

import pytest

from peers import Server, send_stream
from sluice import (SLUICED, CtlError, Daemon, Load, Origin, Port, amount, connect, descriptors,
                    load, pool, run, service, wait_for)

MB = 1 << 20


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", "http", names=list("abcd")))


@pytest.fixture
def echo(start):
    return start(Origin("echo"))


def spread(address, count=6):
    return set(load("crc", address, "--requests", count)["origins"])


def is_refused(address):
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionResetError:
        pass
    return False


def open_session(address):
    sock = connect(address)
    sock.sendall(b"hello")
    assert sock.recv(100) == b"hello"
    return sock


def still_echoes(sock):
    sock.sendall(b"still there")
    return sock.recv(100) == b"still there"


def all_descriptors(daemon):
    """How many master, monitor and each worker have, once no child of a reload is left."""
    info = daemon.ctl_json("show info")
    pids = [info["pid"], info["monitor_pid"], *info["worker_pids"]]
    return [descriptors(pid) for pid in pids]


# --- bad files ---

def truncated(path, good):
    path.write_text(good[:good.rindex("}")])


def empty(path, _):
    path.write_text("")


def directory(path, _):
    path.unlink()
    path.mkdir()


def fifo(path, _):
    path.unlink()
    os.mkfifo(path)


def missing(path, _):
    path.unlink()


def sparse(path, _):
    with open(path, "w") as file:
        file.truncate(100 * MB)


def zeros(path, good):
    path.write_bytes(good.encode() + b"\0" * 100)


def device(path, _):
    path.unlink()
    path.symlink_to("/dev/zero")


def itself(path, _):
    path.unlink()
    path.symlink_to(path.name)


def includes_itself(path, good):
    path.write_text(f'include("sluice.conf")\n{good}')


def includes_directory(path, good):
    path.write_text(f'include("/")\n{good}')


def unclosed_comment(path, good):
    path.write_text(f"{good}/* and so on\n")


def unclosed_string(path, good):
    path.write_text(good.replace('pool = "web"', 'pool = "web'))


def unknown_option(path, good):
    path.write_text(good.replace("pool =", "pol =", 1))


def unknown_scheduler(path, good):
    path.write_text(good.replace('"rr"', '"wcl"'))


def unknown_pool(path, good):
    path.write_text(good.replace('pool = "web"', 'pool = "wbe"'))


def twice(path, good):
    path.write_text(good + service("web", listen=["127.0.0.1:1"]))


def unset_variable(path, good):
    path.write_text(good.replace('"rr"', '"${SLUICE_TEST_UNSET}"'))


def bad_address(path, good):
    path.write_text(re.sub(r'address = "[^"]*"', 'address = "127.0.0.1:99999"', good))


def nested(path, good):
    path.write_text(good + "pool \"x\" {" * 500)


# How to make it, what the answer names, and whether it knows a line.
BAD = [
    (truncated, r'not closed; a "}" is missing', True),
    (empty, r"no service; write service", False),
    (directory, r"is a directory; it must be a regular file", False),
    (fifo, r"is a FIFO; it must be a regular file", False),
    (missing, r"cannot be read: No such file", False),
    (sparse, r"too large: 104857600 bytes, the limit is", False),
    (zeros, r"NUL byte", True),
    (device, r"is a device; it must be a regular file", False),
    (itself, r"cannot be read: Too many levels", False),
    (includes_itself, r"includes .* again", True),
    (includes_directory, r"is a directory; it must be a regular file", True),
    (unclosed_comment, r"comment", True),
    (unclosed_string, r"string|quote", True),
    (unknown_option, r'"pol"; did you mean "pool"', True),
    (unknown_scheduler, r'"wcl": unknown; did you mean', True),
    (unknown_pool, r'"wbe".*"web"', True),
    (twice, r'service "web" is given twice; first at .*:\d+', True),
    (unset_variable, r"SLUICE_TEST_UNSET is not set", True),
    (bad_address, r"99999", True),
    (nested, r'a section "pool" cannot stand', True),
]


def test_bad_files(start, origin):
    """Refused with place and cure, while the old one serves on; nothing leaks, however often."""
    daemon = start(Daemon(service("web") + pool("web", dict(zip("ab", origin.addresses)),
                                                scheduler="rr")))
    path, good = daemon.config_path, daemon.config_path.read_text()
    shown, before = daemon.ctl("show config"), None
    listeners = run(["ss", "-Htnl", "src", daemon.address("web")]).stdout.count("\n")
    for nth in range(2):
        for make, what, has_line in BAD:
            make(path, good)
            with pytest.raises(CtlError) as error:
                daemon.ctl("reload")
            text = str(error.value)
            assert re.search(what, text), (make.__name__, text)
            assert "nothing was changed" in text
            assert bool(re.search(rf"^{path}:\d+: ", text, re.M)) == has_line, text
            answer = json.loads(daemon.ctl("reload json"))
            assert "nothing was changed" in answer["error"]
            assert any(re.search(what, item["text"]) for item in answer["errors"]), answer
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
            path.write_text(good)
            assert daemon.ctl("show config") == shown
        assert spread(daemon.address("web")) == {"a", "b"}
        if nth == 0:
            before = all_descriptors(daemon)
    wait_for(lambda: all_descriptors(daemon) == before, what="the descriptors to be as before")
    assert daemon.stats()["generation"] == 1
    assert run(["ss", "-Htnl", "src", daemon.address("web")]).stdout.count("\n") == listeners
    assert daemon.ctl_json("reload")["changes"] == []


def test_bad_files_by_signal(start, origin):
    """SIGHUP has nobody to answer: the log tells."""
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.config_path.write_text("nonsense {")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: "nonsense" in daemon.log(), what="the error in the log")
    assert re.search(rf"{daemon.config_path}:1", daemon.log())
    assert spread(daemon.address("web")) == {"a"}


def test_address_in_use(start, origin):
    """Of several new listeners one cannot be had: none is taken, nothing leaks."""
    good = service("web") + pool("web", origin.addresses[:1])
    daemon = start(Daemon(good))
    free = start(Port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        bad = good + service("new", pool="web", listen=[free.address]) \
            + service("more", pool="web", listen=[f"127.0.0.1:{port}"])
        before = all_descriptors(daemon)
        daemon.write(bad)
        for _ in range(amount(30, 5)):
            with pytest.raises(CtlError, match=rf'"more".*127.0.0.1:{port}.*in use.*another'):
                daemon.ctl("reload")
        wait_for(lambda: all_descriptors(daemon) == before, what="the descriptors to be as before")
        assert is_refused(free.address)
        assert spread(daemon.address("web")) == {"a"}
    daemon.reload(bad)  # whoever had it is gone
    assert spread(free.address) == spread(f"127.0.0.1:{port}") == {"a"}


def test_every_fault_is_told_at_once(start, origin):
    """In file order, not only the first."""
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.write(service("web", idle_timeout="3") + pool(
        "web", {"a": {"address": "127.0.0.1", "weight": 70000}}, scheduler="wcl", retries=99,
        connect_timeout="0s", nonsense=1))
    with pytest.raises(CtlError) as error:
        daemon.ctl("reload")
    words = ["idle_timeout", "scheduler", "retries", "connect_timeout", "nonsense", "address",
             "weight"]
    told = [word for word in words if word in str(error.value)]
    assert told == words, error.value
    numbers = [int(n) for n in re.findall(r"^/.*?:(\d+): ", str(error.value), re.M)]
    assert len(numbers) >= 7 and numbers == sorted(numbers), error.value


def test_log_that_cannot_be_opened(start, origin):
    """All or nothing holds for the log too: the reply must not say that it is there now."""
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.options["log"] = daemon.folder / "missing" / "file.log"
    daemon.write(service("web") + pool("web", origin.addresses[:1]))
    with pytest.raises(CtlError, match=rf'{daemon.config_path}:6: global: cannot open log ".*/missing'):
        daemon.ctl("reload")
    assert "missing" not in daemon.ctl("show config")


@pytest.mark.parametrize("option,value", [("user", "sluice-test-nobody"),
                                          ("control_read", ["sluice-test-nobody"])])
def test_unknown_user(start, origin, option, value):
    """Refused, or at least said: the next start would not work, or nobody would have the level."""
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.options[option] = value
    daemon.write(service("web") + pool("web", origin.addresses[:1]))
    try:
        said = daemon.ctl("reload")
    except CtlError as error:
        said = str(error)
    assert re.search(rf'{option}.*"sluice-test-nobody".*does not exist', said), said


def test_one_event_for_one_refusal(start, origin):
    """With the place in the file."""
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.config_path.write_text("nonsense {")
    with pytest.raises(CtlError):
        daemon.ctl('reload why="a try"')
    events = [event for event in daemon.ctl_json("show events")["events"]
              if event["kind"] == "refused"]
    assert len(events) == 1, events
    assert events[0]["why"] == "a try" and f"uid {os.geteuid()}" in events[0]["by"]
    assert f"{daemon.config_path}:1" in events[0]["text"], events


# --- what a reload changes ---

def test_services_come_and_go(start, origin, echo):
    """A removed listener refuses; what came in through it goes on, with its counters' name gone."""
    second, third = start(Port()), start(Port())
    pools = pool("web", origin.addresses[:1]) + pool("echo", echo.addresses)
    daemon = start(Daemon(service("web") + pools))
    reply = daemon.reload(service("web") + service("echo", listen=[second.address, third.address])
                          + pools)
    assert any("echo" in line for line in reply["changes"]), reply
    one, two = start(open_session(second.address)), start(open_session(third.address))
    daemon.reload(service("web") + service("echo", listen=[second.address]) + pools)
    assert is_refused(third.address) and not is_refused(second.address)
    assert still_echoes(one) and still_echoes(two)
    daemon.reload(service("web") + pool("web", origin.addresses[:1]))
    assert is_refused(second.address)
    assert still_echoes(one) and still_echoes(two)
    assert [row["name"] for row in daemon.stats()["services"]] == ["web"]
    assert daemon.stats()["connections_active"] == 2
    one.close()
    two.close()
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="both to end")
    with open_port(third) as sock:  # nothing holds it any more
        assert sock


def open_port(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((port.host, port.number))
    sock.listen()
    return sock


def test_every_family_comes_and_goes(start, origin, folder):
    six, path = start(Port("::1")), folder / "web.sock"
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    addresses = [six.address, f"unix:{path}"]
    daemon.reload(service("web", listen=["127.0.0.1:0", *addresses])
                  + pool("web", origin.addresses[:1]))
    for address in addresses:
        assert spread(address) == {"a"}
    assert stat.S_ISSOCK(path.stat().st_mode)
    daemon.reload(service("web") + pool("web", origin.addresses[:1]))
    assert all(is_refused(address) for address in addresses)
    assert not path.exists()


def test_port_moves_between_services(start, origin):
    """In one reload, without a moment in which it refuses."""
    port = start(Port())
    pools = pool("one", origin.addresses[:1]) + pool("two", origin.addresses[1:2])

    def config(owner):
        return service("one", listen=["127.0.0.1:0", *([port.address] * (owner == "one"))]) \
            + service("two", listen=["127.0.0.1:0", *([port.address] * (owner == "two"))]) + pools
    daemon = start(Daemon(config("one")))
    client = start(Load("crc", port.address, "--duration", 600, "--connections", 4))
    for owner, letter in ("two", "b"), ("one", "a"), ("two", "b"):
        daemon.reload(config(owner))
        assert spread(port.address) == {letter}
    assert client.finish()["errors"] == 0


def test_a_port_that_the_kernel_chose_stays_its_services(start, origin):
    """Another service would take half of its clients."""
    pools = pool("one", origin.addresses[:1]) + pool("two", origin.addresses[1:2])
    one, two = service("one"), service("two")
    daemon = start(Daemon(one + two + pools))
    address, generation = daemon.address("one"), daemon.ctl_json("show info")["generation"]
    with pytest.raises(CtlError, match=rf'cannot listen on {address}: .* which the kernel gave to service '
                                       r'"one" for 127.0.0.1:0'):
        daemon.write(one + service("two", listen=["127.0.0.1:0", address]) + pools)
        daemon.ctl("reload")
    assert daemon.ctl_json("show info")["generation"] == generation
    assert spread(address, 12) == {"a"} and spread(daemon.address("two")) == {"b"}
    daemon.reload(service("one", listen=[address]) + two + pools)
    assert spread(address, 12) == {"a"}


def test_service_takes_another_pool(start, origin):
    pools = pool("one", origin.addresses[:1]) + pool("two", origin.addresses[1:2])
    daemon = start(Daemon(service("web", pool="one") + pools))
    address = daemon.address("web")
    assert spread(address) == {"a"}
    daemon.reload(service("web", pool="two") + pools)
    assert spread(address) == {"b"}


def test_service_is_renamed(start, origin):
    """The listener goes over; the counters begin anew under the new name."""
    port = start(Port())
    def config(name):
        return service(name, pool="web", listen=[port.address]) + pool("web", origin.addresses[:1])
    daemon = start(Daemon(config("old")))
    assert spread(port.address) == {"a"}
    daemon.reload(config("new"))
    assert spread(port.address) == {"a"}
    assert daemon.service("new")["connections_total"] == 6


def test_options_of_service_and_pool(start, echo):
    """Those of new sessions; established ones keep theirs."""
    def config(**options):
        return service("s", **options) + pool("s", echo.addresses)
    daemon = start(Daemon(config()))
    address = daemon.address("s")
    old = start(open_session(address))
    daemon.reload(config(idle_timeout="300ms"))
    new = start(open_session(address))
    with pytest.raises(ConnectionResetError):
        new.recv(10)
    assert still_echoes(old)
    assert daemon.service("s")["ended_by"]["idle_timeout"] == 1


def test_counters_are_kept_by_name(start, origin):
    a, b = origin.addresses[:2]
    daemon = start(Daemon(service("web") + pool("web", {"x": a})))
    address = daemon.address("web")
    load("crc", address, "--requests", 7)
    bytes_out = daemon.check_accounts("web")["bytes_out"]
    daemon.reload(service("web") + pool("web", {"new": b, "x": a}))
    assert daemon.service("web")["connections_total"] == 7
    assert daemon.service("web")["bytes_out"] == bytes_out
    assert daemon.backend("web", "x")["connections_total"] == 7
    assert daemon.backend("web", "new")["connections_total"] == 0
    daemon.reload(service("web") + pool("web", {"x": b}))  # another address, the same name
    assert daemon.backend("web", "x")["connections_total"] == 7
    load("crc", address, "--requests", 3)
    assert daemon.check_accounts("web")["connections_total"] == 10
    assert daemon.backend("web", "x")["connections_total"] == 10


def test_long_transfer_through_reloads(start, origin, folder):
    """Not a byte is lost or changed while everything around it changes."""
    reloads, part = amount(50, 10), 4 * MB
    length = reloads * part + 32 * MB  # a rest that no socket buffers hold
    server = start(Server(lambda sock: send_stream(sock, length)))
    a, b = origin.addresses[:2]
    configs = [
        service("bulk") + pool("bulk", {"s": server.address}),
        service("bulk", idle_timeout="5m")
        + pool("bulk", {"s": {"address": server.address, "weight": 3}, "a": a}, scheduler="rr"),
        service("bulk") + service("more", pool="bulk", listen=[f"unix:{folder}/more.sock"])
        + pool("bulk", {"a": a, "b": b}, scheduler="wrr"),
        service("bulk") + pool("bulk", {"s": a}),
    ]
    daemon = start(Daemon(configs[0]))
    digest = hashlib.sha256()
    with connect(daemon.address("bulk"), 240, receive_buffer=256 << 10) as sock, \
            sock.makefile("rb") as stream:
        for nth in range(1, reloads + 1):
            digest.update(stream.read(part))
            daemon.reload(configs[nth % len(configs)])
        assert daemon.service("bulk")["bytes_out"] < length  # it was under way all the time
        while data := stream.read(MB):
            digest.update(data)
    assert digest.hexdigest() == server.workers[0].result()
    row = daemon.check_accounts("bulk")
    assert row["bytes_out"] == length and row["ended_by"]["worker_died"] == 0


def test_session_through_many_reloads(start, echo, origin):
    """Descriptors of all processes stand still, whatever comes and goes."""
    base = service("s") + pool("s", echo.addresses)
    port = start(Port())
    more = base + service("t", listen=[port.address]) + pool("t", origin.addresses)
    daemon = start(Daemon(base))
    sock = start(open_session(daemon.address("s")))
    daemon.reload(more)
    daemon.reload(base)
    seen = [all_descriptors(daemon)]

    def rests():
        seen.append(all_descriptors(daemon))
        return seen[-5:] == 5 * seen[-1:]
    wait_for(rests, what="what the first reloads have left behind to be gone")
    before = seen[-1]
    for _ in range(amount(50, 10)):
        daemon.reload(more)
        daemon.reload(base)
    assert still_echoes(sock)
    wait_for(lambda: all_descriptors(daemon) == before, what="the descriptors to be as before")


def test_what_needs_a_restart_is_said(start, origin):
    good = service("web") + pool("web", origin.addresses[:1])
    daemon = start(Daemon(good))
    control, workers = daemon.control, daemon.workers()
    daemon.options.update(workers=3, control_socket=daemon.folder / "other.sock")
    daemon.write(good)
    reply = daemon.ctl_json("reload")
    assert reply["needs_restart"] is True
    text = "\n".join(reply["changes"])
    assert re.search(r"workers 2 -> 3: needs a restart", text), text
    assert re.search(r"control_socket .*other.sock: needs a restart", text), text
    assert daemon.workers() == workers and control.exists()
    assert "workers = 2" in daemon.ctl("show config")  # the running one
    assert "needs a restart" in daemon.ctl("check config")  # still
    daemon.options.update(workers=2, control_socket=control)
    daemon.write(good)
    assert daemon.ctl_json("reload")["needs_restart"] is False
    assert "would change nothing" in daemon.ctl("check config")


# --- overrides ---

def test_overrides_survive_until_the_file_says_otherwise(start, origin):
    a, b = origin.addresses[:2]

    def config(**options):
        return service("web") + pool("web", {"a": {"address": a, **options}, "b": b})
    daemon = start(Daemon(config(weight=2)))
    daemon.ctl("set backend web a weight=5 max_connections=9")
    daemon.ctl("drain backend web b why=disk")

    def weight():
        row = daemon.backend("web", "a")
        return row["weight"]
    reply = daemon.reload(config(weight=2))  # as before
    assert weight() == 5 and daemon.backend("web", "b")["admin"] == "drain"
    assert {row["option"] for row in reply["overrides"]} == {"weight", "max_connections", "admin"}
    reply = daemon.reload(config(weight=2) + service("more", pool="web"))
    assert weight() == 5 and len(reply["overrides"]) == 3
    reply = daemon.reload(config(weight=3))  # that very value
    assert weight() == 3
    assert {row["option"] for row in reply["overrides"]} == {"max_connections", "admin"}
    assert "weight" in str(reply["warnings"]) and "no longer holds" in str(reply["warnings"]), reply
    daemon.ctl("set backend web a weight=7")
    daemon.reload(config())  # from 3 to the default
    assert weight() == 1
    reply = daemon.reload(service("web") + pool("web", {"a": a}))  # b is gone, its override too
    assert {row["option"] for row in reply["overrides"]} == {"max_connections"}
    daemon.reload(config())
    assert daemon.backend("web", "b")["admin"] == "ready"


def test_override_that_the_file_agrees_with(start, origin):
    """Then nothing stands against the file any more, and its next change holds."""
    a, b = origin.addresses[:2]

    def config(weight):
        return service("web") + pool("web", {"a": {"address": a, "weight": weight}, "b": b})
    daemon = start(Daemon(config(1)))
    daemon.ctl("set backend web a weight=4")
    assert daemon.reload(config(4))["overrides"] == []
    daemon.reload(config(6))
    assert daemon.backend("web", "a")["weight"] == 6


def test_bad_reload_keeps_overrides(start, origin):
    config = service("web") + pool("web", origin.addresses[:2])
    daemon = start(Daemon(config))
    daemon.ctl("set backend web a weight=4")
    with pytest.raises(CtlError):
        daemon.reload(config + "nonsense")
    assert daemon.backend("web", "a")["weight"] == 4
    assert "# override: pool web, backend a: weight = 4" in daemon.ctl("show config")


# --- looking without changing ---

def test_check_config_changes_nothing(start, origin, folder):
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    shown = daemon.ctl("show config")
    assert "would change nothing" in daemon.ctl("check config")
    daemon.write(service("web") + pool("web", origin.addresses[:2]))
    port = start(Port())
    other = folder / "other.conf"
    other.write_text(service("new", pool="web", listen=[port.address])
                     + pool("web", origin.addresses[:1]))
    for words, needle in ("check config", "backend b"), (f"check config {other}", "service new"):
        reply = daemon.ctl_json(words)
        assert reply["valid"] is True and any(needle in line for line in reply["changes"]), reply
        assert "a reload would change:" in daemon.ctl(words)
    other.write_text("nonsense {")
    with pytest.raises(CtlError, match=rf"would be refused\n{other}:1: "):
        daemon.ctl(f"check config {other}")
    assert daemon.ctl("show config") == shown and daemon.stats()["generation"] == 1
    assert is_refused(port.address)
    relative = run([SLUICED.parent / "sluicectl", "-s", daemon.control, "check", "config",
                    "other.conf"], check=False, cwd=folder)
    assert relative.returncode == 1 and f"{other}:1: " in relative.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_check_config_reads_as_the_asker(start, origin, folder):
    """Who may not read a file learns nothing of it, not even by way of the daemon."""
    nobody = pwd.getpwnam("nobody")
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1]), control_mode="0666",
                          control_administer=["nobody"]))
    secret = folder / "secret.conf"
    secret.write_text("password = 12345\n")
    secret.chmod(0o600)
    by_way = folder / "by-way.conf"
    by_way.write_text(f'include("{secret}")\n')
    expanded = folder / "expanded.conf"
    expanded.write_text(f'service "${{file:{secret}}}" {{ }}\npool "p" {{ scheduler = '
                        f'"${{file:{secret}}}" }}\n')

    def check(path):
        return run(["setpriv", "--reuid", nobody.pw_uid, "--regid", nobody.pw_gid, "--clear-groups",
                    SLUICED.parent / "sluicectl", "-s", daemon.control, "check", "config", path],
                   check=False)
    for path in secret, by_way, expanded:
        result = check(path)
        assert result.returncode == 1 and "Permission denied" in result.stderr, result
        assert "12345" not in result.stderr and "password" not in result.stderr, result
    secret.chmod(0o644)
    assert "password" in check(secret).stderr
    with pytest.raises(CtlError, match="password"):
        daemon.ctl(f"check config {by_way}")


# --- sluiced's own options ---

def sluiced(*words, check=False, **options):
    return run([SLUICED, *words], check=check, **options)


def write(folder, text):
    path = folder / "sluice.conf"
    path.write_text(text)
    return path


def test_option_t(folder):
    path = write(folder, f'global {{ control_socket = "{folder}/ctl" }}\n'
                 + service("web") + pool("web", ["127.0.0.1:1"]))
    good = sluiced("-c", path, "-t")
    assert good.returncode == 0 and "good" in good.stdout and good.stderr == "", good
    write(folder, service("web", pool="wbe") + pool("web", ["127.0.0.1:1"]))
    bad = sluiced("-c", path, "-t")
    assert bad.returncode == 1 and bad.stdout == ""
    assert re.search(rf'^{path}:\d+: service "web": .*"wbe".*; .*"web"', bad.stderr), bad.stderr
    assert sluiced("-c", folder / "missing.conf", "-t").returncode == 1
    assert sluiced("-c", folder, "-t").returncode == 1


@pytest.mark.parametrize("text,what", [
    ('global { user = "sluice-test-nobody" }\n', "user.*sluice-test-nobody.*does not exist"),
    ('global { control_operate = { "@sluice-test-nobody" } }\n',
     "control_operate.*group.*sluice-test-nobody"),
    (service("far", pool="web", listen=["192.0.2.1:80"]), "192.0.2.1:80.*does not have"),
    (pool("named", ["sluice-test.invalid:80"]), "sluice-test.invalid.*does not resolve"),
    (pool("told", ["127.0.0.1:2"], notify="/sluice-test/told"),
     'pool "told": (warning: )?notify: "/sluice-test/told": does not exist'),
    (pool("ran", ["127.0.0.1:2"], {"exec": {"command": ["/dev/null", "-v"]}}),
     'pool "ran" / check "exec": .*command: "/dev/null": not a regular file'),
])
def test_option_strict(folder, text, what):
    """What only the target machine can know: a warning, and an error when strict."""
    path = write(folder, text + service("web") + pool("web", ["127.0.0.1:1"]))
    for words, status in ([], 0), (["--strict"], 1):
        result = sluiced("-c", path, "-t", *words)
        assert result.returncode == status and re.search(what, result.stderr), result


def test_option_T_prints_what_loads_again(folder):
    secret = folder / "secret"
    secret.write_text("rr\n")
    (folder / "more.d").mkdir()
    (folder / "more.d" / "x.conf").write_text(pool("more", {"x": {"address": "[::1]:1",
                                                                  "weight": 7}}))
    path = write(folder, 'global { workers = 2 control_read = { "nobody", "@0" } }\n'
                 'include("more.d/*.conf")\n'
                 + service("web", listen=["127.0.0.1:0", "[::1]:0", f"unix:{folder}/x y"],
                           idle_timeout="90s", max_connections=10)
                 + pool("web", {"a": "127.0.0.1:1", "b": {"address": "localhost:2", "weight": 0,
                                                          "admin": "drain"}},
                        checks={"tcp": {"interval": "1s", "port": 99}},
                        scheduler="${file:%s}" % secret, connect_timeout="${T:-250ms}"))
    first = sluiced("-c", path, "-T", check=True)
    again = folder / "again.conf"
    again.write_text(first.stdout)
    second = sluiced("-c", again, "-T", check=True)
    assert second.stdout == first.stdout
    for piece in ('weight = 7', f'"unix:{folder}/x y"', f"${{file:{secret}}}",
                  'idle_timeout = "90s"', 'connect_timeout = "250ms"'):
        assert piece in first.stdout, first.stdout
    assert "retries = 3" in first.stdout  # the effective one, defaults too
    with_bad = folder / "bad.conf"
    with_bad.write_text("nonsense")
    bad = sluiced("-c", with_bad, "-T")
    assert bad.returncode == 1 and bad.stdout == ""


def test_usage():
    version, usage = sluiced("-V", check=True), sluiced("-h", check=True)
    assert re.match(r"sluiced \d+\.\d+", version.stdout)
    assert usage.stdout.startswith("usage: sluiced") and "--strict" in usage.stdout
    for words in ["-x"], ["more"], ["--strict"], ["-c"], ["--nonsense"]:
        bad = sluiced(*words)
        assert bad.returncode == 2 and "usage: sluiced" in bad.stderr and bad.stdout == "", words


# --- a second daemon, and what a dead one left ---

def start_second(daemon, control=None, text=None):
    """Runs one with the same file, or another; it has to end by itself."""
    config = daemon.folder / "second.conf"
    config.write_text(text or daemon.config_path.read_text().replace(
        str(daemon.control), str(control or daemon.control)))
    return sluiced("-c", config, timeout=60)


def test_second_daemon_is_refused(start, origin, folder):
    port, six, path = start(Port()), start(Port("::1")), folder / "web.sock"
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    result = start_second(daemon)
    assert result.returncode == 1
    assert "control socket" in result.stderr and "another sluiced is running" in result.stderr
    addresses = [port.address, six.address, f"unix:{path}"]
    daemon.reload(service("web", listen=["127.0.0.1:0", *addresses])
                  + pool("web", origin.addresses[:1]))
    for address in addresses:
        result = start_second(daemon, text=f'global {{ workers = 2 control_socket = '
                              f'"{folder}/second.sock" }}\n'
                              + service("web", listen=[address]) + pool("web", ["127.0.0.1:1"]))
        assert result.returncode == 1, address
        assert re.search(rf"cannot listen on {re.escape(address)}: Address already in use",
                         result.stderr), result.stderr
        assert not (folder / "second.sock").exists()
    # The first one has lost nothing of it, not even a share of its clients.
    for address in addresses:
        assert load("crc", address, "--requests", 20)["origins"] == {"a": 20}
    assert daemon.ctl_json("show info")["pid"] == daemon.pid


def leave_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def test_stale_sockets_are_replaced(start, origin, folder):
    control, path = folder / "ctl.sock", folder / "web.sock"
    leave_socket(control)
    leave_socket(path)

    class Here(Daemon):
        def write(self, config, folder=None):
            self.control = self.options["control_socket"] = control
            super().write(config, folder)
    daemon = start(Here(service("web", listen=[f"unix:{path}"])
                        + pool("web", origin.addresses[:1])))
    assert spread(f"unix:{path}") == {"a"}
    assert daemon.stop() == 0
    assert not path.exists() and not control.exists()


def test_a_file_in_the_sockets_place(start, origin, folder):
    """What is no socket is not touched."""
    path = folder / "precious"
    path.write_text("precious")
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    good = daemon.config_path.read_text()
    daemon.write(service("web", listen=[f"unix:{path}"]) + pool("web", origin.addresses[:1]))
    with pytest.raises(CtlError, match="no socket"):
        daemon.ctl("reload")
    daemon.config_path.write_text(good)
    result = start_second(daemon, control=path)
    assert result.returncode == 1 and "control socket" in result.stderr
    assert path.read_text() == "precious"
