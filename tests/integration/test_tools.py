"""sluice-origin and sluice-load, against raw sockets and against each other.

Run: SLUICE_BUILD=<build folder> /usr/bin/python3 -m pytest tests/integration/test_tools.py
All traffic stays on the loopback device, on ports that the kernel chooses.
"""

import hashlib
import json
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

BUILD = os.environ.get("SLUICE_BUILD", "build")
ORIGIN = os.path.join(BUILD, "src", "tools", "sluice-origin")
LOAD = os.path.join(BUILD, "src", "tools", "sluice-load")
WAIT = 20  # seconds for a condition that should hold at once

PERIOD = bytes((j * 2654435761 & 0xFFFFFFFF) >> 24 for j in range(65521))


def pattern(length):
    return (PERIOD * (length // len(PERIOD) + 1))[:length]


def xxh64(data):
    """XXH64 with seed 0, from its specification."""
    mask = (1 << 64) - 1
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                          0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)

    def rotl(value, bits):
        return ((value << bits) | (value >> (64 - bits))) & mask

    def mix(acc, lane):
        return rotl((acc + lane * p2) & mask, 31) * p1 & mask

    at = 0
    if len(data) >= 32:
        accs = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while at + 32 <= len(data):
            accs = [mix(a, lane) for a, lane in zip(accs, struct.unpack_from("<4Q", data, at))]
            at += 32
        out = sum(rotl(a, bits) for a, bits in zip(accs, (1, 7, 12, 18))) & mask
        for acc in accs:
            out = ((out ^ mix(0, acc)) * p1 + p4) & mask
    else:
        out = p5
    out = (out + len(data)) & mask
    while at + 8 <= len(data):
        out = (rotl(out ^ mix(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= len(data):
        out ^= struct.unpack_from("<I", data, at)[0] * p1 & mask
        out = (rotl(out, 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        out = rotl(out ^ (byte * p5 & mask), 11) * p1 & mask
    for shift, factor in ((33, p2), (29, p3), (32, 1)):
        out = (out ^ (out >> shift)) * factor & mask
    return out


def wait_until(condition, what="the condition"):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true in {WAIT} s")


class Process:
    """A program that we started, with its output read by threads so that it never blocks."""

    def __init__(self, args, **kwargs):
        self.lines = []
        self.errors = []
        self.popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, **kwargs)
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.popen.stdout, self.lines),
                                     (self.popen.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_line(self, expression, after=0):
        def find():
            for line in self.lines[after:]:
                if re.search(expression, line):
                    return line
            ended = self.popen.poll() is not None and not any(r.is_alive() for r in self.readers)
            assert not ended, f"ended without {expression!r}: {self.lines} {self.errors}"
            return None
        return wait_until(find, f"a line {expression!r}")

    def end(self, number=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.popen.wait(timeout=WAIT)
        for reader in self.readers:
            reader.join(WAIT)
        return status

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.wait()
        self.popen.stdout.close()
        self.popen.stderr.close()


class Origin(Process):
    def __init__(self, *modes, options=(), **kwargs):
        listens = [m if "@" in m else f"{m}@127.0.0.1:0" for m in modes]
        super().__init__([ORIGIN] + [w for m in listens for w in ("--listen", m)] + list(options),
                         **kwargs)
        self.wait_line("^ready$")
        self.addresses = [line.split("@", 1)[1] for line in self.lines
                          if line.startswith("listening ")]
        self.names = [line.split()[1] for line in self.lines if line.startswith("listening ")]

    def connect(self, nth=0):
        address = self.addresses[nth]
        if address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(WAIT)
            sock.connect(address[5:])
            return sock
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT)

    def stats(self, nth=0):
        seen = len(self.lines)
        self.popen.send_signal(signal.SIGUSR1)
        line = self.wait_line(f"^stats {re.escape(self.names[nth])} ", after=seen)
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}

    def served(self):
        """Ends it, checks that it ended well, returns its last line's figures."""
        assert self.end() == 0
        assert self.errors == []
        last = self.lines[-1]
        assert last.startswith("served ")
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", last)}


@pytest.fixture
def origin():
    started = []

    def start(*modes, **kwargs):
        started.append(Origin(*modes, **kwargs))
        return started[-1]

    yield start
    try:
        for one in started:
            if one.popen.poll() is None:
                one.served()
    finally:
        for one in started:
            one.kill()


@pytest.fixture
def background():
    """Starts sluice-load without waiting for it."""
    started = []

    def start(*words):
        started.append(Process([LOAD, *words]))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        assert one.errors == []


@pytest.fixture
def scripted():
    """A server of our own: hands each accepted socket to a function, in a thread."""
    listeners = []
    threads = []

    def serve(handler):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def handle(sock, peer):
            sock.settimeout(WAIT)
            with sock:
                try:
                    handler(sock, peer)
                except OSError:
                    pass  # the client may be gone: that is what some handlers are for

        def loop():
            while True:
                try:
                    sock, peer = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=handle, args=(sock, peer)))
                threads[-1].start()

        threads.append(threading.Thread(target=loop))
        threads[-1].start()
        return "127.0.0.1:%d" % listener.getsockname()[1]

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(WAIT)


def run_load(*words):
    """Returns the exit status and the JSON report."""
    done = subprocess.run([LOAD, *words, "--json"], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def read_all(sock):
    pieces = []
    while True:
        piece = sock.recv(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_exactly(sock, length):
    data = b""
    while len(data) < length:
        piece = sock.recv(length - len(data))
        assert piece, f"end after {len(data)} of {length} bytes"
        data += piece
    return data


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Http:
    """Reads answers off a raw socket."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, text):
        self.sock.sendall(text.encode("latin-1") if isinstance(text, str) else text)

    def answer(self, head_only=False):
        status_line = self.file.readline()
        if not status_line:
            return None
        status = int(status_line.split()[1])
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, value = line.decode().rstrip("\r\n").split(": ", 1)
            headers[name.lower()] = value
        if head_only or status == 100:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self.file.read(int(headers["content-length"]))
        elif status in (204, 304):
            body = b""
        else:
            body = self.file.read()
        return status, headers, body

    def _chunks(self):
        body = b""
        while (size := int(self.file.readline(), 16)) > 0:
            body += self.file.read(size)
            assert self.file.read(2) == b"\r\n"
        assert self.file.readline() == b"\r\n"
        return body

    def get(self, path, extra=""):
        self.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n{extra}\r\n")
        return self.answer()

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def http(origin):
    opened = []

    def connect(served=None, nth=0):
        opened.append(Http((served or origin("http", options=["--name", "alpha"])).connect(nth)))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


# sluice-origin: addresses, names, signals, figures


def test_listens_on_ipv4_ipv6_and_unix_and_tells_real_addresses(origin, http, tmp_path):
    path = tmp_path / "o.sock"
    served = origin("http", "http@[::1]:0", f"http@unix:{path}", "http@unix:@sluice-test-%d" %
                    os.getpid())
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", served.addresses[0])
    assert re.fullmatch(r"\[::1\]:[1-9]\d*", served.addresses[1])
    assert served.addresses[2] == f"unix:{path}"
    for nth in range(3):
        status, headers, body = http(served, nth).get("/")
        assert status == 200
        assert headers["x-origin"] == served.addresses[nth]
        assert body == f"hello from {served.addresses[nth]}\n".encode()
    assert served.served()["connections"] == 3
    assert not path.exists()


def test_names_go_to_listeners_in_turn_and_the_last_to_the_rest(origin, http):
    served = origin("http", "http", "http", options=["--name", "one", "--name", "two"])
    assert [http(served, nth).get("/")[1]["x-origin"] for nth in range(3)] == ["one", "two", "two"]


def test_takes_over_a_dead_unix_path_but_no_live_one(origin, tmp_path):
    path = tmp_path / "o.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    origin(f"echo@unix:{path}")
    second = subprocess.run([ORIGIN, "--listen", f"echo@unix:{path}"], capture_output=True,
                            text=True, timeout=WAIT)
    assert second.returncode == 1
    assert "cannot listen on unix:" in second.stderr
    assert path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_on_signal_with_its_figures(origin, number):
    served = origin("echo")
    with served.connect() as sock:
        sock.sendall(b"12345")
        assert read_exactly(sock, 5) == b"12345"
        assert served.end(number) == 0
    assert served.lines[-1] == "served connections=1 requests=0 bytes_in=5 bytes_out=5"


def test_sigusr1_tells_active_peak_total_and_requests(origin, http):
    served = origin("http", "echo")
    first = http(served)
    first.get("/")
    first.get("/")
    with served.connect(1):
        wait_until(lambda: served.stats(1)["active"] == 1)
    second = http(served)
    second.get("/")
    second.close()
    wait_until(lambda: served.stats(0)["active"] == 1)
    assert served.stats(0) == {"active": 1, "peak": 2, "total": 2, "requests": 3}
    wait_until(lambda: served.stats(1) == {"active": 0, "peak": 1, "total": 1, "requests": 0})


def test_running_out_of_descriptors_pauses_without_spinning(origin):
    limit = 40
    served = origin("echo", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                  (limit, limit)))
    socks = [served.connect() for _ in range(2 * limit)]  # the rest waits in the kernel's queue
    wait_until(lambda: served.stats()["active"] > limit // 2)

    def cpu_ticks():
        with open(f"/proc/{served.popen.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    time.sleep(0.5)  # an interval to measure over, not a wait for something
    assert (cpu_ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.25
    for sock in socks[:limit]:
        sock.close()
    for sock in socks[limit:]:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        sock.close()


def test_verbose_tells_begin_and_end(origin):
    served = origin("echo", options=["--verbose"])
    served.connect().close()
    wait_until(lambda: len(served.errors) == 2)
    assert served.errors[0].endswith("opened")
    assert "echo@127.0.0.1:" in served.errors[1]
    assert served.end() == 0


# sluice-origin: modes


def test_echo_returns_everything_then_ends(origin):
    served = origin("echo")
    data = random.Random(1).randbytes(3 << 20)
    with served.connect() as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data),
                                                  sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert hashlib.sha256(read_all(sock)).digest() == hashlib.sha256(data).digest()
        sender.join()
    assert served.served() == {"connections": 1, "requests": 0, "bytes_in": len(data),
                               "bytes_out": len(data)}


def test_echo_presses_back_on_a_client_that_does_not_read(origin):
    served = origin("echo")
    with served.connect() as sock:
        sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 << 20:
                sent += sock.send(bytes(1 << 16))
        sock.settimeout(WAIT)
        sock.shutdown(socket.SHUT_WR)
        assert len(read_all(sock)) == sent


def test_slow_keeps_to_its_rate(origin):
    served = origin("slow", options=["--rate", "10000"])
    with served.connect() as sock:
        begin = time.monotonic()
        sock.sendall(pattern(5000))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == pattern(5000)
        took = time.monotonic() - begin
    assert 0.4 < took < 5


def test_slow_leaves_the_rest_in_the_kernel(origin):
    served = origin("slow", options=["--rate", "100", "--receive-buffer", "4k"])
    with served.connect() as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(1 << 10):
                sock.send(bytes(1 << 16))
    assert served.served()["bytes_in"] < 4096


def test_reset_after_some_bytes_and_an_answer(origin):
    served = origin("reset", options=["--after", "10", "--send", "4m"])
    with served.connect() as sock:
        sock.sendall(b"12345")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(WAIT)
        sock.sendall(b"67890")
        assert read_exactly(sock, 4 << 20) == pattern(4 << 20)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_reset_at_once(origin):
    served = origin("reset", options=["--after", "0"])
    # It may come before connect() has even returned.
    with pytest.raises(ConnectionResetError), served.connect() as sock:
        sock.recv(1)


def test_halfclose_sends_ends_and_reads_on(origin):
    served = origin("halfclose", options=["--send", "300k"])
    with served.connect() as sock:
        assert read_all(sock) == pattern(300 << 10)
        sock.sendall(bytes(1000))
        assert served.stats()["active"] == 1
        sock.sendall(bytes(1000))
    wait_until(lambda: served.stats()["active"] == 0)
    assert served.served()["bytes_in"] == 2000


def test_silent_reads_and_says_nothing(origin):
    served = origin("silent")
    with served.connect() as sock:
        sock.sendall(bytes(8 << 20))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
    assert served.served() == {"connections": 1, "requests": 0, "bytes_in": 8 << 20,
                               "bytes_out": 0}


def test_hang_never_reads_and_stays_after_the_clients_end(origin):
    served = origin("hang", options=["--receive-buffer", "4k"])
    with served.connect() as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(1 << 10):
                sock.send(bytes(1 << 16))
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert served.stats()["active"] == 1
        reset(sock)
    wait_until(lambda: served.stats()["active"] == 0)
    assert served.served()["bytes_in"] == 0


@pytest.mark.parametrize("length", [0, 5, 31, 100, 300007])
def test_discard_tells_count_and_hash(origin, length):
    data = random.Random(length).randbytes(length)
    with origin("discard").connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).decode() == f"{length} {xxh64(data):016x}\n"


def test_chargen_delivers_all_then_closes_though_the_client_talks(origin):
    served = origin("chargen", options=["--send", "2m"])
    with served.connect() as sock:
        sock.sendall(b"unasked")
        assert read_all(sock) == pattern(2 << 20)
        wait_until(lambda: served.stats()["active"] == 0)  # without our end


def test_chargen_over_unix(origin, tmp_path):
    served = origin(f"chargen@unix:{tmp_path}/c", options=["--send", "1m"])
    with served.connect() as sock:
        assert read_all(sock) == pattern(1 << 20)


# sluice-origin: mode http


def test_http_keeps_the_connection(http):
    client = http()
    for _ in range(3):
        status, headers, body = client.get("/")
        assert (status, body) == (200, b"hello from alpha\n")
        assert headers["x-origin"] == "alpha"
        assert "connection" not in headers
    assert client.get("/healthz")[0::2] == (200, b"ok\n")
    assert client.get("/healthz?verbose=1")[0] == 200
    assert client.get("http://any.host/healthz")[2] == b"ok\n"


def test_http_answers_pipelined_requests_in_order(http):
    client = http()
    sizes = list(range(0, 2000, 7))
    client.send("".join(f"GET /bytes/{n} HTTP/1.1\r\n\r\n" for n in sizes))
    for size in sizes:
        assert client.answer()[2] == pattern(size)


def test_http_many_pipelined_from_a_client_that_reads_late(http):
    client = http()
    count = 20000
    sender = threading.Thread(target=client.send, args=("GET / HTTP/1.1\r\n\r\n" * count,))
    sender.start()
    for _ in range(count):
        assert client.answer()[0] == 200
    sender.join()


def test_http_bytes_are_the_pattern(http):
    client = http()
    for length in (0, 1, 65521, 65522, 5 << 20):
        status, headers, body = client.get(f"/bytes/{length}")
        assert status == 200
        assert headers["content-length"] == str(length)
        assert hashlib.sha256(body).digest() == hashlib.sha256(pattern(length)).digest()


def test_http_promises_many_gigabytes(http):
    client = http()
    client.send("GET /bytes/123456789012345 HTTP/1.1\r\n\r\n")
    status, headers, _ = client.answer(head_only=True)
    assert (status, headers["content-length"]) == (200, "123456789012345")
    assert client.file.read(1 << 20) == pattern(1 << 20)


def test_http_chunked_and_until_close_answers(http):
    client = http()
    for length in (0, 1, 65536, 300000):
        status, headers, body = client.get(f"/chunked/{length}")
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert body == pattern(length)
    status, headers, body = client.get("/close/300000")
    assert (status, headers["connection"], body) == (200, "close", pattern(300000))


def test_http_10_closes_unless_asked_to_stay(http):
    client = http()
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.answer()[1]["connection"] == "keep-alive"
    client.send("GET /chunked/100000 HTTP/1.0\r\n\r\n")
    status, headers, body = client.answer()
    assert (status, headers["connection"], body) == (200, "close", pattern(100000))
    assert client.answer() is None


def test_http_honours_connection_close(http):
    client = http()
    status, headers, _ = client.get("/", "Connection: foo, Close\r\n")
    assert (status, headers["connection"]) == (200, "close")
    assert client.answer() is None


def test_http_head_has_no_body(http):
    client = http()
    for path, length in (("/", "17"), ("/bytes/1000000", "1000000")):
        client.send(f"HEAD {path} HTTP/1.1\r\n\r\n")
        status, headers, _ = client.answer(head_only=True)
        assert (status, headers["content-length"]) == (200, length)
    assert client.get("/")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("length", [0, 1, 100, 3 << 20])
def test_http_swallows_bodies_and_counts_them(http, method, length):
    client = http()
    for _ in range(2):
        client.send(f"{method} /x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")
        client.send(bytes(length))
        assert client.answer()[0::2] == (200, f"{length}\n".encode())


def test_http_swallows_chunked_bodies_whatever_the_splitting(http):
    client = http()
    request = (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"5;ext=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
    for size in (1, 2, 7, len(request)):
        for at in range(0, len(request), size):
            client.send(request[at:at + size])
        assert client.answer()[0::2] == (200, b"15\n")


def test_http_says_continue(http):
    client = http()
    client.send("POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert client.answer()[0] == 100
    client.send("body")
    assert client.answer()[0::2] == (200, b"4\n")


def test_http_slow_waits_and_still_answers_a_half_closed_client(http):
    client = http()
    begin = time.monotonic()
    client.send("".join(f"GET {path} HTTP/1.1\r\n\r\n" for path in
                        ("/slow/50", "/healthz", "/slow/500")))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer()[2] == b"hello from alpha\n"
    assert client.answer()[2] == b"ok\n"
    assert time.monotonic() - begin < 0.5  # what is answered does not wait along
    assert client.answer()[2] == b"hello from alpha\n"
    assert time.monotonic() - begin >= 0.55
    assert client.answer() is None


def test_http_slow_notices_a_client_that_resets(origin, http):
    served = origin("http")
    client = http(served)
    client.send("GET /slow/3600000 HTTP/1.1\r\n\r\n")
    wait_until(lambda: served.stats()["requests"] == 1)
    client.file.close()
    reset(client.sock)
    wait_until(lambda: served.stats()["active"] == 0)


def test_http_status_of_choice(http):
    client = http()
    for status in (200, 204, 304, 404, 503, 599):
        assert client.get(f"/status/{status}")[0] == status
    assert client.get("/status/99")[0] == 400


def test_http_says_what_is_there(http):
    client = http()
    status, _, body = client.get("/nothing")
    assert status == 404 and b"/bytes/COUNT" in body
    for path in ("/bytes/", "/bytes/x", "/bytes/-1", "/bytes/1x", "/slow/3600001"):
        assert client.get(path)[0] == 400
    client.send("DELETE / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    assert client.answer()[0] == 405
    assert client.get("/")[0] == 200


BAD_REQUESTS = {
    "no version": ("GET /\r\n\r\n", 400),
    "nonsense": ("\x16\x03\x01\x02\r\n\r\n", 400),
    "bare LF": ("GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "no colon": ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    "blank before colon": ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "folded": ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "control in value": ("GET / HTTP/1.1\r\nA: \x01\r\n\r\n", 400),
    "relative path": ("GET x HTTP/1.1\r\n\r\n", 400),
    "lengths differ": ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "negative length": ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "huge length": ("POST / HTTP/1.1\r\nContent-Length: 9999999999999999999999\r\n\r\n", 400),
    "both framings": ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                      400),
    "bad chunk": ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "huge chunk": ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + "f" * 20 + "\r\n", 400),
    "chunk without its end": (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX", 400),
    "unknown coding": ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "long path": ("GET /" + "a" * 1000 + " HTTP/1.1\r\n\r\n", 414),
    "endless head": ("GET / HTTP/1.1\r\nA: " + "a" * 10000, 431),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_http_refuses(http, name):
    text, expected = BAD_REQUESTS[name]
    client = http()
    client.send(text)
    status, headers, body = client.answer()
    assert (status, headers["connection"]) == (expected, "close")
    assert body.endswith(b"\n")
    assert client.answer() is None


def test_http_refusal_reaches_a_client_that_is_still_sending(http):
    client = http()
    client.send("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n")
    client.send(bytes(4 << 20))
    assert client.answer()[0] == 400
    assert client.answer() is None


def test_every_mode_survives_garbage_and_resets(origin):
    served = origin("echo", "http", "slow", "reset", "halfclose", "silent", "hang", "discard",
                    "chargen", options=["--send", "100k", "--rate", "1m"])
    rng = random.Random(3)
    for _ in range(5):
        for nth in range(len(served.addresses)):
            for ending in (reset, socket.socket.close):
                sock = served.connect(nth)
                sock.settimeout(1)
                try:
                    sock.sendall(rng.randbytes(rng.randrange(0, 20000)))
                except OSError:
                    pass  # mode reset is allowed to
                ending(sock)
    for nth, name in enumerate(served.names):
        if not name.startswith("hang"):
            wait_until(lambda n=nth: served.stats(n)["active"] == 0, f"{name}: all closed")
    assert served.served()["connections"] == 10 * len(served.addresses)


ORIGIN_MISTAKES = [
    ([], "nothing to serve; write --listen"),
    (["--listen", "http"], "write MODE@ADDRESS"),
    (["--listen", "ftp@127.0.0.1:0"], "echo, http, slow"),
    (["--listen", "http@localhost:80"], "write 127.0.0.1:PORT"),
    (["--listen", "http@127.0.0.1"], "write 127.0.0.1:PORT"),
    (["--listen", "http@127.0.0.1:65536"], "write 0"),
    (["--listen", "http@::1:80"], "[::1]:PORT"),
    (["--listen", "http@[127.0.0.1]:80"], "write 127.0.0.1:PORT"),
    (["--listen", "http@unix:"], "write unix:/PATH"),
    (["--listen", "http@unix:/" + "a" * 120], "at most 107"),
    (["--listen"], "--listen needs a value: --listen MODE@ADDRESS"),
    (["--listen", "http@127.0.0.1:0", "--rate", "fast"], "--rate: \"fast\" is not a whole number"),
    (["--listen", "http@127.0.0.1:0", "--rate", "0"], "write 1 to"),
    (["--listen", "http@127.0.0.1:0", "--name", "a b"], "--name: only printable"),
    (["--listen", "http@127.0.0.1:0", "--name", "a", "--name", "b"], "more --name than --listen"),
    (["--listen", "http@127.0.0.1:0", "--verbose=1"], "takes no value"),
    (["--listen", "http@127.0.0.1:0", "--frob"], "the options are --listen"),
    (["127.0.0.1:80"], "write --listen"),
]


@pytest.mark.parametrize("words,message", ORIGIN_MISTAKES)
def test_origin_says_what_would_be_right(words, message):
    done = subprocess.run([ORIGIN, *words], capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_origin_says_why_it_cannot_listen(origin):
    served = origin("echo")
    done = subprocess.run([ORIGIN, "--listen", "echo@" + served.addresses[0]], capture_output=True,
                          text=True, timeout=WAIT)
    assert done.returncode == 1
    assert f"cannot listen on {served.addresses[0]}: Address already in use" in done.stderr


@pytest.mark.parametrize("program", [ORIGIN, LOAD])
def test_help_fits_a_terminal(program):
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


# sluice-load against sluice-origin


def test_crc_spreads_over_targets_and_counts_origins(origin, tmp_path):
    served = origin("http", "http@[::1]:0", f"http@unix:{tmp_path}/o",
                    options=["--name", "a", "--name", "b", "--name", "c"])
    targets = [word for address in served.addresses for word in ("--target", address)]
    status, report = run_load("crc", *targets, "--connections", "4", "--requests", "300")
    assert status == 0
    assert (report["mode"], report["requests"], report["connections"]) == ("crc", 300, 300)
    assert report["origins"] == {"a": 100, "b": 100, "c": 100}
    assert report["errors"] == 0 and not any(report["errors_by_kind"].values())
    assert 0 < report["latency_us"]["p50"] <= report["latency_us"]["p90"] <= \
        report["latency_us"]["p99"] <= report["latency_us"]["p99_9"] <= report["latency_us"]["max"]
    figures = served.served()
    assert (figures["connections"], figures["requests"]) == (300, 300)
    assert (figures["bytes_in"], figures["bytes_out"]) == (report["bytes_out"], report["bytes_in"])


@pytest.mark.parametrize("option,closer", [([], "origin"), (["--client-closes"], "client")])
def test_crc_closes_from_either_side(scripted, option, closer):
    seen = []

    def handler(sock, _):
        request = sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if closer == "client":
            seen.append(sock.recv(1))
        else:
            seen.append(request.partition(b"Connection: close\r\n")[1])

    status, report = run_load("crc", "--target", scripted(handler), "--requests", "3", *option)
    assert (status, report["requests"]) == (0, 3)
    wait_until(lambda: len(seen) == 3, "the last one to be closed")
    assert seen == [b"" if closer == "client" else b"Connection: close\r\n"] * 3


def test_keepalive_uses_so_many_connections(origin):
    served = origin("http")
    status, report = run_load("keepalive", "--target", served.addresses[0], "--connections", "7",
                              "--requests", "1000", "--path", "/bytes/5000")
    assert (status, report["requests"], report["connections"]) == (0, 1000, 7)
    assert served.stats() == {"active": 0, "peak": 7, "total": 7, "requests": 1000}


def test_keepalive_reopens_what_the_origin_said_it_would_close(origin):
    served = origin("http")
    status, report = run_load("keepalive", "--target", served.addresses[0], "--connections", "2",
                              "--requests", "20", "--path", "/close/10")
    assert (status, report["requests"], report["reopened"]) == (0, 20, 20)
    assert report["connections"] == 20


@pytest.mark.parametrize("path", ["/bytes/100000", "/chunked/100000", "/close/100000", "/bytes/0"])
def test_answers_of_each_framing_are_verified(origin, path):
    served = origin("http")
    status, report = run_load("crc", "--target", served.addresses[0], "--requests", "10",
                              "--path", path)
    assert (status, report["requests"]) == (0, 10)


def test_duration_ends_a_closed_loop(origin):
    served = origin("http")
    status, report = run_load("keepalive", "--target", served.addresses[0], "--duration", "300ms")
    assert status == 0
    assert 300000 <= report["elapsed_us"] < 3000000
    assert report["requests"] == served.stats()["requests"] > 10


@pytest.mark.parametrize("mode", ["crc", "keepalive"])
def test_rate_is_kept(origin, mode):
    served = origin("http")
    status, report = run_load(mode, "--target", served.addresses[0], "--connections", "10",
                              "--duration", "1", "--rate", "200/s")
    assert (status, report["requests"]) == (0, 200)
    assert 990000 <= report["elapsed_us"] < 5000000


def test_rate_counts_latency_from_when_a_request_was_due(origin, background):
    """A stall shows in all the requests that fell due meanwhile, not only in the one under way."""
    served = origin("http")
    load = background("keepalive", "--target", served.addresses[0], "--connections", "1",
                      "--duration", "1.5", "--rate", "200", "--json")
    wait_until(lambda: served.stats()["requests"] >= 20)
    served.popen.send_signal(signal.SIGSTOP)
    time.sleep(0.5)  # the stall itself
    served.popen.send_signal(signal.SIGCONT)
    assert load.wait() == 0
    report = json.loads(load.lines[-1])
    assert report["requests"] == 300
    assert report["latency_us"]["max"] >= 450000
    assert report["latency_us"]["p90"] >= 200000


def test_rate_tells_what_it_could_not_send(origin):
    served = origin("silent")
    status, report = run_load("crc", "--target", served.addresses[0], "--duration", "500ms",
                              "--rate", "50", "--timeout", "200ms")
    kinds = report["errors_by_kind"]
    assert status == 1
    assert kinds["timeout"] >= 1 and kinds["unsent"] >= 1
    assert kinds["timeout"] + kinds["unsent"] + report["interrupted"] == 25


def test_hold_says_when_all_stand_and_ends_by_signal(origin, background):
    served = origin("silent")
    load = background("hold", "--target", served.addresses[0], "--connections", "400", "--json")
    assert load.wait_line("^holding") == "holding 400"
    assert wait_until(lambda: served.stats()["active"] == 400)
    assert load.end(signal.SIGINT) == 0
    report = json.loads(load.lines[-1])
    assert (report["held"], report["connections"], report["errors"]) == (400, 400, 0)
    wait_until(lambda: served.stats()["active"] == 0)


def test_hold_with_a_request_each_for_a_duration(origin):
    served = origin("http", options=["--name", "a"])
    status, report = run_load("hold", "--target", served.addresses[0], "--connections", "50",
                              "--path", "/", "--duration", "200ms", "--rate", "1000")
    assert (status, report["held"], report["requests"]) == (0, 50, 50)
    assert report["origins"] == {"a": 50}


@pytest.mark.parametrize("number,kinds", [(signal.SIGTERM, {"eof_idle"}),
                                          (signal.SIGKILL, {"eof_idle", "reset"})])
def test_hold_detects_lost_connections(origin, background, number, kinds):
    served = origin("http")
    load = background("hold", "--target", served.addresses[0], "--connections", "20", "--json")
    assert load.wait_line("^holding") == "holding 20"
    served.end(number)
    assert load.wait() == 1  # ends by itself: nothing is left to hold
    report = json.loads(load.lines[-1])
    assert (report["held"], report["errors"]) == (0, 20)
    assert {kind for kind, count in report["errors_by_kind"].items() if count} <= kinds


def test_hold_goes_on_with_those_that_stand(origin, background):
    served = origin("silent", "reset", options=["--after", "0"])
    load = background("hold", "--target", served.addresses[0], "--target", served.addresses[1],
                      "--connections", "10", "--json")
    load.wait_line("^holding ([5-9]|10)$")  # a reset may come before or after that line
    wait_until(lambda: served.stats(1)["total"] == 5)
    load.end(signal.SIGTERM)
    report = json.loads(load.lines[-1])
    assert (report["held"], report["errors_by_kind"]["reset"]) == (5, 5)


def test_processes_share_connections_requests_and_rate(origin):
    served = origin("http", options=["--name", "a"])
    for mode, extra in (("crc", []), ("keepalive", []), ("keepalive", ["--rate", "1000"])):
        status, report = run_load(mode, "--target", served.addresses[0], "--connections", "5",
                                  "--requests", "101", "--processes", "3", *extra)
        assert (status, report["requests"], report["origins"]) == (0, 101, {"a": 101})


def test_processes_hold_together_and_end_by_a_signal_to_the_parent(origin, background):
    served = origin("silent")
    load = background("hold", "--target", served.addresses[0], "--connections", "31",
                      "--processes", "3", "--json")
    assert load.wait_line("^holding") == "holding 31"
    with open(f"/proc/{load.popen.pid}/task/{load.popen.pid}/children") as listed:
        children = listed.read().split()
    assert len(children) == 3
    assert load.end(signal.SIGTERM) == 0
    assert json.loads(load.lines[-1])["held"] == 31
    assert not any(os.path.exists(f"/proc/{child}") for child in children)


def test_bulk_download_and_upload(origin):
    served = origin("http", "discard")
    status, report = run_load("bulk", "--target", served.addresses[0], "--connections", "2",
                              "--download", "8m")
    assert (status, report["requests"]) == (0, 2)
    assert report["bytes_in"] > 16 << 20
    for size, count in (("8m", 8 << 20), ("0", 0)):
        status, report = run_load("bulk", "--target", served.addresses[1], "--connections", "2",
                                  "--requests", "3", "--upload", size)
        assert (status, report["requests"], report["bytes_out"]) == (0, 3, 3 * count)


def test_bulk_over_unix(origin, tmp_path):
    served = origin(f"http@unix:{tmp_path}/h", f"discard@unix:{tmp_path}/d")
    for nth, option in ((0, "--download"), (1, "--upload")):
        status, report = run_load("bulk", "--target", served.addresses[nth], option, "2m")
        assert (status, report["requests"]) == (0, 1)


def test_bulk_is_cut_by_its_duration_without_error(origin):
    served = origin("http", "discard")
    for nth, option in ((0, "--download"), (1, "--upload")):
        status, report = run_load("bulk", "--target", served.addresses[nth], option, "100t",
                                  "--connections", "2", "--duration", "200ms")
        assert (status, report["interrupted"], report["requests"]) == (0, 2, 0)
        assert report["bytes_in"] + report["bytes_out"] > 1 << 20


def test_bulk_upload_notices_a_wrong_answer(origin):
    served = origin("halfclose", options=["--send", "10"])
    status, report = run_load("bulk", "--target", served.addresses[0], "--upload", "0")
    assert (status, report["errors_by_kind"]["bad_body"]) == (1, 1)


def test_sigint_ends_early_and_reports(origin, background):
    served = origin("http")
    load = background("keepalive", "--target", served.addresses[0], "--duration", "1h")
    wait_until(lambda: served.stats()["requests"] > 10)
    assert load.end(signal.SIGINT) == 0
    text = "\n".join(load.lines)
    assert re.search(r"^requests +\d+ answered", text, re.M)
    assert re.search(r"^errors +0$", text, re.M)
    assert re.search(r"^latency +p50 ", text, re.M)
    assert re.search(r"^origin +127\.0\.0\.1:\d+ \d+ \(100\.0 %\)$", text, re.M)


def test_sources_are_used_in_turn(scripted):
    peers = []

    def handler(sock, peer):
        peers.append(peer[0])
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    status, report = run_load("crc", "--target", scripted(handler), "--requests", "6", "--source",
                              "127.0.0.2", "--source", "127.0.0.3")
    assert (status, report["requests"]) == (0, 6)
    assert sorted(peers) == ["127.0.0.2"] * 3 + ["127.0.0.3"] * 3


# sluice-load: every kind of error


ANSWERS = {
    "bad_status": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    "bad_answer": b"SSH-2.0-OpenSSH_9.2\r\n",
    "eof_early": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
    "bad_body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX",
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("split", [False, True])
def test_wrong_answers_are_told_apart(scripted, kind, split):
    def handler(sock, _):
        sock.recv(4096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = 1 if split else 1000
        for at in range(0, len(ANSWERS[kind]), step):
            sock.sendall(ANSWERS[kind][at:at + step])

    status, report = run_load("crc", "--target", scripted(handler))
    assert status == 1
    assert {k: n for k, n in report["errors_by_kind"].items() if n} == {kind: 1}


def test_interim_answers_and_late_headers_are_understood(scripted):
    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
                     b"A: " + b"a" * 1000 + b"\r\nx-ORIGIN:  we\"ird \r\ncontent-length: 2\r\n\r\nok")

    status, report = run_load("crc", "--target", scripted(handler))
    assert (status, report["requests"], report["origins"]) == (0, 1, {"we?ird": 1})


@pytest.mark.parametrize("head", [b"HTTP/1.1 100 Continue\r\n\r\n", b"A: b\r\n"])
def test_endless_heads_are_cut_off(scripted, head):
    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" if head.startswith(b"A") else b"")
        while True:
            sock.sendall(head * 1000)

    status, report = run_load("crc", "--target", scripted(handler))
    assert (status, report["errors_by_kind"]["bad_answer"]) == (1, 1)


@pytest.mark.parametrize("change", ["flip", "drop", "short", "long"])
def test_wrong_content_is_noticed(scripted, change):
    body = {"flip": pattern(70000) + b"\0" + pattern(100000)[70001:],
            "drop": pattern(50000) + pattern(100000 + 4096)[54096:],
            "short": pattern(99999),
            "long": pattern(100001)}[change]

    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    target = scripted(handler)
    status, report = run_load("crc", "--target", target, "--path", "/bytes/100000")
    assert (status, report["errors_by_kind"]["bad_body"]) == (1, 1)
    status, report = run_load("crc", "--target", target, "--path", "/bytes/100000", "--no-verify")
    assert (status, report["requests"]) == (0, 1)


def test_refused_and_absent_targets(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for target in (f"127.0.0.1:{port}", f"unix:{tmp_path}/absent"):
        status, report = run_load("crc", "--target", target, "--requests", "3")
        assert (status, report["errors_by_kind"]["connect_refused"]) == (1, 3)
        assert (report["errors"], report["connections"]) == (3, 0)


def test_reset_by_the_origin(origin):
    served = origin("reset")
    status, report = run_load("crc", "--target", served.addresses[0], "--requests", "3")
    assert (status, report["errors_by_kind"]["reset"]) == (1, 3)


def test_no_answer_in_time(origin):
    served = origin("silent", "hang")
    for address in served.addresses:
        status, report = run_load("crc", "--target", address, "--timeout", "100ms")
        assert (status, report["errors_by_kind"]["timeout"]) == (1, 1)


def test_progress_holds_the_timeout_off(scripted):
    def handler(sock, _):
        sock.recv(4096)
        for byte in b"HTTP/1.1 204 No Content\r\n\r\n":
            time.sleep(0.02)  # slower in all than the time-out, faster in each part
            sock.sendall(bytes([byte]))

    status, report = run_load("crc", "--target", scripted(handler), "--timeout", "400ms")
    assert (status, report["requests"]) == (0, 1)
    assert report["latency_us"]["max"] > 500000


def test_no_end_after_the_answer_is_a_timeout(scripted):
    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        sock.recv(1)

    status, report = run_load("crc", "--target", scripted(handler), "--timeout", "100ms")
    assert (status, report["requests"], report["errors_by_kind"]["timeout"]) == (1, 1, 1)


def test_connect_timeout(tmp_path):
    """A full accept queue: TCP drops the SYN, a Unix socket says try again."""
    for listener in (socket.socket(), socket.socket(socket.AF_UNIX)):
        unix = listener.family == socket.AF_UNIX
        listener.bind(f"{tmp_path}/full" if unix else ("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            fillers.append(socket.socket(listener.family))
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(listener.getsockname())
        name = listener.getsockname()
        target = f"unix:{name}" if unix else "%s:%d" % name
        status, report = run_load("crc", "--target", target, "--timeout", "200ms")
        assert (status, report["errors_by_kind"]["connect_timeout"]) == (1, 1)
        for sock in fillers + [listener]:
            sock.close()


def test_unix_connect_tries_again_until_there_is_room(tmp_path, background):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/full")
    listener.listen(0)
    filler = socket.socket(socket.AF_UNIX)
    filler.connect(listener.getsockname())
    load = background("hold", "--target", f"unix:{tmp_path}/full", "--json")
    with pytest.raises(subprocess.TimeoutExpired):
        load.popen.wait(0.1)
    accepted = [listener.accept()[0], listener.accept()[0]]
    assert load.wait_line("^holding") == "holding 1"
    assert load.end(signal.SIGINT) == 0
    for sock in accepted + [filler, listener]:
        sock.close()


def test_keepalive_end_without_announcement_is_an_error(scripted, background):
    asked = threading.Event()

    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        asked.set()
        # Closed while nothing is asked: the next request is due only in a second.

    status, report = run_load("keepalive", "--target", scripted(handler), "--rate", "1",
                              "--requests", "2")
    assert asked.is_set()
    assert (status, report["errors_by_kind"]["eof_idle"], report["requests"]) == (1, 1, 2)


def test_keepalive_unasked_bytes_are_an_error(scripted):
    def handler(sock, _):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(0.1)  # apart from the answer
        sock.sendall(b"stray")
        sock.recv(1)

    status, report = run_load("keepalive", "--target", scripted(handler), "--rate", "1",
                              "--requests", "2")
    assert status == 1
    assert report["errors_by_kind"]["bad_answer"] == 1


def test_out_of_descriptors_is_an_error_and_no_loop(origin):
    served = origin("silent")
    done = subprocess.run(
        [LOAD, "hold", "--target", served.addresses[0], "--connections", "100", "--duration",
         "100ms", "--json"], capture_output=True, text=True, timeout=WAIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50)))
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert report["held"] + report["errors_by_kind"]["system"] == 100
    assert report["held"] > 20


LOAD_MISTAKES = [
    ([], "write one of crc, keepalive, hold, bulk"),
    (["crunch", "--target", "127.0.0.1:1"], "unknown mode \"crunch\"; write one of crc"),
    (["crc"], "no target; write --target ADDRESS"),
    (["crc", "hold", "--target", "127.0.0.1:1"], "one word too many"),
    (["crc", "--target", "127.0.0.1:0"], "write 1 to 65535"),
    (["crc", "--target", "localhost:1"], "write 127.0.0.1:PORT"),
    (["crc", "--target", "127.0.0.1:1", "--connections", "0"], "write 1 to"),
    (["crc", "--target", "127.0.0.1:1", "--connections", "99999999999999999999"], "whole number"),
    (["crc", "--target", "127.0.0.1:1", "--duration", "soon"], "write seconds, or 250ms"),
    (["crc", "--target", "127.0.0.1:1", "--duration", "0"], "write 1ms to"),
    (["crc", "--target", "127.0.0.1:1", "--rate", "5/m"], "write 100 or 100/s"),
    (["crc", "--target", "127.0.0.1:1", "--path", "x"], "starts with /"),
    (["crc", "--target", "127.0.0.1:1", "--path", "/a b"], "as %20"),
    (["crc", "--target", "127.0.0.1:1", "--upload", "1"], "only in mode bulk"),
    (["crc", "--target", "127.0.0.1:1", "--source", "127.0.0.1:5"], "without a port"),
    (["crc", "--target", "127.0.0.1:1", "--source", "::1"], "all IPv4 or all IPv6"),
    (["crc", "--target", "127.0.0.1:1", "--processes", "2"], "write at most 1"),
    (["bulk", "--target", "127.0.0.1:1"], "--download BYTES or --upload BYTES"),
    (["bulk", "--target", "127.0.0.1:1", "--upload", "1", "--path", "/"], "without --path"),
    (["hold", "--target", "127.0.0.1:1", "--requests", "1"], "not in mode hold"),
    (["keepalive", "--target", "127.0.0.1:1", "--client-closes"], "only in mode crc"),
    (["crc", "--target", "127.0.0.1:1", "--frob"], "the options are --target"),
]


@pytest.mark.parametrize("words,message", LOAD_MISTAKES)
def test_load_says_what_would_be_right(words, message):
    done = subprocess.run([LOAD, *words], capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
