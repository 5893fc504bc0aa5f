"""Faults of the network, made in a network namespace of the test's own: absent addresses, ports
that run out, packets that are rejected or vanish.

The test's thread enters the namespace, and what it starts is born there. Nothing has a name, so
nothing is left over when the last process has gone.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from peers import Worker  # noqa: E402
from sluice import (SLUICED, CtlError, Daemon, Origin, connect, pool, run, service, split,  # noqa: E402
                    wait_for)

CLONE_NEWNET = 0x40000000
RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
PORT_SETTINGS = pathlib.Path("/proc/sys/net/ipv4")
libc = ctypes.CDLL(None, use_errno=True)


def enter_new_namespace():
    """None, or why it is not possible."""
    if libc.unshare(CLONE_NEWNET) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    # What listens has no port of those that tests make scarce, or give to clients.
    RANGE.write_text("32768 39999\n")
    for words in ["ip", "link", "set", "lo", "up"], ["nft", "list", "ruleset"]:
        try:
            result = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            return f"{words[0]} is not installed"
        if result.returncode != 0:
            return f"{' '.join(words)}: {result.stderr.strip()}"
    return None


@pytest.fixture(autouse=True)
def namespace():
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        problem = enter_new_namespace()
        if problem:
            pytest.skip(f"no network namespace: {problem}")
        yield
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


@pytest.fixture
def start(namespace):
    """start(Daemon(...)) keeps what a test started until its end; see tests/integration."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def nft(*rules):
    """Rules for what arrives, on loopback: what we send is dropped on its way in."""
    text = "table inet t { chain c { type filter hook input priority 0; %s; }; }" % "; ".join(rules)
    run(["nft", text])


def nft_clear():
    run(["nft", "flush", "ruleset"])


def port_of(address):
    return split(address)[1]


def open_session(address, word=b"hello"):
    """A client that echoes, or None when it is reset."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(connect(address))
            sock.sendall(word)
            assert sock.recv(100) == word
        except ConnectionError:
            return None
        stack.pop_all()
        return sock


def echoes(address):
    sock = open_session(address)
    if sock:
        sock.close()
    return sock is not None


def is_reset(sock):
    while True:
        try:
            if not sock.recv(1 << 20):
                return False
        except ConnectionResetError:
            return True


def change(daemon, words):
    """Runs a command, and waits until every worker knows."""
    generation = daemon.ctl_json(words)["generation"]
    wait_for(lambda: all(row["generation"] >= generation
                         for row in daemon.ctl_json("show workers")["workers"]),
             what="workers to take the change")


def counts(row):
    return {reason: count for key in ("refused_by", "ended_by")
            for reason, count in row[key].items() if count}


# --- addresses that are not here ---

@pytest.mark.parametrize("address,cidr", [("192.0.2.10:8080", "192.0.2.10/32"),
                                          ("[2001:db8::10]:8080", "2001:db8::10/128")])
def test_freebind(start, address, cidr):
    """A standby listens on an address before it has it, and serves once it does."""
    echo = start(Origin("echo"))
    daemon = start(Daemon(service("s", listen=[address]) + pool("s", echo.addresses)))
    assert "does not have that address now" in daemon.log()
    with pytest.raises(OSError):
        connect(address, 1)
    run(["ip", "address", "add", cidr, "dev", "lo"])
    wait_for(lambda: can_connect(address), what="the address to be usable")
    assert echoes(address)
    run(["ip", "address", "del", cidr, "dev", "lo"])
    run(["ip", "address", "add", cidr, "dev", "lo"])
    wait_for(lambda: can_connect(address), what="the address to be back")
    assert echoes(address)


def can_connect(address):
    try:
        connect(address, 1).close()
    except OSError:
        return False
    return True


def test_without_freebind(start):
    """Refused, with the cure; by reload too, and then all stays as it was."""
    echo = start(Origin("echo"))
    good = service("s") + pool("s", echo.addresses)
    daemon = start(Daemon(good))
    daemon.write(good + service("far", pool="s", listen=["192.0.2.10:8080"], freebind=False))
    with pytest.raises(CtlError, match="192.0.2.10:8080.*freebind = true"):
        daemon.ctl("reload")
    assert echoes(daemon.address("s"))
    run(["ip", "address", "add", "192.0.2.10/32", "dev", "lo"])
    change(daemon, "reload")
    assert echoes("192.0.2.10:8080")


def test_a_connection_has_the_port(start):
    """Nobody listens there: told as what it may be, with the command that keeps it from happening,
    which leaves what was reserved before."""
    echo = start(Origin("echo"))
    good = service("s", listen=["127.0.0.1:8080"]) + pool("s", echo.addresses)
    daemon = start(Daemon(good))
    (PORT_SETTINGS / "ip_local_port_range").write_text("40000 40063\n")
    (PORT_SETTINGS / "ip_local_reserved_ports").write_text("40009,40020\n")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 40010))
        other.connect(split(daemon.address("s")))
        daemon.write(good + service("far", pool="s", listen=["127.0.0.1:40010"]))
        with pytest.raises(CtlError, match="another process listens there, or a connection has the "
                                           "port.*40000 to 40063") as told:
            daemon.ctl("reload")
        command = re.search(r"sysctl -w (\S+)=(\S+)$", str(told.value), re.MULTILINE)
        assert command.groups() == ("net.ipv4.ip_local_reserved_ports", "40009-40010,40020")
        (PORT_SETTINGS / "ip_local_reserved_ports").write_text(command[2])
        with pytest.raises(CtlError, match="another process listens there; end it"):
            daemon.ctl("reload")


def test_the_check_of_a_file_warns_of_such_ports(tmp_path):
    """Once, with all of them in the command, and no more once it was given."""
    (PORT_SETTINGS / "ip_local_port_range").write_text("40000 40063\n")
    (PORT_SETTINGS / "ip_local_reserved_ports").write_text("40020\n")
    path = tmp_path / "sluice.conf"
    path.write_text(service("low", listen=["127.0.0.1:8080"]) + pool("low", ["127.0.0.1:9"]) +
                    service("s", listen=["127.0.0.1:40010", "unix:@s", "127.0.0.1:40012"],
                            pool="low"))
    checked = run([SLUICED, "-t", "-c", path], check=False)
    command = re.search(r':\d+: service "s": warning: listen 127.0.0.1:40010, and 1 more: the port .* '
                        r"40000 to 40063.*; sysctl -w \S+=(\S+)$", checked.stderr, re.MULTILINE)
    assert checked.returncode == 0 and checked.stderr.count("connections (net.") == 1, checked
    assert command[1] == "40010,40012,40020", checked
    (PORT_SETTINGS / "ip_local_reserved_ports").write_text(command[1])
    assert "ip_local" not in run([SLUICED, "-t", "-c", path], check=False).stderr


# --- no port to connect from ---

def client(address, number):
    """A client with a port of its own outside the range that runs out."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.settimeout(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 50000 + number))
        try:
            sock.connect(split(address))
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
        except ConnectionError:
            return None
        stack.pop_all()
        return sock


def test_ports_run_out(start):
    """Four ports: four sessions to each backend, the next ones are refused and counted."""
    echo = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s", listen=["127.0.0.1:8080"]) + pool("s", echo.addresses),
                          max_connections=100))
    address = "127.0.0.1:8080"
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40003\n")
    change(daemon, "drain backend s b")
    kept = [start(client(address, number)) for number in range(4)]
    assert client(address, 10) is None
    wait_for(lambda: counts(daemon.service("s")) == {"source_ports": 1}, what="a refusal")
    assert daemon.backend("s", "a")["connect_failures"] == 0
    wait_for(lambda: "no port was left to connect to backend a from" in daemon.log(),
             what="a warning")

    # Another backend is another destination: its ports are free.
    change(daemon, "ready backend s b")
    change(daemon, "set backend s a weight=65535")  # so that a is tried first all the same
    kept += [start(client(address, 20 + number)) for number in range(4)]
    assert client(address, 30) is None
    assert daemon.backend("s", "b")["connections_active"] == 4
    assert daemon.backend("s", "a")["source_ports_out"] >= 4
    wait_for(lambda: counts(daemon.service("s")) == {"source_ports": 2}, what="another refusal")
    for sock in kept:
        sock.sendall(b"still there")
        assert sock.recv(100) == b"still there"
        sock.close()
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="every session to end")

    def again():
        sock = client(address, 40 + next(numbers))
        if sock:
            sock.close()
        return sock
    numbers = iter(range(5000))
    wait_for(again, what="ports to be free again")
    assert daemon.check_accounts("s")["refused_by"]["source_ports"] >= 2


def test_backend_port_among_our_own(start):
    """Where nobody listens, a connect to a local port can meet itself: that is no backend that
    echoes, and must not keep the port from the backend that is about to come back."""
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40003\n")
    dead = [f"127.0.0.1:{port}" for port in range(40000, 40004)]
    daemon = start(Daemon(service("s", listen=["127.0.0.1:8080"]) + pool("s", dead)))
    socks = [client("127.0.0.1:8080", number) for number in range(20)]
    for sock in filter(None, socks):
        sock.close()
    assert socks == [None] * 20, f"{20 - socks.count(None)} of 20 clients talked to themselves"
    assert counts(daemon.check_accounts("s")) == {"connect_failed": 20}


# --- rejected and dropped ---

@pytest.mark.parametrize("verdict,error", [
    ("reject with tcp reset", "Connection refused"),
    ("reject with icmp type host-unreachable", "No route to host"),
    ("reject with icmp type net-unreachable", "Network is unreachable"),
    ("reject with icmp type admin-prohibited", "No route to host"),
    ("drop", "Connection timed out"),
])
def test_backend_behind_a_firewall(start, verdict, error):
    """The next one is tried; once the rule is gone, so is the trouble."""
    echo = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses, scheduler="rr",
                                              connect_timeout="300ms")))
    nft(f"tcp dport {port_of(echo.addresses[0])} {verdict}")
    for _ in range(4):
        assert echoes(daemon.address("s"))
    a = daemon.backend("s", "a")
    assert a["connect_failures"] == a["retries"] >= 1 and a["connections_total"] == 0
    assert f'error="{error}"' in daemon.log()
    nft_clear()
    for _ in range(4):
        assert echoes(daemon.address("s"))
    assert daemon.backend("s", "a")["connections_total"] >= 1
    assert set(counts(daemon.check_accounts("s"))) == {"client_fin"}


@pytest.mark.parametrize("verdict,reason", [("drop", "no answer|timed? ?out"),
                                            ("reject with tcp reset", "refused|reset")])
def test_checks_see_it(start, verdict, reason):
    echo = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses, checks={
        "tcp": {"interval": "100ms", "timeout": "200ms"}})))
    wait_for(lambda: daemon.backend("s", "a")["state"] == "up", what="the first result")
    nft(f"tcp dport {port_of(echo.addresses[0])} {verdict}")
    row = wait_for(lambda: (row := daemon.backend("s", "a"))["state"] == "down" and row,
                   what="down")
    assert re.search(reason, row["reason"]), row["reason"]
    nft_clear()
    wait_for(lambda: daemon.backend("s", "a")["state"] == "up", what="up again")
    assert echoes(daemon.address("s"))


# --- packets vanish ---

def test_client_vanishes_mid_stream(start):
    """Bytes to it stay unacknowledged: user_timeout ends the session, the backend sees a reset."""
    origin = start(Origin("chargen", options=("--send", "10g")))
    daemon = start(Daemon(service("s", user_timeout="700ms") + pool("s", origin.addresses)))
    sock = start(connect(daemon.address("s")))
    assert sock.recv(1000)
    reading = Worker(is_reset, sock)  # so that it is not its window that stops the stream
    nft(f"tcp dport {sock.getsockname()[1]} drop")
    row = daemon.check_accounts("s")
    assert counts(row) == {"client_timeout": 1}
    wait_for(lambda: origin.stats()["active"] == 0, what="the backend to be told")
    nft_clear()
    sock.shutdown(socket.SHUT_RDWR)
    reading.result()


def test_backend_vanishes_mid_stream(start):
    """And the client sees a reset."""
    echo = start(Origin("discard"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses, user_timeout="700ms")))
    sock = start(connect(daemon.address("s")))
    sock.sendall(b"hello")
    wait_for(lambda: daemon.service("s")["bytes_in"] == 5, what="the first bytes")
    nft(f"tcp dport {port_of(echo.addresses[0])} drop")
    sock.sendall(b"into the void")
    began = time.monotonic()
    assert is_reset(sock)
    assert time.monotonic() - began < 20  # by the kernel's own patience it would take minutes
    assert counts(daemon.check_accounts("s")) == {"backend_timeout": 1}


@pytest.mark.parametrize("leg", ["client", "backend"])
def test_idle_peer_vanishes(start, leg):
    """Nothing is sent and nothing comes: keepalive finds out."""
    echo = start(Origin("echo"))
    options = {"keepalive": "1s", "user_timeout": "1s"}
    daemon = start(Daemon(service("s", **(options if leg == "client" else {}))
                          + pool("s", echo.addresses, **(options if leg == "backend" else {}))))
    sock = start(open_session(daemon.address("s")))
    gone = sock.getsockname()[1] if leg == "client" else port_of(echo.addresses[0])
    nft(f"tcp dport {gone} drop")
    assert counts(daemon.check_accounts("s")) == {f"{leg}_timeout": 1}
    if leg == "backend":
        assert is_reset(sock)
    else:
        wait_for(lambda: echo.stats()["active"] == 0, what="the backend to be told")


def test_silence_that_is_alive(start):
    """Where keepalive is answered, an idle session stays."""
    echo = start(Origin("echo"))
    options = {"keepalive": "1s", "user_timeout": "1s"}
    daemon = start(Daemon(service("s", **options) + pool("s", echo.addresses, **options)))
    sock = start(open_session(daemon.address("s")))
    with pytest.raises(TimeoutError):
        sock.settimeout(5)
        sock.recv(1)
    sock.sendall(b"still there")
    assert sock.recv(100) == b"still there"


def test_loss(start):
    """One packet of ten is lost both ways: slower, but every byte arrives."""
    echo = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses)))
    sock = start(connect(daemon.address("s")))
    nft(f"tcp dport {port_of(echo.addresses[0])} numgen random mod 100 < 10 drop",
        f"tcp sport {port_of(echo.addresses[0])} numgen random mod 100 < 10 drop")
    words = os.urandom(300000)

    def send():
        sock.sendall(words)
        sock.shutdown(socket.SHUT_WR)
    sender = Worker(send)
    with sock.makefile("rb") as stream:
        assert stream.read() == words
    sender.result()
    nft_clear()
    row = daemon.check_accounts("s")
    assert counts(row) == {"client_fin": 1}
    assert (row["bytes_in"], row["bytes_out"]) == (len(words), len(words))
