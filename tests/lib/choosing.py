"""Backends and clients for tests of who is served by whom: every answer names the backend that gave
it, sessions last as long as the test wants, and a check can fail while the backend goes on."""

import collections
import contextlib
import heapq
import itertools
import json
import os
import queue
import selectors
import signal
import socket
import struct
import time

from peers import Worker
from sluice import WAIT, pool, split, wait_for

CHECK = {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}


class Backend:
    """Answers each word of its sessions with its name, after so many seconds.

    Its check has a port of its own, the gate: sick() and well() close and open it, and touch no
    session; off() and on() do the same to the port that serves. A closed port refuses, and stays
    ours. One thread, however many sessions.
    """

    def __init__(self, name, host="127.0.0.1", delay=0.0):
        self.name, self.delay = name, delay
        self.words = []  # the first one of each session, in order
        self.began = []  # when each session was accepted
        self.active = self.peak = 0
        self.numbers = itertools.count()
        self.orders, self.answers, self.sessions = queue.Queue(), [], set()
        self.waker, self.woken = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.woken, selectors.EVENT_READ, self._obey)
        self.doors = {}  # listening now, by what for
        self.kept = {}   # bound for good: the ports
        for door in "service", "gate":
            self.kept[door] = socket.socket()
            self.kept[door].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.kept[door].bind((host, 0))
            self._open(door)
        self.address, self.gate_port = "%s:%d" % self._place("service"), self._place("gate")[1]
        self.worker = Worker(self._run)

    # --- from the test ---

    def sick(self):
        self._order(self._close, "gate")

    def well(self):
        self._order(self._open, "gate")

    def off(self):
        self._order(self._close, "service")

    def on(self):
        self._order(self._open, "service")

    def end_sessions(self):
        """Closes all of them in the orderly way."""
        self._order(self._end_all)

    def total(self):
        return len(self.began)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.orders.put(None)
        self.waker.send(b"x")
        self.worker.result(WAIT)
        for sock in *self.sessions, *self.doors.values(), *self.kept.values():
            sock.close()
        self.waker.close()
        self.woken.close()

    # --- in its thread ---

    def _order(self, function, *args):
        done = queue.Queue()
        self.orders.put((function, args, done))
        self.waker.send(b"x")
        done.get(timeout=WAIT)

    def _obey(self, _):
        self.woken.recv(1)
        order = self.orders.get()
        if order is None:
            raise StopIteration
        function, args, done = order
        function(*args)
        done.put(None)

    def _place(self, door):
        return self.kept[door].getsockname()

    def _open(self, door):
        if door in self.doors:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._place(door))
        listener.listen(1024)
        listener.setblocking(False)
        self.doors[door] = listener
        accept = self._accept if door == "service" else self._pass_check
        self.selector.register(listener, selectors.EVENT_READ, accept)

    def _close(self, door):
        if door in self.doors:
            listener = self.doors.pop(door)
            self.selector.unregister(listener)
            listener.close()

    def _pass_check(self, listener):
        try:
            listener.accept()[0].close()
        except OSError:
            pass

    def _accept(self, listener):
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        self.began.append(time.monotonic())
        self.sessions.add(sock)
        self.active += 1
        self.peak = max(self.peak, self.active)
        is_first = True

        def hear(sock):
            nonlocal is_first
            try:
                word = sock.recv(4096)
            except OSError:
                word = b""
            if not word:
                self._end(sock)
                return
            if is_first:
                self.words.append(word.decode())
            is_first = False
            heapq.heappush(self.answers, (time.monotonic() + self.delay, next(self.numbers), sock))
        self.selector.register(sock, selectors.EVENT_READ, hear)

    def _end(self, sock):
        if sock in self.sessions:
            self.sessions.remove(sock)
            self.selector.unregister(sock)
            sock.close()
            self.active -= 1

    def _end_all(self):
        for sock in list(self.sessions):
            self._end(sock)

    def _answer_due(self):
        while self.answers and self.answers[0][0] <= time.monotonic():
            sock = heapq.heappop(self.answers)[2]
            try:
                if sock in self.sessions:
                    sock.sendall(self.name.encode())
            except OSError:
                self._end(sock)

    def _run(self):
        with self.selector:
            try:
                while True:
                    wait = max(0, self.answers[0][0] - time.monotonic()) if self.answers else None
                    for key, _ in self.selector.select(wait):
                        if key.fileobj.fileno() >= 0:  # not closed by an earlier one of this turn
                            key.data(key.fileobj)
                    self._answer_due()
            except StopIteration:
                return


class Client:
    """A connection to a service, from a port of source; it has sent its word, and waits.

    name() is who answered, "" when it was reset. Leaving the with block closes it.
    """

    def __init__(self, address, source=None, word="hello", port=0):
        host, number = split(address)
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.answer = None
        try:
            self.sock.settimeout(WAIT)
            if source:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.sock.bind((source, port))
            self.sock.connect((host, number))
            self.sock.sendall(word.encode())
        except ConnectionError:
            self.answer = ""  # a fast reset
        except BaseException:
            self.sock.close()
            raise

    def name(self):
        if self.answer is None:
            try:
                self.answer = self.sock.recv(100).decode() or "(end)"
            except ConnectionError:
                self.answer = ""
        return self.answer

    def again(self):
        """Who answers another word of the same session; "" when it was reset."""
        try:
            self.sock.sendall(b"again")
            return self.sock.recv(100).decode() or "(end)"
        except ConnectionError:
            return ""

    def was_reset(self):
        """Waits for the end of a session."""
        try:
            return self.sock.recv(100) == b"never"
        except ConnectionError:
            return True

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def ask(address, source=None):
    """Which backend a new client gets; "" when it is reset."""
    with Client(address, source) as client:
        return client.name()


def ask_often(address, count=10, source=None):
    return [ask(address, source) for _ in range(count)]


def hold(start, address, count, source=None):
    """So many sessions, each there before the next one comes, until the test's end."""
    clients = []
    for _ in range(count):
        clients.append(start(Client(address, source)))
        assert clients[-1].name(), f"number {len(clients)} was reset"
    return clients


def count_names(clients):
    return collections.Counter(client.name() for client in clients)


# --- configuration and control ---

def _lines(options, indent):
    return "".join(f"{indent}{name} = {json.dumps(value)}\n" for name, value in options.items())


def pool_of(name, backends, settings=None, checked=False, **options):
    """Text of a pool of Backends; settings: {"a": {"weight": 3}}; checked: by their gates."""
    text = pool(name, {}, **options).rsplit("}", 1)[0]
    for backend in backends:
        text += f'    backend "{backend.name}" {{\n        address = "{backend.address}"\n'
        text += _lines((settings or {}).get(backend.name, {}), " " * 8)
        if checked:
            text += '        check "tcp" {\n'
            text += _lines({**CHECK, "port": backend.gate_port}, " " * 12) + "        }\n"
        text += "    }\n"
    return text + "}\n"


def wait_workers(daemon, generation):
    wait_for(lambda: all(row["generation"] >= generation
                         for row in daemon.ctl_json("show workers")["workers"]),
             what=f"workers to have generation {generation}")


def change(daemon, words):
    """Runs a command that changes something, and waits until every worker knows."""
    reply = daemon.ctl_json(words)
    wait_workers(daemon, reply["generation"])
    return reply


def wait_state(daemon, names, state, pool_name="s"):
    """Waits until backends ("ab": a and b) are in a state; returns the last one's row."""
    for name in names:
        row = wait_for(lambda: (now := daemon.backend(pool_name, name))["state"] == state and now,
                       what=f"backend {name} to be {state}")
    return row


def states(daemon, pool_name="s"):
    """{"a": "up", …}"""
    rows = daemon.ctl_json(f"show backends {pool_name}")["backends"]
    return {row["name"]: row["state"] for row in rows}


def find_pool(daemon, name="s"):
    """What show pools says of it."""
    return next(row for row in daemon.ctl_json("show pools")["pools"] if row["name"] == name)


def explain(daemon, client, service_name="s", words=""):
    return daemon.ctl_json(f"explain {service_name} {client} {words}".rstrip())


def pool_events(daemon, kind="pool"):
    """Texts of the events of pools as such, or of services, oldest first."""
    return [event["text"] for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == kind]


def own_source():
    """A loopback address that nothing else uses: its ports, once let go, are not taken by others."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 16) % 64}.{pid >> 8 & 255}.{pid & 255}"


def ports_of_workers(daemon, address, count=2):
    """{0: [50001, 50002], …}: ports of own_source() from which a client comes to that worker, as
    long as the service listens. (A reset frees them at once.)"""
    def totals():
        rows = daemon.ctl_json("show workers")["workers"]
        return [row["connections_total"] for row in rows]
    ports = {worker: [] for worker in range(len(totals()))}
    while any(len(found) < count for found in ports.values()):
        before = totals()
        with Client(address, own_source()) as client:
            assert client.name()
            now = totals()
            worker = next(nth for nth, total in enumerate(now) if total > before[nth])
            ports[worker].append(client.sock.getsockname()[1])
            client.reset()
        wait_for(lambda: daemon.stats()["connections_active"] == 0, what="it to end")
    return ports


def busy_workers(daemon):
    """How many workers have taken clients."""
    return sum(row["connections_total"] > 0 for row in daemon.ctl_json("show workers")["workers"])


@contextlib.contextmanager
def stopped(daemon, worker):
    """Meanwhile it stands still; the watchdog may replace it."""
    pid = daemon.workers()[worker]
    daemon.killed.add(pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it was replaced
            os.kill(pid, signal.SIGCONT)
