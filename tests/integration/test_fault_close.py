"""Ends and resets: each side, each order, with data in flight, and what the counters say of it."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time

import pytest

from peers import Counter, Worker, receive_stream, send_stream
from sluice import Daemon, Origin, amount, connect, pattern, pool, service, wait_for

MB = 1 << 20
KINDS = ["ipv4", "ipv6", "unix"]
LENGTH = 32 * MB  # more than all socket buffers on the way hold
AT_ONCE = 5    # seconds; a time-out that would hide a reset takes 30
QUIET = 0.5    # seconds of the short time-outs


class Backend:
    """A listening socket; the test itself accepts what the balancer connects."""

    def __init__(self, kind, folder, receive_buffer=0):
        self.local = kind == "unix"
        self.listener = socket.socket({"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6,
                                       "unix": socket.AF_UNIX}[kind])
        self.listener.settimeout(30)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if self.local:
            path = f"{folder}/backend.sock"
            self.listener.bind(path)
            os.chmod(path, 0o777)
            self.address = f"unix:{path}"
        else:
            host = "::1" if kind == "ipv6" else "127.0.0.1"
            self.listener.bind((host, 0))
            port = self.listener.getsockname()[1]
            self.address = f"[{host}]:{port}" if kind == "ipv6" else f"{host}:{port}"
        self.listener.listen(16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(60)
        return sock


class Session:
    """One client and one backend with a daemon between them."""

    def __init__(self, start, folder, kind="ipv4", receive_buffer=0, workers=2, **options):
        self.start = start
        self.local = kind == "unix"
        backend = start(Backend(kind, folder, receive_buffer))
        self.daemon = start(Daemon(service("s", **options) + pool("s", [backend.address]), workers))
        self.client = start(connect(self.daemon.address("s"), receive_buffer=receive_buffer))
        self.backend = start(backend.accept())
        wait_for(lambda: self.states() == ["open"], what="the session to be open")

    def states(self):
        return [row["state"] for row in self.daemon.ctl_json("show sessions")["sessions"]]

    def exchange(self):
        """A word each way, and that each arrived."""
        for sender, reader in (self.client, self.backend), (self.backend, self.client):
            sender.sendall(b"hello")
            assert reader.recv(100) == b"hello"

    def held(self):
        return sum(row["buffered_bytes"] for row in self.daemon.ctl_json("show workers")["workers"])

    def ended(self, *reasons):
        """Checks that one session ended, for one of these reasons, and returns the service."""
        row = self.daemon.check_accounts("s")
        told = {reason: count for reason, count in row["ended_by"].items() if count}
        assert list(told.values()) == [1] and set(told) <= set(reasons), told
        stats = self.daemon.stats()
        backend = stats["pools"][0]["backends"][0]
        assert stats["connections_active"] == backend["connections_active"] == 0
        assert self.states() == [] and self.held() == 0
        # The two accounts of the same bytes.
        assert (backend["bytes_in"], backend["bytes_out"]) == (row["bytes_in"], row["bytes_out"])
        return row

    def moved(self, row, bytes_in, bytes_out):
        assert (row["bytes_in"], row["bytes_out"]) == (bytes_in, bytes_out)

    @contextlib.contextmanager
    def worker_stopped(self):
        """Its one worker sees what happens inside only at the end, and then all at once."""
        pid, = self.daemon.workers()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fill(sock, held=lambda: True):
    """Sends until nothing moves any more and held() holds. Returns how much that was."""
    sent, still = 0, 0
    sock.setblocking(False)

    def stuck():
        nonlocal sent, still
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += sock.send(bytes(65536))
                still = 0
        still += 1
        return still > 20 and held()
    wait_for(stuck, what="the sender to be held back")
    sock.settimeout(60)
    return sent


def wait_delivered(sock):
    """Until the kernel of the other end of this connection has everything."""
    def unsent():
        buffer = bytearray(4)
        fcntl.ioctl(sock, termios.TIOCOUTQ, buffer)
        return struct.unpack("i", buffer)[0]
    wait_for(lambda: unsent() == 0, what="the bytes to be acknowledged")


def backend_row(s):
    return s.daemon.stats()["pools"][0]["backends"][0]


def drain(sock):
    """Reads to the end: (how many bytes, whether that end is orderly)."""
    count = 0
    while True:
        try:
            data = sock.recv(MB)
        except ConnectionResetError:
            return count, False
        if not data:
            return count, True
        count += len(data)


def hung_up(sock, within=AT_ONCE):
    """Whether the connection is reset or closed, seen without reading from it."""
    poll = select.poll()
    poll.register(sock, 0)  # errors and hang-ups are always told
    return bool(poll.poll(within * 1000))


# --- orderly ends ---

def test_backend_streams_on_after_the_clients_end(start, folder, kind):
    s = Session(start, folder, kind)
    length = LENGTH
    s.client.sendall(b"request")
    s.client.shutdown(socket.SHUT_WR)
    assert drain(s.backend) == (7, True)
    assert s.states() == ["client_ended"]
    sender = Worker(send_stream, s.backend, length)
    assert receive_stream(s.client) == (length, sender.result())
    s.moved(s.ended("client_fin"), 7, length)


def test_client_uploads_on_after_the_backends_end(start, folder, kind):
    s = Session(start, folder, kind)
    length = LENGTH
    s.backend.sendall(b"greeting")
    s.backend.shutdown(socket.SHUT_WR)
    assert drain(s.client) == (8, True)
    assert s.states() == ["backend_ended"]
    sender = Worker(send_stream, s.client, length)
    assert receive_stream(s.backend) == (length, sender.result())
    s.moved(s.ended("backend_fin"), length, 8)


def test_clients_end_while_the_backend_is_streaming(start, folder, kind):
    s = Session(start, folder, kind)
    length = LENGTH
    sent = Counter()
    sender = Worker(send_stream, s.backend, length, sent)
    wait_for(lambda: sent.bytes > 0 and s.held() > 0, what="the stream to fill the way")
    s.client.shutdown(socket.SHUT_WR)
    assert drain(s.backend) == (0, True)
    assert sender.is_alive()
    assert receive_stream(s.client) == (length, sender.result())
    s.moved(s.ended("client_fin"), 0, length)


def test_backends_end_while_the_client_is_uploading(start, folder, kind):
    s = Session(start, folder, kind)
    length = LENGTH
    sent = Counter()
    sender = Worker(send_stream, s.client, length, sent)
    wait_for(lambda: sent.bytes > 0 and s.held() > 0, what="the upload to fill the way")
    s.backend.shutdown(socket.SHUT_WR)
    assert drain(s.client) == (0, True)
    assert sender.is_alive()
    assert receive_stream(s.backend) == (length, sender.result())
    s.moved(s.ended("backend_fin"), length, 0)


def test_both_end_at_once_with_data_before(start, folder, kind):
    """The worker sees both ends, and what came before them, in one turn."""
    s = Session(start, folder, kind, workers=1)
    words = os.urandom(50000)
    with s.worker_stopped():
        for sock in s.client, s.backend:
            sock.sendall(words)
            sock.shutdown(socket.SHUT_WR)
    for sock in s.client, s.backend:
        with sock.makefile("rb") as stream:
            assert stream.read() == words
    s.moved(s.ended("client_fin", "backend_fin"), len(words), len(words))


def test_client_closes_with_data_before(start, folder, kind):
    """close() right after sending; nothing of it may be lost."""
    s = Session(start, folder, kind, workers=1)
    words = os.urandom(50000)
    with s.worker_stopped():
        s.client.sendall(words)
        s.client.close()
    with s.backend.makefile("rb") as stream:
        assert stream.read() == words
    s.backend.close()
    s.moved(s.ended("client_fin"), len(words), 0)


def test_backend_closes_with_data_before(start, folder, kind):
    s = Session(start, folder, kind, workers=1)
    words = os.urandom(50000)
    with s.worker_stopped():
        s.backend.sendall(words)
        s.backend.close()
    with s.client.makefile("rb") as stream:
        assert stream.read() == words
    s.client.close()
    s.moved(s.ended("backend_fin"), 0, len(words))


def test_end_waits_for_a_slow_reader(start, folder, kind):
    """The backend is done and gone long before the client has read."""
    s = Session(start, folder, kind)
    sent = fill(s.backend, lambda: s.held() > 0)
    s.backend.shutdown(socket.SHUT_WR)
    assert drain(s.client) == (sent, True)
    assert s.states() == ["backend_ended"]
    s.client.close()
    s.moved(s.ended("backend_fin"), 0, sent)


# --- resets ---

def test_client_resets_while_idle(start, folder, kind):
    s = Session(start, folder, kind)
    s.exchange()
    reset(s.client)
    # There is no reset on a Unix socket: it sees an end.
    assert drain(s.backend) == (0, s.local)
    s.moved(s.ended("client_reset"), 5, 5)


def test_backend_resets_while_idle(start, folder, kind):
    s = Session(start, folder, kind)
    s.exchange()
    if s.local:  # closing with bytes unread is the only thing that its peer takes for a reset
        s.client.sendall(b"unread")
        wait_for(lambda: s.daemon.service("s")["bytes_in"] == 11, what="the bytes to be passed on")
    reset(s.backend)
    assert drain(s.client) == (0, False)
    s.moved(s.ended("backend_reset"), 11 if s.local else 5, 5)


@pytest.mark.parametrize("streaming", ["up", "down"])
def test_client_resets_mid_stream(start, folder, kind, streaming):
    s = Session(start, folder, kind)
    received = Counter()
    if streaming == "up":
        reader = Worker(drain, s.backend)
        fed = 0
        while fed < amount(8 * MB, 2 * MB):
            fed += s.client.send(bytes(65536))
        reset(s.client)
        count, orderly = reader.result()
        assert orderly == s.local and 0 < count <= fed
        row = s.ended("client_reset")
        assert count <= row["bytes_in"] <= fed and row["bytes_out"] == 0
    else:
        def feed():
            with contextlib.suppress(ConnectionError):
                while True:
                    received.bytes += s.backend.send(bytes(65536))
        feeder = Worker(feed)
        while received.bytes < amount(8 * MB, 2 * MB):
            assert s.client.recv(MB)
        reset(s.client)
        feeder.result(60)
        assert hung_up(s.backend)
        row = s.ended("client_reset")
        assert 0 < row["bytes_out"] <= received.bytes and row["bytes_in"] == 0


def test_backend_resets_mid_stream(start, folder):
    s = Session(start, folder)
    counter = Counter()

    def read():
        while True:
            try:
                data = s.client.recv(MB)
            except ConnectionResetError:
                return "reset"
            if not data:
                return "end"
            counter.bytes += len(data)
    reader = Worker(read)
    sent = 0
    while sent < amount(8 * MB, 2 * MB):
        sent += s.backend.send(bytes(65536))
    reset(s.backend)
    assert reader.result() == "reset"
    row = s.ended("backend_reset")
    assert 0 < counter.bytes <= row["bytes_out"] <= sent


def test_bytes_before_a_backends_reset_arrive(start, folder):
    """What the worker finds readable together with the reset is passed on, then the reset."""
    s = Session(start, folder, workers=1)
    with s.worker_stopped():
        s.backend.sendall(bytes(50000))
        wait_delivered(s.backend)
        reset(s.backend)
    assert drain(s.client) == (50000, False)
    s.moved(s.ended("backend_reset"), 0, 50000)


def test_bytes_before_a_clients_reset_arrive(start, folder, kind):
    s = Session(start, folder, kind, workers=1)
    with s.worker_stopped():
        s.client.sendall(bytes(50000))
        wait_delivered(s.client)
        reset(s.client)
    assert drain(s.backend) == (50000, s.local)
    s.moved(s.ended("client_reset"), 50000, 0)


def test_client_resets_while_the_backend_does_not_read(start, folder, kind):
    """The worker has stopped reading from the client, and hears of its reset all the same."""
    s = Session(start, folder, kind)
    fill(s.client, lambda: s.held() > 0)
    began = time.monotonic()
    reset(s.client)
    assert hung_up(s.backend), "the backend saw nothing of the reset"
    took = time.monotonic() - began
    count, orderly = drain(s.backend)
    assert count > 0 and orderly == s.local, took
    assert s.ended("client_reset")["bytes_in"] >= count


def test_backend_resets_while_the_client_does_not_read(start, folder):
    s = Session(start, folder)
    fill(s.backend, lambda: s.held() > 0)
    reset(s.backend)
    assert hung_up(s.client), "the client saw nothing of the reset"
    count, orderly = drain(s.client)
    assert count > 0 and not orderly
    assert s.ended("backend_reset")["bytes_out"] >= count


def test_client_resets_after_its_end(start, folder, kind):
    """First its FIN, then a reset, while the backend still streams and nobody reads."""
    s = Session(start, folder, kind)
    s.client.shutdown(socket.SHUT_WR)
    assert drain(s.backend) == (0, True)
    fill(s.backend, lambda: s.held() > 0)
    reset(s.client)
    assert hung_up(s.backend)
    s.ended("client_reset")


def test_client_closes_while_the_backend_streams(start, folder, kind):
    """A plain close() with bytes under way: the kernel answers them with a reset."""
    s = Session(start, folder, kind)
    fill(s.backend, lambda: s.held() > 0)
    s.client.close()
    assert hung_up(s.backend)
    s.ended("client_reset")


# --- a backend's process dies ---

def test_backend_killed_with_bytes_unread(start, folder):
    """Its kernel resets: so must we."""
    origin = start(Origin("hang", "hang@[::1]:0", f"hang@unix:{folder}/hang.sock"))
    daemon = start(Daemon("".join(service(name) + pool(name, [address])
                                  for name, address in zip(KINDS, origin.addresses))))
    clients = {name: start(connect(daemon.address(name))) for name in KINDS}
    for client in clients.values():
        client.sendall(b"never read")
    wait_for(lambda: [daemon.service(name)["bytes_in"] for name in KINDS] == [10, 10, 10],
             what="the bytes to be passed on")
    origin.kill()
    for name in KINDS:
        assert drain(clients[name]) == (0, False), name
        row = daemon.check_accounts(name)
        assert row["ended_by"]["backend_reset"] == 1 and row["bytes_in"] == 10, row


def test_backend_killed_mid_stream(start, folder):
    """Nobody can tell its end from an orderly one, but it ends, and every byte is counted."""
    origin = start(Origin("chargen", "chargen@[::1]:0", f"chargen@unix:{folder}/gen.sock",
                          options=("--send", "1g")))
    daemon = start(Daemon("".join(service(name) + pool(name, [address])
                                  for name, address in zip(KINDS, origin.addresses))))
    clients = {name: start(connect(daemon.address(name))) for name in KINDS}
    first = {name: len(clients[name].recv(MB)) for name in KINDS}
    origin.kill()
    for name in KINDS:
        rest, orderly = drain(clients[name])
        clients[name].close()
        row = daemon.check_accounts(name)
        assert row["ended_by"]["backend_fin"] + row["ended_by"]["backend_reset"] == 1, row
        assert first[name] + rest <= row["bytes_out"], name
        assert not orderly or first[name] + rest == row["bytes_out"], name


# --- time-outs ---

def test_idle_timeout(start, folder, kind):
    s = Session(start, folder, kind, idle_timeout=f"{QUIET * 1000:.0f}ms")
    s.exchange()
    last = time.monotonic()
    assert drain(s.client) == (0, False)
    assert time.monotonic() - last > QUIET * 0.9
    assert drain(s.backend) == (0, s.local)
    s.moved(s.ended("idle_timeout"), 5, 5)


def test_traffic_holds_the_idle_timeout_off(start, folder):
    s = Session(start, folder, idle_timeout="1s")
    count, end = 0, time.monotonic() + 1.5
    while time.monotonic() < end:
        s.backend.sendall(b"x")  # one direction is enough
        assert s.client.recv(1) == b"x"
        count += 1
        select.select([s.client], [], [], 0.05)
    s.client.close()
    s.backend.close()
    s.moved(s.ended("client_fin"), 0, count)


def test_idle_timeout_of_a_client_that_does_not_read(start, folder):
    s = Session(start, folder, idle_timeout=f"{QUIET * 1000:.0f}ms")
    sent = fill(s.backend, lambda: s.held() > 0 or s.states() == [])
    assert hung_up(s.backend, 30)
    assert s.ended("idle_timeout")["bytes_out"] <= sent


@pytest.mark.parametrize("first", ["client", "backend"])
def test_half_close_timeout(start, folder, kind, first):
    s = Session(start, folder, kind, half_close_timeout=f"{QUIET * 1000:.0f}ms")
    s.exchange()
    began = time.monotonic()
    one, other = (s.client, s.backend) if first == "client" else (s.backend, s.client)
    one.shutdown(socket.SHUT_WR)
    assert other.recv(10) == b""
    assert drain(one) == (0, s.local and one is s.backend)
    assert time.monotonic() - began > QUIET * 0.9
    s.moved(s.ended("half_close_timeout"), 5, 5)


def test_half_close_timeout_counts_from_the_last_byte(start, folder):
    s = Session(start, folder, half_close_timeout="1s")
    s.client.shutdown(socket.SHUT_WR)
    assert s.backend.recv(10) == b""
    count, end = 0, time.monotonic() + 1.5
    while time.monotonic() < end:
        s.backend.sendall(b"x")
        assert s.client.recv(1) == b"x"
        count += 1
        select.select([s.client], [], [], 0.05)
    s.backend.shutdown(socket.SHUT_WR)
    assert drain(s.client) == (0, True)
    s.moved(s.ended("client_fin"), 0, count)


@pytest.mark.parametrize("ends", [False, True], ids=["open", "half-closed"])
def test_what_is_being_taken_is_no_silence(start, folder, ends):
    """The last bytes lie in the kernel's hands for longer than any time-out; the client takes a
    step of them within each, and gets them all."""
    length, step = 1_000_000, 250_000
    s = Session(start, folder, receive_buffer=65536, workers=1, idle_timeout="1s",
                half_close_timeout="1s")
    s.backend.sendall(pattern(length))
    wait_for(lambda: s.held() == 0 and backend_row(s)["bytes_out"] == length,
             what="all bytes to be written to the client")
    if ends:
        s.backend.shutdown(socket.SHUT_WR)
    began = time.monotonic()
    data = b""
    while len(data) < length:
        # The pause is the client's slowness, which is what this is about.
        select.select([], [], [], 0.7)
        part = s.client.recv(step, socket.MSG_WAITALL)
        assert part, f"ended after {len(data)} bytes"
        data += part
    assert data == pattern(length)
    assert time.monotonic() - began > 2
    assert drain(s.client) == (0, ends)
    s.ended("half_close_timeout" if ends else "idle_timeout")


def test_client_that_does_not_answer_gets_what_is_whole(start, folder):
    """Nobody waits for it, but what was written to it, and the end, are the kernel's by then."""
    length = 400_000
    s = Session(start, folder, receive_buffer=4096, workers=1,
                half_close_timeout=f"{QUIET * 1000:.0f}ms")
    s.backend.sendall(pattern(length))
    s.backend.shutdown(socket.SHUT_WR)
    wait_for(lambda: s.states() == [], what="the session to be given up")
    assert drain(s.client) == (length, True)
    s.moved(s.ended("half_close_timeout"), 0, length)


def test_no_timeout_when_it_is_none(start, folder):
    """"0s" is no limit, not at once."""
    s = Session(start, folder, idle_timeout="0s", half_close_timeout="0s")
    s.client.shutdown(socket.SHUT_WR)
    assert s.backend.recv(10) == b""
    assert not hung_up(s.client, QUIET)
    s.backend.close()
    assert drain(s.client) == (0, True)
    s.ended("client_fin")
