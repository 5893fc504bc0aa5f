"""Urgent data (RFC 9293, 3.8.5): FTP's ABOR and telnet's Synch send it. No byte of it is lost, and
what stands behind it is not left unread, for a read ends in front of it although there is more."""

import contextlib
import os
import signal
import socket

import pytest

from peers import Worker
from sluice import Daemon, connect, pool, service, wait_for
from test_fault_close import Backend

LINES = {"mode": "request", "framing": "line"}


@contextlib.contextmanager
def stopped(pid):
    """So that all that is sent meanwhile is there at the next look."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def receive(sock, n):
    data = b""
    while len(data) < n and (more := sock.recv(n - len(data))):
        data += more
    return data


def send_urgent(sock):
    sock.sendall(b"abc")
    sock.send(b"\xf2", socket.MSG_OOB)
    sock.sendall(b"ABOR\r\n")


def greeted(backend, words):
    """The connection on which they come; others may be mere trials."""
    while True:
        accepted = backend.accept()
        if receive(accepted, len(words)) == words:
            return accepted
        accepted.close()


WHOLE = b"abc\xf2ABOR\r\n"


@pytest.mark.parametrize("reuse", [None, LINES], ids=["plain", "line"])
@pytest.mark.parametrize("who", ["client", "backend"])
def test_urgent(start, tmp_path, who, reuse):
    with Backend("ipv4", tmp_path) as backend:
        options = {"reuse": reuse} if reuse else {}
        daemon = start(Daemon(service("s") + pool("s", [backend.address], **options), workers=1))
        worker = daemon.workers()[0]
        with connect(daemon.address("s")) as client:
            client.sendall(b"hello\n")
            with greeted(backend, b"hello\n") as accepted:
                accepted.sendall(b"hello\n")
                assert receive(client, 6) == b"hello\n"
                client.settimeout(10)
                accepted.settimeout(10)
                for _ in range(3):
                    with stopped(worker):
                        send_urgent(client) if who == "client" else client.sendall(b"ask\n")
                    wanted = WHOLE if who == "client" else b"ask\n"
                    assert receive(accepted, len(wanted)) == wanted
                    with stopped(worker):
                        send_urgent(accepted)
                    assert receive(client, len(WHOLE)) == WHOLE


@contextlib.contextmanager
def flow(start, tmp_path, who):
    """The daemon, a socket that sends and the one beyond the daemon that receives."""
    with Backend("ipv4", tmp_path) as backend:
        daemon = start(Daemon(service("s") + pool("s", [backend.address]), workers=1))
        with connect(daemon.address("s")) as client:
            client.sendall(b"hello\n")
            with greeted(backend, b"hello\n") as accepted:
                client.settimeout(10)
                accepted.settimeout(10)
                yield daemon, *((client, accepted) if who == "client" else (accepted, client))


@pytest.mark.parametrize("who", ["client", "backend"])
def test_urgent_in_bulk(start, tmp_path, who):
    """Splicing never gets past urgent bytes by itself, and takes them for the end of the stream."""
    with flow(start, tmp_path, who) as (daemon, sender, receiver):
        part = bytes(3 << 20)

        def send():
            for _ in range(3):
                sender.sendall(part)
                send_urgent(sender)
            sender.shutdown(socket.SHUT_WR)
        sending = Worker(send)
        assert receive(receiver, 4 * len(part)) == 3 * (part + WHOLE)
        sending.result()
        workers = daemon.ctl_json("show workers")["workers"]
        assert sum(row["spliced_bytes"] for row in workers) > len(part), workers


@pytest.mark.parametrize("who", ["client", "backend"])
def test_urgent_behind_a_blocked_reader(start, tmp_path, who):
    """Its event comes long before it is read."""
    with flow(start, tmp_path, who) as (daemon, sender, receiver):
        counter = "bytes_in" if who == "client" else "bytes_out"
        known, sent, block = daemon.service("s")[counter], 0, bytes(1 << 16)

        def is_read():
            return daemon.service("s")[counter] - known == sent
        with pytest.raises(AssertionError, match="not within"):
            while True:
                sender.sendall(block)
                sent += len(block)
                wait_for(is_read, 0.3)
        send_urgent(sender)
        assert receive(receiver, sent + len(WHOLE)) == bytes(sent) + WHOLE
