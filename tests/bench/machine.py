"""The machine: a network of its own where permitted, and what has to stand beside each figure."""

import os
import platform
import re
import resource
import socket
import subprocess

from procs import LIBC

CLONE_NEWNET = 0x40000000
TCP_CONGESTION = 13
WANTED = "cubic"
SHARED = "the machine's own loopback device (no right to a network namespace)"

# How each program is asked for its version, and what of its answer that is.
PROGRAMS = {
    "haproxy": (["haproxy", "-v"], r"version (\S+)"),
    "nginx": (["nginx", "-v"], r"nginx/(\S+)"),
    "wrk": (["wrk", "-v"], r"wrk (\S+)"),
    "ab": (["ab", "-V"], r"Version (\S+)"),
    "iperf3": (["iperf3", "-v"], r"iperf (\S+)"),
    "redis": (["redis-server", "--version"], r"v=(\S+)"),
}


TRAFFIC = ("haproxy", "nginx", "wrk", "ab", "iperf3")


def _ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def isolate():
    """Moves this process into a network namespace of its own, with cubic on its loopback device.

    So other traffic of the machine and ours do not meet, and no setting has to be put back. The
    route says the congestion control because a namespace may not choose one that the machine
    restricts. Returns a text that says what was done; SHARED if nothing could be.
    """
    if LIBC.unshare(CLONE_NEWNET) != 0:
        return SHARED
    if not _ip("link", "set", "lo", "up"):
        raise SystemExit("bench: cannot bring up the loopback device of the namespace")
    for prefix in ("127.0.0.0/8", "127.0.0.1"):
        _ip("route", "change", "local", prefix, "dev", "lo", "table", "local", "scope", "host",
            "src", "127.0.0.1", "congctl", "lock", WANTED)
    return "the loopback device of a network namespace of its own"


def congestion_in_force():
    """Of both ends of a real connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                names = {end.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16)
                         for end in (client, accepted)}
    return " and ".join(sorted(name.rstrip(b"\0").decode() for name in names))


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _read(path, pattern):
    try:
        with open(path, encoding="utf-8") as text:
            found = re.search(pattern, text.read(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else "unknown"


def _version(words, pattern):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def describe_machine():
    """What a reader needs to know of the machine; plain texts."""
    return {
        "cpu": _read("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "distribution": _read("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]"),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def describe(tools, programs=TRAFFIC):
    """The same, and all about the programs that are measured and measure."""
    return {
        **describe_machine(),
        "congestion_control": congestion_in_force(),
        "sluice": _version([tools.sluiced, "-V"], r"(\d\S*)"),
        **{name: _version(*PROGRAMS[name]) for name in programs},
    }
