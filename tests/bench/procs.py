"""Processes of a benchmark: started pinned, measured through /proc, ended by their id."""

import argparse
import ctypes
import json
import os
import random
import resource
import signal
import socket
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement that could not be made; the text says why."""


class Skipped(BenchError):
    """One that this machine does not allow, which is no error."""


def json_file(path):
    """For argparse: known to be writable before anything is measured, and not touched if it is."""
    is_new = not os.path.exists(path)
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"\"{path}\" cannot be written: {error.strerror}") from None
    if is_new:
        os.unlink(path)
    return path


def write_json(path, facts):
    if path:
        with open(path, "w", encoding="utf-8") as text:
            json.dump(facts, text, indent=1)
            text.write("\n")


class Cores:
    """Which core the balancer has, and which everything else; None: not pinned."""

    def __init__(self):
        allowed = sorted(os.sched_getaffinity(0))
        pinned = len(allowed) > 1
        self.balancer, self.others = allowed[:2] if pinned else (None, None)

    def pin_self(self):
        if self.others is not None:
            os.sched_setaffinity(0, {self.others})

    def __str__(self):
        if self.balancer is None:
            return "one core only: nothing is pinned"
        return f"balancer on core {self.balancer}, clients and origins on core {self.others}"


def before_exec(core=None):
    """What a child does first: it takes its core, and ends when this program does."""
    def act():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if core is not None:
            os.sched_setaffinity(0, {core})
    return act


class Process:
    """A program that runs until stop(); a group of its own, so that no child outlives it."""

    def __init__(self, words, log, core=None, **popen):
        self.name = os.path.basename(words[0])
        self.log = log
        with open(log, "ab") as sink:
            self.child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stderr=sink, start_new_session=True,
                preexec_fn=before_exec(core), **{"stdout": sink, **popen})
        self.pid = self.child.pid

    def ended(self):
        """Whether it has ended; it is not reaped, so that its id stays its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def check(self):
        if self.ended():
            with open(self.log, errors="replace", encoding="utf-8") as text:
                raise BenchError(f"{self.name} ended: {text.read()[-600:].strip()}")

    def stop(self, *signals):
        """Asks by each signal in turn, then kills what is left of the group."""
        if self.child.returncode is not None:
            return
        for number in signals or (signal.SIGTERM, signal.SIGTERM):
            if not self.ended():
                os.kill(self.pid, number)
                wait_until(self.ended, 2)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def wait_until(condition, seconds):
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def free_port():
    """Below those that the kernel gives to connections, as servers' ports are: a connect to one of
    them on loopback could meet itself, and a balancer that sees to that would pay for it here."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as given:
        first = int(given.read().split()[0])
    for port in random.sample(range(first // 2, first), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no free port")


def is_listening(port):
    """Looks at the kernel's table: a probing connection would reach an origin."""
    with open("/proc/self/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[3] == "0A" and int(row[1].split(":")[1], 16) == port for row in rows)


def wait_listening(process, port):
    def condition():
        process.check()
        return is_listening(port)
    if not wait_until(condition, 10):
        raise BenchError(f"{process.name} does not listen")


def children(pid):
    """All processes below this one."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as text:
        direct = [int(word) for word in text.read().split()]
    return direct + [deeper for child in direct for deeper in children(child)]


def cpu_ns(pids):
    """CPU time of the processes, all threads: from schedstat, which counts nanoseconds."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as text:
                total += int(text.read().split()[0])
    return total


def pss_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
            total += sum(int(line.split()[1]) * 1024 for line in text if line.startswith("Pss:"))
    return total


def core_busy_s(core):
    """Seconds this core has worked, interrupts and what the hypervisor took included."""
    if core is None:
        return 0.0
    with open("/proc/stat", encoding="ascii") as text:
        words = next(line for line in text if line.startswith(f"cpu{core} ")).split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, words[:8])
    return (user + nice + system + irq + softirq + steal) / TICK


class Snapshot:
    """All clocks at one moment; two of them make a measurement."""

    def __init__(self, cores, traffic, rest, origin):
        self.wall_s = time.monotonic()
        self.traffic_s = cpu_ns(traffic) / 1e9
        self.rest_s = cpu_ns(rest) / 1e9
        self.origin_s = cpu_ns(origin) / 1e9
        tools = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.generator_s = tools.ru_utime + tools.ru_stime
        self.core_s = core_busy_s(cores.balancer)

    def since(self, earlier):
        return {key: value - getattr(earlier, key) for key, value in vars(self).items()}
