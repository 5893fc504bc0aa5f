"""Large transfers: iperf3 both ways, and a gigabyte each way past a reader that stops reading."""

import json
import threading

import pytest

from peers import Counter, Server, Worker, receive_stream, send_stream
from sluice import Daemon, amount, connect, memory, pool, run, service, split, wait_for
from software import Iperf3

MB = 1 << 20
FIRST = 4 * MB             # read before the reader stops
KERNEL = 64 * MB           # more than the socket buffers of both legs can hold
SMALL = 16 << 10           # SO_RCVBUF of the reader
HELD = 512 << 10           # what a worker may hold of one direction
GROWTH = 16 * MB           # what it may grow by, with a sanitizer's own memory


def iperf3(daemon, *words):
    host, port = split(daemon.address("iperf"))
    result = run(["iperf3", "-J", "-c", host, "-p", port, *words], check=False)
    report = json.loads(result.stdout)
    assert result.returncode == 0 and "error" not in report, result.stdout
    return report["end"]


@pytest.mark.parametrize("words", [[], ["-R"], ["--bidir"], ["-P", "8"], ["-P", "8", "-R"]],
                         ids=["up", "down", "both", "up of 8", "down of 8"])
def test_iperf3(start, words):
    server = start(Iperf3())
    # iperf3 tells the two directions of --bidir apart by which connection comes first; two workers
    # may pass them on in either order.
    daemon = start(Daemon(service("iperf") + pool("iperf", [server.address]),
                          workers=1 if "--bidir" in words else 2))
    end = iperf3(daemon, "-t", amount(2, 1), *words)
    row = daemon.check_accounts("iperf")
    sums = {"up": end["sum_received"]["bytes"], "down": 0}
    if "-R" in words:
        sums = {"up": 0, "down": end["sum_received"]["bytes"]}
    if "--bidir" in words:
        sums["down"] = end["sum_received_bidir_reverse"]["bytes"]
    sent = sum(end[name]["bytes"] for name in end if name.startswith("sum_sent"))
    assert max(sums.values()) > 10 * MB and row["connections_refused"] == 0
    # The control connection is the small rest; what iperf3 does not wait for at its end was
    # perhaps not received, but was sent.
    assert sums["up"] <= row["bytes_in"] and sums["down"] <= row["bytes_out"]
    assert row["bytes_in"] + row["bytes_out"] <= sent + 256 * 1024


class Pause:
    """A reader that stops after FIRST bytes until go_on() says that all held still meanwhile."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.event = threading.Event()
        self.received, self.sent = Counter(), Counter()
        self.memory = {pid: memory(pid) for pid in daemon.workers()}

    def held(self):
        return sum(row["buffered_bytes"] for row in self.daemon.ctl_json("show workers")["workers"])

    def grown(self):
        return max(memory(pid) - before for pid, before in self.memory.items())

    def wait_until_stuck(self):
        """The sender has to come to a halt, with little in the worker."""
        last = [-1, 0]

        def stands():
            last[1] = last[1] + 1 if self.sent.bytes == last[0] else 0
            last[0] = self.sent.bytes
            return self.received.bytes >= FIRST and last[1] >= 50  # half a second of polls
        wait_for(stands, what="the sender to be held back")
        assert self.sent.bytes - self.received.bytes < KERNEL
        assert 0 < self.held() <= HELD
        assert self.grown() < GROWTH

    def go_on(self):
        self.event.set()

    def watch(self, worker):
        """Until the thread ends, nothing may pile up."""
        most = 0

        def ended():
            nonlocal most
            most = max(most, self.held())
            assert self.grown() < GROWTH
            return not worker.is_alive()
        wait_for(ended, 240, "the end of the transfer")
        assert most <= 2 * HELD
        return worker.result()


@pytest.fixture
def length():
    return amount(1024 * MB, 96 * MB)


def make_daemon(start, server):
    return start(Daemon(service("bulk") + pool("bulk", [server.address])))


def test_upload_to_slow_reader(start, length):
    def serve(sock):
        result = receive_stream(sock, pause.event, FIRST, pause.received)
        sock.sendall(b"done")
        return result

    server = start(Server(serve, receive_buffer=SMALL))
    daemon = make_daemon(start, server)
    pause = Pause(daemon)
    with connect(daemon.address("bulk"), 240) as sock:
        sender = Worker(send_stream, sock, length, pause.sent)
        pause.wait_until_stuck()
        pause.go_on()
        digest = pause.watch(sender)
        assert sock.recv(16) == b"done" and sock.recv(16) == b""
    assert server.workers[0].result() == (length, digest)
    row = daemon.check_accounts("bulk")
    assert (row["bytes_in"], row["bytes_out"]) == (length, len(b"done"))
    assert pause.held() == 0


def test_download_by_slow_reader(start, length):
    server = start(Server(lambda sock: send_stream(sock, length, pause.sent)))
    daemon = make_daemon(start, server)
    pause = Pause(daemon)
    with connect(daemon.address("bulk"), 240, receive_buffer=SMALL) as sock:
        reader = Worker(receive_stream, sock, pause.event, FIRST, pause.received)
        pause.wait_until_stuck()
        pause.go_on()
        got = pause.watch(reader)
    assert got == (length, server.workers[0].result())
    row = daemon.check_accounts("bulk")
    assert (row["bytes_in"], row["bytes_out"]) == (0, length)
    assert pause.held() == 0


def test_both_directions_at_once(start, length):
    """Neither direction waits for the other, and each ends by itself."""
    def serve(sock):
        reader = Worker(receive_stream, sock)
        return send_stream(sock, length // 2), reader.result()

    server = start(Server(serve))
    daemon = make_daemon(start, server)
    with connect(daemon.address("bulk"), 240) as sock:
        reader = Worker(receive_stream, sock)
        digest = send_stream(sock, length // 2)
        got = reader.result()
    sent_back, received = server.workers[0].result()
    assert received == (length // 2, digest)
    assert got == (length // 2, sent_back)
    row = daemon.check_accounts("bulk")
    assert (row["bytes_in"], row["bytes_out"]) == (length // 2, length // 2)
