"""Harness of the integration tests: starts sluiced and other programs, talks to them, ends them.

Everything that is started is a Process: a context manager that ends the program with all its
children, by their pids, however the test went. Nothing here sleeps for a fixed time: wait_for()
polls for a condition, with limits generous enough for sanitizers on a busy machine.

SLUICE_BUILD names the build folder (default: build/test in the repository). SLUICE_QUICK=1 asks
for smaller amounts: see amount().
"""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", REPOSITORY / "build" / "test")).resolve()
SLUICED = BUILD / "src" / "sluiced"
SLUICECTL = BUILD / "src" / "sluicectl"
ORIGIN = BUILD / "src" / "tools" / "sluice-origin"
LOAD = BUILD / "src" / "tools" / "sluice-load"
QUICK = os.environ.get("SLUICE_QUICK", "") not in ("", "0")
WAIT = 60  # seconds for what should hold almost at once

SANITIZER = re.compile(r"^.*(?:ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error: "
                       r"|LeakSanitizer has encountered).*$", re.MULTILINE)
DEATH = re.compile(r'msg="(?:worker \d+|monitor) \(pid (\d+)\) ended [^"]*"')


def amount(full, quick):
    """How much of something: the second under SLUICE_QUICK."""
    return quick if QUICK else full


def wait_for(condition, timeout=WAIT, what="the condition"):
    """Polls until condition() is true and returns its value; fails after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(0.01)


# --- processes of this machine ---

def _stat(pid):
    """State, parent and session of a process; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[3])


def family(leader):
    """Pids of the live processes of leader's session, and of all that descend from leader."""
    table = {int(name): _stat(name) for name in os.listdir("/proc") if name.isdigit()}
    table = {pid: stat for pid, stat in table.items() if stat and stat[0] not in "ZX"}
    found = {pid for pid, stat in table.items() if pid == leader or stat[2] == leader}
    while True:
        more = {pid for pid, stat in table.items() if stat[1] in found} - found
        if not more:
            return sorted(found)
        found |= more


def is_alive(pid):
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def memory(pid):
    """Resident bytes of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- addresses ---

class Port:
    """A port of the loopback device that stays ours as long as this object is open.

    The socket is bound with SO_REUSEADDR and never listens: a server may bind and listen beside it,
    while the kernel gives the port to nobody else. Until then connecting is refused.
    """

    def __init__(self, host="127.0.0.1"):
        family_of = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family_of)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, 0))
        self.host = host
        self.number = self.socket.getsockname()[1]
        self.address = f"[{host}]:{self.number}" if ":" in host else f"{host}:{self.number}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def split(address):
    """("127.0.0.1", 80) of "127.0.0.1:80", ("::1", 80) of "[::1]:80"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def connect(address, timeout=WAIT, receive_buffer=0):
    """A connected socket, to an address as the configuration writes it."""
    local = address.startswith("unix:")
    host = "" if local else split(address)[0]
    sock = socket.socket(socket.AF_UNIX if local
                         else socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.settimeout(timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(address[5:] if local else (host, split(address)[1]))
    except BaseException:
        sock.close()
        raise
    return sock


# --- programs ---

_libc = ctypes.CDLL(None)


def _end_with_us():
    _libc.prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


class Process:
    """A program in a session and a folder of its own. Its output is in out() and log()."""

    stop_signal = signal.SIGTERM
    environment = {}  # defaults, which the test's own environment overrides
    stderr = None  # an open file that standard error goes to instead of log()

    def __init__(self, args, folder=None, **popen):
        self.name = pathlib.Path(args[0]).name
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or make_folder(self.name))
        self.out_path = self.folder / f"{self.name}.out"
        self.log_path = self.folder / f"{self.name}.log"
        with open(self.out_path, "ab") as out, open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                [str(word) for word in args], stdin=subprocess.DEVNULL, stdout=out,
                stderr=self.stderr or log,
                cwd=self.folder, env={**self.environment, **os.environ}, start_new_session=True,
                preexec_fn=_end_with_us, **popen)
        self.pid = self.popen.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.stop()  # rather than kill(): some leave shared memory behind
        finally:
            self.kill()
            self.clean()

    def clean(self):
        if self.own_folder:
            remove_folder(self.folder)

    def out(self):
        return self.out_path.read_text(errors="replace")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=WAIT):
        """Its exit status, once it has ended."""
        wait_for(lambda: not self.running(), timeout, f"the end of {self.name}")
        return self.popen.returncode

    def wait_output(self, expression, timeout=WAIT):
        """The first match in its standard output; fails when it ends without."""
        def find():
            running = self.running()
            match = re.search(expression, self.out(), re.MULTILINE)
            assert match or running, f"{self.name} ended without {expression!r}:\n{self.all()}"
            return match
        return wait_for(find, timeout, f"{expression!r} from {self.name}")

    def ready_when(self, condition):
        """Waits for condition() while the program lives; ends it when that fails."""
        def check():
            assert self.running(), f"{self.name} ended with {self.popen.returncode}:\n{self.all()}"
            return condition()
        try:
            wait_for(check, WAIT, f"{self.name} to be ready")
        except BaseException:
            self.__exit__()
            raise

    def stop(self, timeout=WAIT):
        """Ends it in its orderly way and returns its exit status."""
        if self.running():
            self.signal(self.stop_signal)
        return self.wait(timeout)

    def kill(self):
        """Ends it at once with all its family; harmless when it is over."""
        left = family(self.pid)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in left), WAIT, f"the end of {left}")

    def all(self):
        return f"{self.out()[-4000:]}{self.log()[-20000:]}"


def make_folder(name):
    """A new folder that other users may enter: daemons started as root give root up."""
    folder = tempfile.mkdtemp(prefix=f"{name}-test-")
    os.chmod(folder, 0o755)
    return pathlib.Path(folder)


def remove_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)


def run(args, timeout=5 * WAIT, check=True, **options):
    """Runs a client program to its end; fails unless its status is 0. Returns its result."""
    words = [str(word) for word in args]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace",
                          start_new_session=True, preexec_fn=_end_with_us, **options) as popen:
        try:
            out, err = popen.communicate(timeout=timeout)
        except BaseException:
            for pid in family(popen.pid):
                os.kill(pid, signal.SIGKILL)
            raise
    result = subprocess.CompletedProcess(words, popen.returncode, out, err)
    assert not check or popen.returncode == 0, f"{words} ended with {popen.returncode}:\n{out}{err}"
    return result


class Origin(Process):
    """sluice-origin, one listener a mode: Origin("http", "echo@[::1]:0", "discard@unix:PATH").

    .addresses are those of its listeners, in order; their names in X-Origin too, unless given.
    """

    def __init__(self, *modes, names=(), options=()):
        words = [mode if "@" in mode else f"{mode}@127.0.0.1:0" for mode in modes]
        super().__init__([ORIGIN, *(w for word in words for w in ("--listen", word)),
                          *(w for name in names for w in ("--name", name)), *options], umask=0)
        self.ready_when(lambda: re.search("^ready$", self.out(), re.MULTILINE))
        self.names = re.findall(r"^listening (\S+)$", self.out(), re.MULTILINE)
        self.addresses = [name.split("@", 1)[1] for name in self.names]

    def stats(self, nth=0):
        """active, peak, total, requests of one listener, now."""
        known = len(self.out())
        self.signal(signal.SIGUSR1)
        pattern = re.compile(rf"^stats {re.escape(self.names[nth])} (.*)$", re.MULTILINE)
        line = wait_for(lambda: pattern.search(self.out(), known), WAIT, "figures of sluice-origin")
        return _figures(line[1])

    def served(self):
        """Ends it and returns connections, requests, bytes_in, bytes_out of its whole life."""
        status = self.stop()
        assert status == 0 and not self.log(), f"sluice-origin: {status}\n{self.all()}"
        return _figures(re.search(r"^served (.*)$", self.out(), re.MULTILINE)[1])


def _figures(text):
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}


def pattern(length):
    """What sluice-origin sends as so many bytes."""
    period = bytes((j * 2654435761 & 0xFFFFFFFF) >> 24 for j in range(65521))
    return (period * (length // len(period) + 1))[:length]


class Load(Process):
    """sluice-load in the background: Load("keepalive", address, "--connections", 8)."""

    def __init__(self, mode, target, *options):
        super().__init__([LOAD, mode, "--target", target, "--json", *options])

    def report(self, timeout=5 * WAIT, check=True):
        """Waits for its end and returns its report; unless told, it fails on any error it met."""
        status = self.wait(timeout)
        assert status == 0 or (status == 1 and not check), f"sluice-load: {status}\n{self.all()}"
        return json.loads(self.out().splitlines()[-1])

    def finish(self, check=True):
        """Ends it early; the same report."""
        if self.running():
            self.signal(signal.SIGINT)
        return self.report(check=check)


def load(mode, target, *options, timeout=5 * WAIT):
    """Runs sluice-load to its end; fails on any error it met; returns its report."""
    result = run([LOAD, mode, "--target", target, "--json", *options], timeout)
    return json.loads(result.stdout.splitlines()[-1])


# --- configuration ---

def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(_value(item) for item in value) + " }"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _options(options, indent):
    return "".join(f"{indent}{name} = {_value(value)}\n" for name, value in options.items())


def service(name, pool=None, listen=("127.0.0.1:0",), **options):
    """Text of a service section; its pool has the same name unless told."""
    options = {"listen": list(listen), "pool": pool or name, **options}
    return f'service "{name}" {{\n{_options(options, "    ")}}}\n'


def pool(name, backends, checks=None, reuse=None, **options):
    """Text of a pool section.

    backends: {"a": "127.0.0.1:80", "b": {"address": "…", "weight": 3}}, or a list of addresses,
    then named a, b, c …; checks: {"tcp": {"interval": "500ms"}}; reuse: {"mode": "warm"}.
    """
    if not isinstance(backends, dict):
        backends = {chr(ord("a") + nth): address for nth, address in enumerate(backends)}
    text = f'pool "{name}" {{\n{_options(options, "    ")}'
    if reuse:
        text += f'    reuse {{\n{_options(reuse, " " * 8)}    }}\n'
    for kind, inside in (checks or {}).items():
        text += f'    check "{kind}" {{\n{_options(inside, " " * 8)}    }}\n'
    for backend, inside in backends.items():
        if not isinstance(inside, dict):
            inside = {"address": inside}
        text += f'    backend "{backend}" {{\n{_options(inside, " " * 8)}    }}\n'
    return text + "}\n"


# --- the daemon ---

class CtlError(Exception):
    """The daemon refused a command."""


class Daemon(Process):
    """sluiced with a configuration of its own, ready when this returns.

    config: the services and pools, as text. Everything else are options of the global section.
    Leaving the with block stops it, and checks that it ended well: see stop().
    """

    environment = {"UBSAN_OPTIONS": "print_stacktrace=1"}

    def __init__(self, config, workers=2, drain_timeout="5s", **options):
        folder = make_folder("sluiced")
        self.control = folder / "ctl.sock"
        self.config_path = folder / "sluice.conf"
        self.options = {"workers": workers, "control_socket": self.control,
                        "drain_timeout": drain_timeout, "state_file": "none", **options}
        self.killed = set()
        self.checked = False
        self.write(config, folder)
        super().__init__([SLUICED, "-c", self.config_path], folder)
        self.own_folder = True
        self.ready_when(self._is_ready)

    def write(self, config, folder=None):
        """Writes the file, with the same global section, without telling the daemon."""
        new = pathlib.Path(folder or self.folder) / "sluice.conf.new"
        new.write_text(f"global {{\n{_options(self.options, '    ')}}}\n{config}")
        new.rename(self.config_path)

    def _is_ready(self):
        try:
            rows = self.ctl_json("show workers")["workers"]
        except OSError:
            return False
        return all(row["state"] == "running" for row in rows)

    def ctl(self, words, timeout=WAIT):
        """The reply to one command, as text; CtlError when it is refused."""
        with connect(f"unix:{self.control}", timeout) as sock:
            sock.sendall(f"{words}\n".encode())
            reply = b""
            while not reply.endswith(b"\n\n"):
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError(f"{words}: reply cut off after {reply[-200:]!r}")
                reply += data
        text = reply.decode()[:-1]
        if text.startswith("error: "):
            raise CtlError(text[7:].rstrip("\n"))
        return text

    def ctl_json(self, words, timeout=WAIT):
        """The same with json as last word, parsed."""
        reply = json.loads(self.ctl(f"{words} json", timeout))
        if "error" in reply:
            raise CtlError(reply["error"])
        return reply

    def stats(self):
        return self.ctl_json("show stats")

    def service(self, name):
        """What show stats says of a service."""
        return _named(self.stats()["services"], name)

    def backend(self, pool_name, name):
        return _named(_named(self.stats()["pools"], pool_name)["backends"], name)

    def address(self, service_name, nth=0):
        """Where a service listens, with the port that the kernel chose."""
        return self.service(service_name)["listen"][nth]

    def workers(self):
        """Pids of the workers, by id."""
        return [row["pid"] for row in self.ctl_json("show workers")["workers"]]

    def reload(self, config):
        """Loads a new configuration; returns the reply when every worker has it."""
        self.write(config)
        reply = self.ctl_json("reload")
        wait_for(lambda: all(row["generation"] >= reply["generation"]
                             for row in self.ctl_json("show workers")["workers"]),
                 WAIT, "workers to take the new configuration")
        return reply

    def kill_child(self, pid, number=signal.SIGKILL):
        """Ends a worker or the monitor; stop() takes any other death for a failure."""
        self.killed.add(pid)
        os.kill(pid, number)

    def check_accounts(self, service_name, slack=0):
        """Waits until nothing is active, checks that all connections add up, returns the service.

        slack: how far off they may be, for workers that died between two counts.
        """
        def at_rest():
            row = self.service(service_name)
            return row if row["connections_active"] == 0 else None
        row = wait_for(at_rest, WAIT, f"service {service_name} to come to rest")
        ended = sum(row["ended_by"].values())
        assert sum(row["refused_by"].values()) == row["connections_refused"], row
        off = row["connections_total"] - row["connections_refused"] - ended
        assert abs(off) <= slack, (off, row)
        return row

    def stop(self, timeout=WAIT):
        status = super().stop(timeout)
        self.check_end()
        return status

    def check_end(self):
        """Status 0, no report of a sanitizer, no child that died by itself, none left over."""
        self.checked = True
        status = self.wait(1)
        left = family(self.pid)
        log = self.log()
        assert status == 0, f"sluiced ended with {status}"
        assert not SANITIZER.search(log), SANITIZER.search(log)[0]
        assert not left, f"processes left over: {left}"
        died = {int(pid) for pid in DEATH.findall(log)}
        assert died <= self.killed, f"children died: {died - self.killed}"
        assert not self.control.exists(), "the control socket was left over"

    def __exit__(self, *_):
        try:
            if not self.checked:
                if self.running():
                    self.stop()
                else:
                    self.check_end()
        finally:
            self.kill()
            print(f"--- sluiced {self.pid}: {self.config_path.read_text()}\n{self.log()[-20000:]}")
            self.clean()


def _named(rows, name):
    found = [row for row in rows if row["name"] == name]
    assert len(found) == 1, f"{name}: {len(found)} among {[row['name'] for row in rows]}"
    return found[0]
