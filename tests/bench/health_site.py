"""What the health rows are measured with: the daemon, origins that can go, and watching both.

A moment is time.monotonic(). What the daemon knows is read by its control socket, about a thousand
times a second, so a moment that was seen there is later than the truth by about a millisecond.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

from procs import BenchError, Process, free_port

LIMIT_S = 60      # nothing that is waited for takes that long
STEP_S = 0.0005   # between two looks


@dataclass
class Site:
    """The programs, where they run, and where their logs go."""
    cores: object
    work: str
    sluiced: str
    origin: str
    load: str
    isolated: bool  # in a network namespace of our own, so that 127.0.0.0/8 is ours


def await_moment(condition, what, step_s=STEP_S):
    """When the condition came true."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end_s:
            raise BenchError(f"{what}: not within {LIMIT_S} s")
        time.sleep(step_s)
    return time.monotonic()


class Origin:
    """sluice-origin, mode http, on one address; it can go away, hang, and come back."""

    def __init__(self, site, host="127.0.0.1"):
        self.site, self.host = site, host
        self.port = free_port()
        self.address = f"{host}:{self.port}"
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stop(signal.SIGKILL)
            self.process.child.stdout.close()

    def start(self):
        """It says when it listens; the kernel's table of sockets takes long to read here."""
        self.process = Process([self.site.origin, "--listen", f"http@{self.address}"],
                               os.path.join(self.site.work, "origins.log"),
                               stdout=subprocess.PIPE)
        if b"ready\n" not in self.process.child.stdout:
            self.process.check()
            raise BenchError(f"origin on {self.address} does not get ready")
        return time.monotonic()

    def end(self):
        """A process has closed its sockets by the time it can be waited for."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.child.wait()
        moment = time.monotonic()
        self.process.child.stdout.close()
        return moment

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        return time.monotonic()

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)
        return time.monotonic()


class Daemon:
    """sluiced with one service, "s", and its pool; not yet ready when this returns."""

    def __init__(self, site, pool, workers):
        self.site, self.pool, self.workers = site, pool, workers
        self.port = free_port()
        self.folder = self.process = self.control = None
        self.configuration = ""
        self.started_s = 0.0

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-bench-")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        path = self.write()
        self.started_s = time.monotonic()
        self.process = Process([self.site.sluiced, "-c", path],
                               os.path.join(self.folder, "log"), self.site.cores.balancer)

    def sections(self):
        """Of the file, behind the global one."""
        return (f'service "s" {{ listen = {{ "127.0.0.1:{self.port}" }}  pool = "s" }}\n'
                f'pool "s" {{\n{self.pool}}}\n')

    def write(self):
        """The file as it is to be; returns its path."""
        path = os.path.join(self.folder, "sluice.conf")
        self.configuration = (
            f'global {{ workers = {self.workers}  control_socket = "{self.folder}/control.sock"\n'
            '    log = "stderr"  log_level = "error"  drain_timeout = "1s" }\n' + self.sections())
        with open(path, "w", encoding="utf-8") as text:
            text.write(self.configuration)
        return path

    def __exit__(self, *_):
        if self.control:
            self.control.close()
        if self.process:
            self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect(self):
        self.process.check()
        control = socket.socket(socket.AF_UNIX)
        control.settimeout(LIMIT_S)
        try:
            control.connect(os.path.join(self.folder, "control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            control.close()
            return False
        self.control = control
        return True

    def ask(self, words):
        """The reply to a command, parsed. The first waits until the daemon takes commands."""
        if not self.control:
            await_moment(self._connect, "control socket")
        self.control.sendall(f"{words} json\n".encode())
        reply = bytearray()
        while not reply.endswith(b"\n\n"):
            more = self.control.recv(1 << 20)
            if not more:
                self.process.check()
                raise BenchError("sluiced ends the control connection")
            reply += more
        found = json.loads(reply)
        if "error" in found:
            raise BenchError(f"{words}: {found['error']}")
        return found

    def backends(self):
        return {row["name"]: row for row in self.ask("show backends s")["backends"]}

    def backends_up(self):
        return self.ask("show pools")["pools"][0]["backends_up"]

    def monitor_pid(self):
        return self.ask("show info")["monitor_pid"]

    def await_up(self, count):
        return await_moment(lambda: self.backends_up() == count, f"{count} backends to be up",
                            0.005)

    def watch(self, name, condition, more_s):
        """(moment, row) of one backend, again and again, until the condition holds for a row, and
        so much longer."""
        samples = []
        end_s, limit_s = None, time.monotonic() + LIMIT_S
        while end_s is None or time.monotonic() < end_s:
            row = self.backends()[name]
            now_s = time.monotonic()
            samples.append((now_s, row))
            if end_s is None and condition(row):
                end_s = now_s + more_s
            if end_s is None and now_s > limit_s:
                raise BenchError(f"backend {name} is still {row['state']}: {row['reason']}")
            time.sleep(STEP_S)
        return samples


def first_moment(samples, condition):
    return next(moment for moment, row in samples if condition(row))


def picks(row):
    """How often clients were sent there."""
    return row["connections_total"] + row["connect_failures"]


def last_pick(samples, before, since_s):
    """When picks were last seen to have changed, not before since_s. before: as it was."""
    last_s, known = since_s, before
    for moment, row in samples:
        if picks(row) != known:
            last_s, known = max(since_s, moment), picks(row)
    return last_s


@contextlib.contextmanager
def clients(site, port, rate):
    """So many new clients a second, each with one request, whatever becomes of the others."""
    log = os.path.join(site.work, "clients.log")
    process = Process([site.load, "crc", "--target", f"127.0.0.1:{port}", "--rate", str(rate),
                       "--connections", str(3 * rate), "--timeout", "1s", "--duration", "1h"], log)
    try:
        yield
        process.check()
    finally:
        process.stop(signal.SIGKILL)
