"""The place where million.py measures: a network namespace with a TUN device, on which everybody
whom Sluice talks to is one program (million_peer.c), and the real daemon.

Nothing has a name, so nothing is left over when the last process has gone. No setting of the whole
machine is changed.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import delay
from machine import CLONE_NEWNET, WANTED
from million_memory import Floor
from procs import LIBC, BenchError, Process, Skipped, children, cpu_ns, wait_until

DEVICE = "peers"
NET = "10.0.0.0/8"
SERVICE = ("10.0.0.1", 8080)
FIRST_CLIENT = "10.64.0.1"
FIRST_BACKEND = ("10.128.0.1", 9000)
QUEUE = 16384  # packets that wait on the device; those under way are far fewer
WINDOW = 2000  # clients under way at once; a worker's queue holds 4096
WAIT_S = 60
STOP_S = 20
TICK_S = 0.25

# Of the namespace alone. A port that Sluice listens on is not to be connected from.
SETTINGS = {
    "ipv4/ip_local_port_range": "1024 65535",
    "ipv4/ip_local_reserved_ports": SERVICE[1],
    "ipv4/tcp_max_syn_backlog": 65535,
    "ipv6/conf/all/disable_ipv6": 1,
}


def _setting(name):
    return f"/proc/sys/net/{name}"


def put_setting(name, value):
    with open(_setting(name), "w", encoding="ascii") as file:
        file.write(f"{value}\n")


def read_setting(name):
    """As a text; None where the kernel has no such setting."""
    try:
        with open(_setting(name), encoding="ascii") as file:
            return " ".join(file.read().split())
    except OSError:
        return None


# --- the namespace and its device ---


def _unshare():
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Skipped("no right to a network namespace")


def isolate(sockets):
    """Moves this process into a namespace that has a hash table for so many sockets, where the
    kernel can do that (tcp_child_ehash_entries, since 6.1: for namespaces made from this one, so
    there are two, of which the first ends at once); returns the settings in force."""
    _unshare()
    entries = 1 << min(24, max(16, (sockets - 1).bit_length()))
    with contextlib.suppress(OSError):
        put_setting("ipv4/tcp_child_ehash_entries", entries)
        _unshare()
    try:
        for name, value in SETTINGS.items():
            put_setting(name, value)
    except OSError as error:
        raise Skipped(f"the namespace's settings cannot be made: {error}") from error
    names = ["ipv4/ip_local_port_range", "ipv4/tcp_ehash_entries", "ipv4/tcp_max_tw_buckets",
             "ipv4/tcp_max_syn_backlog", "core/somaxconn"]
    return {**{name.rsplit("/", 1)[1]: read_setting(name) for name in names},
            "congestion control": WANTED}


def open_device():
    """The descriptor of the device, which ends with the last process that has it open. The route
    says the congestion control; see machine.isolate()."""
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Skipped(f"/dev/net/tun: {error.strerror}") from error
    try:
        fcntl.ioctl(tun, delay.TUNSETIFF,
                    struct.pack("16sH22x", DEVICE.encode(), delay.IFF_TUN | delay.IFF_NO_PI))
        for words in (["link", "set", "lo", "up"],
                      ["link", "set", DEVICE, "txqueuelen", str(QUEUE), "up"],
                      ["address", "add", f"{SERVICE[0]}/{NET.split('/')[1]}", "dev", DEVICE],
                      ["route", "change", NET, "dev", DEVICE, "proto", "kernel", "scope", "link",
                       "src", SERVICE[0], "congctl", "lock", WANTED]):
            subprocess.run(["ip", *words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        os.close(tun)
        raise Skipped(f"no TUN device: {getattr(error, 'stderr', None) or error}") from error
    return tun


def device_drops():
    """Packets that the device lost, in either direction."""
    with open("/proc/self/net/dev", encoding="ascii") as table:
        row = next(line for line in table if line.strip().startswith(f"{DEVICE}:"))
    fields = row.split(":")[1].split()
    return int(fields[3]) + int(fields[11])


# What the kernel counts of this namespace. The second lot must stay 0: nothing is to be dropped
# because a queue is full.
KERNEL_NOTES = ("RetransSegs", "TCPTimeouts", "TCPSynRetrans", "TCPTimeWaitOverflow")
KERNEL_ERRORS = ("ListenOverflows", "ListenDrops", "SyncookiesSent", "TCPReqQFullDrop",
                 "TCPAbortOnMemory", "InCsumErrors")


def kernel_counters():
    found = {}
    for name in ("netstat", "snmp"):
        with open(f"/proc/self/net/{name}", encoding="ascii") as text:
            lines = [line.split() for line in text]
        for names, values in zip(lines[::2], lines[1::2]):
            if names[0] in ("Tcp:", "TcpExt:"):
                found.update(zip(names[1:], map(int, values[1:])))
    return {name: found[name] for name in (*KERNEL_NOTES, *KERNEL_ERRORS) if name in found}


# --- everybody whom Sluice talks to ---


class Peers:
    """The program on the device; a context. Its figures are those of its last event."""

    def __init__(self, program, plan, work):
        self.last = {}
        self.pending = b""
        ours, theirs = [], []
        try:
            theirs.append(open_device())
            read_end, self.commands = os.pipe2(os.O_CLOEXEC)
            theirs.append(read_end)
            ours.append(self.commands)
            self.process = Process(
                [program, "--tun", str(theirs[0]), "--commands", str(read_end),
                 "--connections", str(plan.connections), "--window", str(WINDOW),
                 "--service", "%s:%d" % SERVICE, "--clients", FIRST_CLIENT,
                 "--backends", "%s:%d" % FIRST_BACKEND, "--backend-count", str(plan.backends)],
                os.path.join(work, "peers.log"), stdout=subprocess.PIPE, pass_fds=theirs)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.output = self.process.child.stdout.fileno()

    def __enter__(self):
        try:
            self._take("ready", WAIT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        os.close(self.commands)
        self.process.stop()
        self.process.child.stdout.close()

    def _command(self, text):
        os.write(self.commands, f"{text}\n".encode())

    def _lines(self, seconds):
        """Its events, as they come, for so long at the most; the machine is watched meanwhile."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            Floor.check()
            if not select.select([self.output], [], [], TICK_S)[0]:
                continue
            more = os.read(self.output, 1 << 16)
            if not more:
                wait_until(self.process.ended, WAIT_S)
                self.process.check()
            *lines, self.pending = (self.pending + more).split(b"\n")
            yield from map(json.loads, lines)

    def _take(self, wanted, seconds, each=lambda event: None):
        for event in self._lines(seconds):
            self.last = event
            each(event)
            if event["event"] == wanted:
                return event
            if event["event"] == "stalled":
                raise BenchError(f"nothing more happens: {event}")
        raise BenchError(f"not within {seconds:.0f} s: {self.last}")

    def phase(self, words, seconds, each):
        """Has them do something; each(event) is called twice a second. Returns the last event."""
        self._command(words)
        return self._take("done", seconds, each)

    def reset(self):
        """Every segment is reset from now on, so that the sockets of a daemon that ends in the
        middle of it go too, instead of trying for minutes."""
        with contextlib.suppress(OSError):
            put_setting("ipv4/tcp_orphan_retries", 1)
            self._command("reset")


# --- the daemon ---


class Daemon:
    """sluiced with one service and its pool; a context, ready once entered."""

    def __init__(self, sluiced, plan):
        self.sluiced, self.plan = sluiced, plan
        self.folder = tempfile.mkdtemp(prefix="sluice-bench-")
        os.chmod(self.folder, 0o755)  # workers are another user
        self.socket_path = os.path.join(self.folder, "control.sock")
        self.configuration = self._configuration()
        self.process = None
        self.workers, self.pids = [], []

    def _configuration(self):
        base, port = FIRST_BACKEND
        first = struct.unpack("!I", socket.inet_aton(base))[0]
        rows = "".join(
            f'    backend "b{n}" {{ address = '
            f'"{socket.inet_ntoa(struct.pack("!I", first + n))}:{port}" }}\n'
            for n in range(self.plan.backends))
        return (f'global {{\n    workers = {self.plan.workers}\n'
                f'    max_connections = {self.plan.connections}\n'
                f'    control_socket = "{self.socket_path}"\n    log_level = "warning"\n'
                '    drain_timeout = "0s"\n}\n'
                'service "s" {\n    listen = { "%s:%d" }\n' % SERVICE
                + '    pool = "s"\n    idle_timeout = "0s"\n    keepalive = "0s"\n}\n'
                'pool "s" {\n    scheduler = "rr"\n    keepalive = "0s"\n' + rows + "}\n")

    def __enter__(self):
        try:
            path = os.path.join(self.folder, "sluice.conf")
            with open(path, "w", encoding="utf-8") as text:
                text.write(self.configuration)
            self.process = Process([self.sluiced, "-c", path], self.log_path())
            if not wait_until(self._is_ready, WAIT_S):
                raise BenchError("sluiced does not get ready")
            self.pids = [self.process.pid, *children(self.process.pid)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """However many sockets there are to be closed, all its processes are gone then."""
        if self.process:
            family = {*self.pids, *children(self.process.pid)}
            if not self.process.ended():
                os.kill(self.process.pid, signal.SIGTERM)
                wait_until(self.process.ended, STOP_S)
            self.process.stop(signal.SIGKILL)
            wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), WAIT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def status(self):
        """Of master, once the context was left; negative: the signal that ended it."""
        return self.process.child.returncode

    def log_path(self):
        return os.path.join(self.folder, "log")

    def log(self):
        with open(self.log_path(), errors="replace", encoding="utf-8") as text:
            return text.read()

    def _is_ready(self):
        self.process.check()
        try:
            stats = self.stats()
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # the control socket comes after the listeners
        self.workers = [worker["pid"] for worker in stats["workers"]]
        return all(worker["state"] == "running" for worker in stats["workers"]) and all(
            backend["state"] == "up" for backend in stats["pools"][0]["backends"])

    def stats(self):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(WAIT_S)
            control.connect(self.socket_path)
            control.sendall(b"show stats json\n")
            reply = bytearray()
            while not reply.endswith(b"\n\n"):
                more = control.recv(1 << 20)
                if not more:
                    raise BenchError("sluiced ends the control connection")
                reply += more
        return json.loads(reply)

    def cpu_s(self):
        """Of the workers that live."""
        return cpu_ns([pid for pid in self.workers if os.path.exists(f"/proc/{pid}/task")]) / 1e9
