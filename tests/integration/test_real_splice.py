"""Bulk flows pass through the kernel (splice): what arrives is what was sent, whatever happens to
the session meanwhile, and without descriptors for pipes it is copied."""

import hashlib
import os
import socket
import struct

import pytest

from peers import Counter, Server, Worker, receive_stream, send_stream
from sluice import Daemon, amount, connect, pool, service, wait_for

MB = 1 << 20
SMALL = 16 << 10  # SO_RCVBUF of a slow reader


@pytest.fixture
def length():
    return amount(200 * MB, 48 * MB)


class Site:
    """One client and one backend, which the test plays, with a daemon of one worker between."""

    def __init__(self, start, receive_buffer=0):
        self.sockets = []
        backend = start(Server(self.sockets.append, receive_buffer))
        backend._serve = self.sockets.append  # the socket stays open
        self.daemon = start(Daemon(service("bulk") + pool("bulk", [backend.address]), workers=1))
        self.client = start(connect(self.daemon.address("bulk"), 60,
                                    receive_buffer=receive_buffer))
        wait_for(lambda: self.sockets, what="the backend to be connected")
        self.backend = start(self.sockets[0])
        self.backend.settimeout(60)

    def worker(self):
        return self.daemon.ctl_json("show workers")["workers"][0]

    def relay(self):
        row, = self.daemon.ctl_json("show sessions")["sessions"]
        return row["relay_in"], row["relay_out"]

    def carry(self, sender, reader, block):
        """A block that arrives as it is, on a connection that stays."""
        worker = Worker(sender.sendall, block)
        digest, left = hashlib.sha256(), len(block)
        while left:
            data = reader.recv(min(left, MB))
            assert data
            digest.update(data)
            left -= len(data)
        worker.result()
        assert digest.digest() == hashlib.sha256(block).digest()


def test_both_ways_at_once(start, length):
    site = Site(start)
    senders = [Worker(send_stream, sock, length) for sock in (site.client, site.backend)]
    readers = [Worker(receive_stream, sock) for sock in (site.backend, site.client)]
    for sender, reader in zip(senders, readers):
        assert reader.result() == (length, sender.result())
    row = site.daemon.check_accounts("bulk")
    assert (row["bytes_in"], row["bytes_out"]) == (length, length)
    assert site.worker()["spliced_bytes"] > length
    wait_for(lambda: site.worker()["pipes"] == 0, what="the pipes to be closed")


def test_mixed_with_small_messages_and_pauses(start):
    site = Site(start)
    block = os.urandom(24 * MB)
    assert site.relay() == ("copy", "copy")
    for _ in range(3):
        before = site.worker()["spliced_bytes"]
        site.carry(site.backend, site.client, block)
        assert site.worker()["spliced_bytes"] - before > len(block) / 2
        wait_for(lambda: site.relay() == ("copy", "copy"), what="the pause to be noticed")
        for _ in range(20):
            site.carry(site.client, site.backend, b"ask")
            site.carry(site.backend, site.client, b"answer")
        assert site.relay() == ("copy", "copy")
    site.carry(site.client, site.backend, block)
    site.carry(site.client, site.backend, b"ask")
    site.carry(site.backend, site.client, block)
    site.carry(site.backend, site.client, b"answer")
    assert site.worker()["spliced_bytes"] > 3 * len(block)


@pytest.fixture
def stuck(start):
    """A download that was spliced, and of which the client takes no more now."""
    site = Site(start, SMALL)
    site.sent = Counter()
    site.sender = Worker(send_stream, site.backend, 64 * MB, site.sent)
    site.received = 0
    while site.relay()[1] != "splice" or site.worker()["buffered_bytes"] == 0:
        site.received += len(site.client.recv(SMALL))
        assert site.received < 48 * MB, "never spliced"
    return site


def test_half_close_with_bytes_in_the_pipe(stuck):
    stuck.client.shutdown(socket.SHUT_WR)
    assert stuck.backend.recv(1) == b""
    got, _ = receive_stream(stuck.client)
    assert stuck.received + got == 64 * MB
    stuck.sender.result()
    row = stuck.daemon.check_accounts("bulk")
    assert row["bytes_out"] == 64 * MB
    assert stuck.worker()["buffered_bytes"] == 0


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_reset_with_bytes_in_the_pipe(stuck):
    reset(stuck.client)
    with pytest.raises(ConnectionError):
        stuck.sender.result()
    stuck.daemon.check_accounts("bulk")
    row = stuck.worker()
    assert (row["buffered_bytes"], row["pipes"]) == (0, 0)  # it is not given to others


def test_without_descriptors_for_pipes(start, limited, length):
    limited(200)
    server = start(Server(lambda sock: send_stream(sock, length)))
    daemon = start(Daemon(service("bulk") + pool("bulk", [server.address]), workers=1))
    with connect(daemon.address("bulk"), 60) as sock:
        got = receive_stream(sock)
    assert got == (length, server.workers[0].result())
    assert daemon.ctl_json("show workers")["workers"][0]["spliced_bytes"] == 0
    daemon.check_accounts("bulk")


def test_unix_backend(start, folder, length):
    path = str(folder / "backend.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(60)
        listener.bind(path)
        os.chmod(path, 0o777)  # workers are somebody else
        listener.listen(4)
        daemon = start(Daemon(service("bulk") + pool("bulk", [f"unix:{path}"]), workers=1))
        with connect(daemon.address("bulk"), 60) as sock:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(60)
                sender = Worker(send_stream, sock, length)
                assert receive_stream(peer) == (length, sender.result())
                sender = Worker(send_stream, peer, length)
                assert receive_stream(sock) == (length, sender.result())
    assert daemon.ctl_json("show workers")["workers"][0]["spliced_bytes"] > length
    daemon.check_accounts("bulk")
