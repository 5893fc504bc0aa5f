"""What the rows of reuse.py need beside the others': a Redis, the origins' own counts of their
connections, and an origin that is far away."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
from collections import namedtuple

from procs import BenchError, Process, free_port, wait_until
from rows import Origins

LOOK_S = 0.02  # between two looks at an origin's counts
DELAY_MS = 10  # each way to the origin that is far away

# Connections that stand now, and all that were ever accepted; without the one that asks.
Counts = namedtuple("Counts", "open opened")


class ReuseOrigins(Origins):
    """nginx as for the other rows, and a Redis; both for the whole run, on our own core."""

    def __init__(self, work, descriptors):
        super().__init__(work, descriptors)
        self.redis_port = free_port()
        self.redis_pids = []

    def _start(self):
        self._start_http()
        redis = self._add(["redis-server", "--bind", "127.0.0.1", "--port", str(self.redis_port),
                           "--save", "", "--appendonly", "no", "--tcp-backlog", "4096", "--dir",
                           self.work], self.redis_port)
        self.redis_pids = [redis.pid]
        return self

    def start_path(self):
        """From now on nginx can also be reached at delay.FAR, so far away."""
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay.py")
        path = Process([sys.executable, program, "--ms", str(DELAY_MS)],
                       os.path.join(self.work, "delay.log"), stdout=subprocess.PIPE)
        self.processes.append(path)
        if path.child.stdout.readline() != b"ready\n":
            wait_until(path.ended, 5)
            path.check()
            raise BenchError("delay.py does not get ready")


class StatusPage:
    """nginx's stub_status."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def read(self):
        self.connection.request("GET", "/status")
        text = self.connection.getresponse().read().decode()
        found = re.search(r"Active connections: (\d+)\s+.*\s+(\d+) \d+ \d+", text)
        if not found:
            raise BenchError(f"nginx's status is {text[:100]}")
        return Counts(int(found.group(1)) - 1, int(found.group(2)))

    def close(self):
        self.connection.close()


class RedisInfo:
    """Redis' INFO: connections, and what was done."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.stream = self.socket.makefile("rb")

    def ask(self, section):
        self.socket.sendall(f"INFO {section}\r\n".encode())
        line = self.stream.readline()
        if not line.startswith(b"$"):
            raise BenchError(f"redis answers {line[:100]}")
        text = self.stream.read(int(line[1:]) + 2).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def read(self):
        return Counts(int(self.ask("clients")["connected_clients"]) - 1,
                      int(self.ask("stats")["total_connections_received"]))

    def commands(self):
        """How often SET and GET were called, and how many errors were answered."""
        rows = self.ask("commandstats")
        calls = sum(int(re.match(r"calls=(\d+)", rows[key]).group(1))
                    for key in ("cmdstat_set", "cmdstat_get") if key in rows)
        return calls, int(self.ask("stats")["total_error_replies"])

    def close(self):
        self.stream.close()
        self.socket.close()


@contextlib.contextmanager
def watching(counter):
    """Gives a dictionary that is filled when the context ends: how many connections stood at the
    most, as far as looking every LOOK_S shows it, and how many were opened."""
    seen, failures, ended = {}, [], threading.Event()
    first = counter.read()
    peaks = [first.open]

    def look():
        try:
            while not ended.wait(LOOK_S):
                peaks.append(counter.read().open)
        except (OSError, http.client.HTTPException, BenchError) as error:
            failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
    if failures:
        raise BenchError(f"the origin cannot be watched: {failures[0]}")
    last = counter.read()
    seen["open"], seen["opened"] = max(*peaks, last.open), last.opened - first.opened
