"""The end of the daemon: SIGTERM drains, the drain has a bound, a second signal ends it at once."""

import signal
import time

import pytest

from peers import Server, receive_stream, send_stream
from sluice import Daemon, Origin, connect, pool, service, wait_for

MB = 1 << 20


def refused(address):
    try:
        connect(address).close()
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True
    return False


def is_over(sock):
    """Whether the session was reset or ended; waits for it."""
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def start_echo(start, **options):
    echo = start(Origin("echo"))
    return start(Daemon(service("echo") + pool("echo", echo.addresses), **options))


def open_session(daemon):
    sock = connect(daemon.address("echo"))
    sock.sendall(b"hello")
    assert sock.recv(100) == b"hello"
    return sock


def test_a_running_transfer_finishes(start, folder):
    length = 32 * MB

    def serve(sock):
        if sock.recv(10) != b"go on":
            return None  # one of refused() that came before the drain
        return send_stream(sock, length)

    server = start(Server(serve))
    listen = ["127.0.0.1:0", "[::1]:0", f"unix:{folder}/listener"]
    daemon = start(Daemon(service("bulk", listen=listen) + pool("bulk", [server.address]),
                          drain_timeout="10m"))
    addresses = [daemon.address("bulk", nth) for nth in range(3)]
    with connect(addresses[0]) as sock:
        wait_for(lambda: server.workers, what="the session")
        daemon.signal(signal.SIGTERM)
        for address in addresses:
            wait_for(lambda: refused(address), what=f"connections to {address} to be refused")
        assert daemon.running()
        sock.sendall(b"go on")
        got = receive_stream(sock)
    assert got == (length, server.workers[0].result())
    assert daemon.wait() == 0


def test_idle_daemon_ends_at_once(start):
    daemon = start_echo(start, drain_timeout="10m")
    open_session(daemon).close()
    daemon.check_accounts("echo")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(30) == 0


@pytest.mark.parametrize("way", ["signal", "command"])
def test_drain_has_a_bound(start, way):
    daemon = start_echo(start, drain_timeout="2s" if way == "signal" else "10m")
    with open_session(daemon) as sock:
        begin = time.monotonic()
        if way == "signal":
            daemon.signal(signal.SIGTERM)
        else:
            daemon.ctl("stop within=2s")
        while time.monotonic() < begin + 1:  # well before the bound, all is as ever
            sock.sendall(b"still there")
            assert sock.recv(100) == b"still there"
            time.sleep(0.05)
        assert daemon.wait(30) == 0
        assert time.monotonic() - begin >= 1.9
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(start, second):
    daemon = start_echo(start, drain_timeout="10m")
    address = daemon.address("echo")
    with open_session(daemon) as sock:
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refused(address), what="the drain to begin")
        sock.sendall(b"still there")
        assert sock.recv(100) == b"still there"
        daemon.signal(second)
        assert daemon.wait(30) == 0
        assert is_over(sock)


def test_interrupt_ends_at_once(start):
    daemon = start_echo(start, drain_timeout="10m")
    with open_session(daemon) as sock:
        daemon.signal(signal.SIGINT)
        assert daemon.wait(30) == 0
        assert is_over(sock)
