"""Peers that misbehave: each manner of doing so is a generator, served on a port of its own, all of
them by one thread.

A manner takes a Peer, one for each connection, and does what it likes with it; what it waits for it
gets by "yield from". When it returns, the connection ends in the orderly way; when the other side
resets it meanwhile, the manner is dropped.
"""

import contextlib
import heapq
import itertools
import random
import selectors
import socket
import ssl
import struct
import time

from peers import Worker
from sluice import WAIT

FOR_EVER = 3600  # seconds, longer than anybody waits
BLOCK = b"z" * (64 * 1024)
RESET = struct.pack("ii", 1, 0)
AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Peer:
    """One connection as its manner sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = 0  # bytes that the kernel has taken, before TLS

    def hear(self, timeout=None):
        """Bytes, b"" at the end; None after timeout seconds of silence."""
        while True:
            try:
                return self.sock.recv(65536)
            except AGAIN:
                if not (yield selectors.EVENT_READ, timeout):
                    return None

    def say(self, data):
        while data:
            try:
                n = self.sock.send(data)
            except AGAIN:
                yield selectors.EVENT_WRITE, None
                continue
            self.sent += n
            data = data[n:]

    def pause(self, seconds):
        """Where the other side ends meanwhile, it is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if (yield from self.hear(left)) == b"":
                raise ConnectionError

    def end(self):
        """Its own direction; then hears until the other side has ended too."""
        self.sock.shutdown(socket.SHUT_WR)
        while (yield from self.hear()):
            pass

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def go_tls(self, context):
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        while True:
            try:
                return self.sock.do_handshake()
            except ssl.SSLWantReadError:
                yield selectors.EVENT_READ, None
            except ssl.SSLWantWriteError:
                yield selectors.EVENT_WRITE, None


# --- manners ---

def silent(peer):
    """Takes everything and never answers."""
    yield from peer.pause(FOR_EVER)


def late(answer, seconds=2):
    """A good answer, but slow."""
    def manner(peer):
        yield from peer.hear()
        yield from peer.pause(seconds)
        yield from peer.say(answer)
    return manner


def says(answer, then="end", first=False):
    """Says that once asked (at once, if first), then ends, resets, or stays."""
    def manner(peer):
        if not first:
            yield from peer.hear()
        yield from peer.say(answer)
        yield from leave(peer, then)
    return manner


def leave(peer, then):
    if then == "end":
        yield from peer.end()
    elif then == "reset":
        peer.reset()
    else:
        yield from peer.pause(FOR_EVER)


def trickle(answer, first=False):
    """A good answer, one byte a second."""
    def manner(peer):
        if not first:
            yield from peer.hear()
        for byte in answer:
            yield from peer.say(bytes([byte]))
            yield from peer.pause(1)
    return manner


def endless(start, first=False):
    """A stream that never ends, without a line end after its start."""
    def manner(peer):
        if not first:
            yield from peer.hear()
        yield from peer.say(start)
        while True:
            yield from peer.say(BLOCK)
    return manner


def over_tls(context, manner):
    def manner_over_tls(peer):
        yield from peer.go_tls(context)
        yield from manner(peer)
    return manner_over_tls


GARBAGE = random.Random("sluice").randbytes(2000).replace(b"\n", b"\r")


# --- the server ---

class Hostile:
    """Hostile({"name": manner}): server["name"] is the address where that is met.

    met["name"] counts its connections, most["name"] is the most bytes that one of them took.
    """

    def __init__(self, manners, host="127.0.0.1"):
        self.manners = dict(manners)
        self.met = dict.fromkeys(manners, 0)
        self.most = dict.fromkeys(manners, 0)
        self.selector = selectors.DefaultSelector()
        self.doors, self.talks = {}, set()
        self.alarms, self.numbers = [], itertools.count()
        self.waker, self.woken = socket.socketpair()
        self.selector.register(self.woken, selectors.EVENT_READ, None)
        for name in manners:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            door = socket.create_server((host, 0), family=family, backlog=1024)
            door.setblocking(False)
            # Little may be on its way, so that what was taken is about what was read.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            self.selector.register(door, selectors.EVENT_READ, name)
            self.doors[name] = door
        self.worker = Worker(self._run)

    def __getitem__(self, name):
        host, port = self.doors[name].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def addresses(self):
        return {name: self[name] for name in self.manners}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.waker.close()
        try:
            self.worker.result(WAIT)
        finally:
            self.selector.close()
            for sock in self.woken, *self.doors.values(), *(t.peer.sock for t in self.talks):
                sock.close()

    # --- in its thread ---

    def _run(self):
        while True:
            wait = max(0, self.alarms[0][0] - time.monotonic()) if self.alarms else None
            for key, _ in self.selector.select(wait):
                if key.data is None:
                    return
                if isinstance(key.data, Talk):
                    key.data.go_on(True)
                else:
                    self._accept(key.data)
            while self.alarms and self.alarms[0][0] <= time.monotonic():
                _, number, talk = heapq.heappop(self.alarms)
                if talk.waits_for == number:
                    talk.go_on(False)

    def _accept(self, name):
        with contextlib.suppress(OSError):
            sock, _ = self.doors[name].accept()
            sock.setblocking(False)
            self.met[name] += 1
            Talk(self, name, Peer(sock)).go_on(None)


class Talk:
    """A connection and where its manner stands."""

    def __init__(self, server, name, peer):
        self.server, self.name, self.peer = server, name, peer
        self.steps = server.manners[name](peer)
        self.waits_for = None  # number of the alarm
        self.fd = None         # in the selector

    def go_on(self, ready):
        """Until the next wait; ready: what was waited for is there, and not the alarm."""
        server = self.server
        self.waits_for = None
        if self.fd is not None:
            server.selector.unregister(self.fd)
            self.fd = None
        try:
            events, timeout = self.steps.send(ready)
        except (StopIteration, OSError):
            server.talks.discard(self)
            self.peer.sock.close()
            return
        finally:
            server.most[self.name] = max(server.most[self.name], self.peer.sent)
        server.talks.add(self)
        if events:
            self.fd = self.peer.sock.fileno()
            server.selector.register(self.fd, events, self)
        if timeout is not None:
            self.waits_for = next(server.numbers)
            heapq.heappush(server.alarms, (time.monotonic() + timeout, self.waits_for, self))
