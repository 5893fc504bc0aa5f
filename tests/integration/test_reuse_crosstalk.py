"""No client gets another's bytes: every framing under clients and backends that break off, answer
twice, say what nobody asked for, or close what is about to be used (see tests/lib/torture.py)."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import struct
import time

import pytest

from sluice import WAIT, Daemon, connect, pool, service, wait_for
from software import Redis
from torture import Torture, seconds

WIRES = ["http1", "resp", "memcached", "line", "length"]
DEEDS = ["answer", "late", "pieces", "cut", "leave", "reset", "end", "closed idle", "idle say",
         "idle close"]


def run(torture, *more, shares=2):
    """It was a torture: everything happened, and upstreams were shared all the same: so many
    answers on each. Returns what the backends counted."""
    deeds = (*DEEDS, *more)
    counts = torture.run(seconds(), deeds)
    missing = [deed for deed in deeds if counts[deed] == 0]
    assert not missing, missing
    answered = torture.totals["answers"]
    assert answered > shares * counts["connections"], (answered, counts)
    assert torture.figure("upstreams_reused") > counts["connections"] / 10
    return counts


@pytest.mark.parametrize("mode", ["request", "session"])
@pytest.mark.parametrize("wire", WIRES)
def test_torture(start, wire, mode):
    torture = start(Torture(wire, mode))
    counts = run(torture, "stray", *(["early"] if wire in ("http1", "memcached") else []))
    # Where the client had left before the answer came, its end was the upstream's.
    assert torture.figure("upstreams_discarded_by.stray_bytes") > counts["stray"] / 2
    if mode == "request":
        assert torture.figure("ambiguous") > 0


def test_torture_reset(start):
    """Without a framing, a RESET between two sessions."""
    run(start(Torture("reset", "session")))


@pytest.mark.parametrize("wire", ["http1", "resp"])
def test_torture_full(start, wire):
    """Backends that are nearly always full: upstreams are taken from idle clients and other
    workers, and whoever waits in the queue waits for a request's end. A busy machine answers few
    in the second that they live."""
    run(start(Torture(wire, "request", backend={"max_connections": 12}, queue=4000,
                      reuse={"policy": "always", "max_uses": 50, "max_age": "1s"})), shares=1)


@pytest.mark.parametrize("wire", ["http1", "resp", "memcached"])
def test_closing_backends(start, wire):
    """Backends that close idle connections at any moment cost no client that only reads anything:
    what was on its way to one of them goes to another, once."""
    torture = start(Torture(wire, "request", reads=True))
    results = torture.round(seconds(8, 3), chaos=False, abrupt=False, closes=0.4)
    torture.check(results, is_calm=True)
    counts = torture.end()
    assert counts["closed idle"] > 100, counts
    assert torture.figure("ambiguous") == 0
    assert torture.figure("retries_resent") + torture.figure("retries_unsent") > 0


# --- one by one: what the torture, or the thought behind it, has found ---

WORKER_PAUSE_SECONDS = 1  # longer, and the watchdog takes it for hung


class Backend:
    """Hands out its connections in the order in which they were accepted."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(WAIT)
        self.address = "%s:%d" % self.listener.getsockname()
        self.sockets = []

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(WAIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets.append(sock)
        return sock

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in (self.listener, *self.sockets):
            sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read(sock, size):
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        assert got, data
        data += got
    return data


def read_end(sock):
    """All that comes until the end, and whether that is an orderly one."""
    data = b""
    try:
        while got := sock.recv(65536):
            data += got
    except ConnectionError:
        return data, False
    return data, True


@pytest.fixture
def backend(start):
    return start(Backend())


def lending(start, backend, mode="request", **reuse):
    return start(Daemon(service("t") + pool("t", [backend.address], reuse={"mode": mode, **reuse}),
                        workers=1))


@contextlib.contextmanager
def paused(daemon):
    """Meanwhile its worker stands still; what comes then, it finds in the order of its coming."""
    pid = daemon.workers()[0]
    begun = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: " T " in pathlib.Path(f"/proc/{pid}/stat").read_text(),
                 what="the worker to stand still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - begun < WORKER_PAUSE_SECONDS


def talk(client, upstream, ask, answer):
    client.sendall(ask)
    assert read(upstream, len(ask)) == ask
    upstream.sendall(answer)
    assert read(client, len(answer)) == answer


def test_stray_is_found_when_lending(start, backend):
    """A request and, behind it, bytes on the only idle connection come in the same turn: the
    connection is looked at before it is lent."""
    daemon = lending(start, backend, framing="resp")
    client = start(connect(daemon.address("t")))
    client.sendall(b"GET one\r\n")
    first = backend.accept()
    assert read(first, 9) == b"GET one\r\n"
    first.sendall(b":1\r\n")
    assert read(client, 4) == b":1\r\n"
    with paused(daemon):
        client.sendall(b"GET two\r\n")
        first.sendall(b"+STRAY\r\n")
    second = backend.accept()
    assert read(second, 9) == b"GET two\r\n"
    second.sendall(b":2\r\n")
    assert read(client, 4) == b":2\r\n"
    row = daemon.backend("t", "a")
    assert row["upstreams_opened"] == 2 and row["upstreams_discarded_by"]["stray_bytes"] == 1, row


@pytest.mark.parametrize("mode", ["request", "session"])
def test_a_failed_request_takes_nothing_back(start, backend, mode):
    """A slow client asks on, and the backend closes on that: it still gets the answer before."""
    get, post = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"POST / HTTP/1.1\r\nHost: h\r\n" \
        b"Content-Length: 0\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300000)
    daemon = lending(start, backend, mode=mode, framing="http1")
    client = start(connect(daemon.address("t"), receive_buffer=8192))
    client.sendall(get)
    first = backend.accept()
    assert read(first, len(get)) == get
    first.sendall(answer)
    wait_for(lambda: daemon.backend("t", "a")["requests_total"] == 1, what="the answer to be taken")
    client.sendall(post)
    assert read(first, len(post)) == post
    first.close()
    wait_for(lambda: daemon.backend("t", "a")["connections_active"] == 0,
             what="the backend's end to be seen")
    assert read_end(client) == (answer, True)
    client.close()
    wait_for(lambda: daemon.service("t")["ended_by"]["backend_reset"] == 1,
             what="the session to be counted for what it failed of")


def test_bytes_of_a_lost_answer_are_forgotten(start, backend):
    """A reset amid a head, which the client has seen nothing of: the request goes elsewhere, and
    only that answer counts."""
    daemon = lending(start, backend, framing="http1")
    client = start(connect(daemon.address("t")))
    ask = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    client.sendall(ask)
    first = backend.accept()
    read(first, len(ask))
    first.sendall(b"HTTP/1.1 200 OK\r\nX-Token: fir")
    wait_for(lambda: daemon.backend("t", "a")["bytes_out"] == 29, what="it to be read")
    reset(first)
    second = backend.accept()
    assert read(second, len(ask)) == ask
    answer = b"HTTP/1.1 204 Nothing\r\nX-Token: second\r\n\r\n"
    second.sendall(answer)
    assert read(client, len(answer)) == answer
    assert daemon.backend("t", "a")["retries_resent"] == 1


@pytest.mark.parametrize("how", ["stray", "gone"])
def test_a_transaction_does_not_go_on_elsewhere(start, backend, how):
    """When its connection is lost, by a stray answer or a reset that comes with the next command,
    the client's is too: what would be queued there would be done at once elsewhere."""
    daemon = lending(start, backend, framing="resp")
    client = start(connect(daemon.address("t")))
    client.sendall(b"MULTI\r\n")
    first = backend.accept()
    assert read(first, 7) == b"MULTI\r\n"
    first.sendall(b"+OK\r\n+STRAY\r\n" if how == "stray" else b"+OK\r\n")
    assert read(client, 5) == b"+OK\r\n"
    if how == "gone":
        with paused(daemon):
            client.sendall(b"SET k v\r\n")
            reset(first)
    else:
        client.sendall(b"SET k v\r\n")
    assert read_end(client)[0] == b""
    row = daemon.backend("t", "a")
    assert row["upstreams_opened"] == 1 and row["retries_unsent"] == 0, row


@pytest.mark.parametrize("mode", ["request", "session"])
@pytest.mark.parametrize("how", ["known", "met"])
def test_a_body_that_nobody_has_read_is_nobodys_request(start, backend, mode, how):
    """A backend that begins its answer before it has the body, goes on and never reads it would
    take the body for the next request, and answer the next client with that. Whether the worker
    knows of the answer when the body comes, or finds both at once, the body first."""
    daemon = lending(start, backend, mode, framing="http1")
    body = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nab"
    told = answer.replace(b"4\r\n", b"4\r\nConnection: close\r\n")
    attacker = start(connect(daemon.address("t")))
    attacker.sendall(head)
    first = backend.accept()
    assert read(first, len(head)) == head
    if how == "known":
        first.sendall(answer)
        assert read(attacker, len(told)) == told
        attacker.sendall(body)
    else:
        with paused(daemon):
            attacker.sendall(body)
            first.sendall(answer)
        assert read(attacker, len(told)) == told
    assert read(first, len(body)) == body
    first.sendall(b"cd")
    assert read_end(attacker) == (b"cd", True)

    victim = start(connect(daemon.address("t")))
    ask = b"GET /mine HTTP/1.1\r\nHost: h\r\n\r\n"
    victim.sendall(ask)
    second = backend.accept()
    assert read(second, len(ask)) == ask
    own = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"
    second.sendall(own)
    assert read(victim, len(own)) == own
    assert read_end(first)[0] == b""
    row = daemon.backend("t", "a")
    assert row["upstreams_discarded_by"]["not_clean"] == 1 and row["upstreams_reused"] == 0, row


def test_what_is_held_back_for_a_reset_is_not_lost(start, backend):
    """The backend ends where it should have been reset: its last bytes were the client's."""
    daemon = lending(start, backend, "session", reset_send="RESET\\r\\n",
                     reset_expect="+RESET\\r\\n")
    client = start(connect(daemon.address("t")))
    client.sendall(b"ask\n")
    upstream = backend.accept()
    assert read(upstream, 4) == b"ask\n"
    upstream.sendall(b"the first half, ")
    assert read(client, 16) == b"the first half, "
    client.shutdown(socket.SHUT_WR)
    assert read(upstream, 7) == b"RESET\r\n"
    upstream.sendall(b"the other")
    upstream.close()
    assert read_end(client) == (b"the other", True)
    assert daemon.backend("t", "a")["upstreams_discarded_by"]["reset_failed"] == 1


# --- a reset exchange, with real Redis ---

RESET = {"reset_send": "RESET\\r\\nPING {nonce}\\r\\n",
         "reset_expect": "+RESET\\r\\n$16\\r\\n{nonce}\\r\\n"}
VALUE = b"+RESET\r\n" * 4  # a client's data that look like the answer to RESET
ANSWER = b"$32\r\n" + VALUE + b"\r\n"


def command(*args):
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


@pytest.fixture
def redis(start):
    server = start(Redis())
    with connect(server.address) as sock:
        sock.sendall(command(b"SET", b"v", VALUE))
        assert read(sock, 5) == b"+OK\r\n"
    return server


def unread(sock):
    """How many bytes of what was written lie at the other end of a connection over IPv4."""
    ends = [b"%s:%04X" % (socket.inet_aton(host)[::-1].hex().upper().encode(), port)
            for host, port in (sock.getpeername(), sock.getsockname())]
    for line in pathlib.Path("/proc/net/tcp").read_bytes().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == ends:
            return int(fields[4].split(b":")[1], 16)
    return 0  # it is closed


class Wire:
    """The way to a server through the test's hands: what it answers goes on piece by piece."""

    def __init__(self, backend, server):
        self.upstream, self.server = backend.accept(), connect(server.address)

    def ask(self, n):
        """Passes on n bytes of what is asked for; returns them."""
        asked = read(self.upstream, n)
        self.server.sendall(asked)
        return asked

    def answer(self, n):
        """Passes on n bytes of the answer, in one segment, and waits until that is read."""
        self.upstream.sendall(read(self.server, n))
        wait_for(lambda: unread(self.upstream) == 0, what="a segment to be read")

    def close(self):
        self.server.close()


def test_data_do_not_pass_for_the_answer_to_a_reset(start, backend, redis):
    """A client half-closes behind the first line of an answer, each further segment of which looks
    like Redis' answer to RESET."""
    daemon = lending(start, backend, "session", **RESET)
    client = start(connect(daemon.address("t")))
    client.sendall(command(b"GET", b"v"))
    wire = start(contextlib.closing(Wire(backend, redis)))
    wire.ask(len(command(b"GET", b"v")))
    wire.answer(5)
    assert read(client, 5) == b"$32\r\n"
    client.shutdown(socket.SHUT_WR)
    asked = wire.ask(30)
    assert re.fullmatch(rb"RESET\r\nPING [0-9a-f]{16}\r\n", asked), asked
    for _ in range(4):
        wire.answer(8)
        assert daemon.backend("t", "a")["upstreams_idle"] == 0
    wire.answer(2 + 8 + 5 + 18)
    assert read_end(client) == (ANSWER[5:], True)
    wait_for(lambda: daemon.backend("t", "a")["upstreams_idle"] == 1, what="the reset")
    second = start(connect(daemon.address("t")))
    second.sendall(command(b"ECHO", b"mine"))
    wire.ask(len(command(b"ECHO", b"mine")))
    wire.answer(10)
    assert read(second, 10) == b"$4\r\nmine\r\n"
    second.shutdown(socket.SHUT_WR)
    again = wire.ask(30)
    assert again != asked and again[:12] == asked[:12]
    wire.answer(8 + 5 + 18)
    assert read_end(second) == (b"", True)
    row = daemon.backend("t", "a")
    assert row["upstreams_opened"] == 1 and row["stray_bytes"] == 0, row


@pytest.mark.parametrize("reason", ["backend_closed", "stray_bytes"])
def test_what_a_kept_connection_is_closed_for(start, backend, reason):
    """In mode session, an end and stray bytes that come with the client's next request are told
    apart."""
    daemon = lending(start, backend, "session", framing="resp")
    client = start(connect(daemon.address("t")))
    client.sendall(b"GET one\r\n")
    first = backend.accept()
    assert read(first, 9) == b"GET one\r\n"
    first.sendall(b":1\r\n")
    assert read(client, 4) == b":1\r\n"
    client.close()
    wait_for(lambda: daemon.backend("t", "a")["upstreams_idle"] == 1, what="it to be given back")
    client = start(connect(daemon.address("t")))
    talk(client, first, b"GET two\r\n", b":2\r\n")
    with paused(daemon):
        client.sendall(b"GET three\r\n")
        if reason == "backend_closed":
            first.close()
        else:
            first.sendall(b"+STRAY\r\n")
    second = backend.accept()
    assert read(second, 11) == b"GET three\r\n"
    second.sendall(b":3\r\n")
    assert read(client, 4) == b":3\r\n"
    row = daemon.backend("t", "a")
    found = {why: n for why, n in row["upstreams_discarded_by"].items() if n}
    assert found == {reason: 1}, row
    assert row["stray_bytes"] == (0 if reason == "backend_closed" else 8)
