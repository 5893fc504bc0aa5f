"""No backend, or none at the first try: retries that clients do not see, limits, refusals."""

import contextlib
import os
import select
import socket
import struct
import time

import pytest

import sluice
from peers import Worker
from sluice import Daemon, Origin, Port, amount, connect, descriptors, pool, service, wait_for

QUICK_CHECK = {"interval": "100ms", "rise": 1, "fall": 1}


def refused_by(daemon, name="s"):
    """Refusals that were counted, once all is at rest."""
    row = daemon.check_accounts(name)
    return {reason: count for reason, count in row["refused_by"].items() if count}


def is_refused(address):
    """Whether a new client is reset, without an end or a byte; a fast reset overtakes connect."""
    try:
        with connect(address) as sock:
            data = sock.recv(100)
    except ConnectionResetError:
        return True
    assert data == b"", data
    return False


def open_session(address, word=b"hello"):
    """A client that is served, or None when it is reset."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(connect(address))
            sock.sendall(word)
            good = sock.recv(100) == word
        except (ConnectionResetError, BrokenPipeError):
            return None
        assert good, "an end instead of a reset"
        stack.pop_all()
        return sock


def echoes(address):
    sock = open_session(address)
    if sock:
        sock.close()
    return sock is not None


@pytest.fixture
def echo(start):
    return start(Origin("echo"))


class FullBacklog:
    """A listening socket that takes no more connections, and never accepts those it has."""

    def __init__(self, path=None):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if path:
            self.listener.bind(str(path))
            os.chmod(path, 0o777)
            self.address = f"unix:{path}"
        else:
            self.listener.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.listener.listen(0)
        self.socks = []
        target = str(path) if path else self.listener.getsockname()
        full = False
        while not full:
            sock = socket.socket(self.listener.family)
            sock.setblocking(False)
            self.socks.append(sock)
            try:
                sock.connect(target)
            except BlockingIOError:
                # TCP: it may only not be answered yet; Unix: it is full
                full = path or not select.select([], [sock], [], 0.3)[1]

    def make_room(self):
        """Accepts and closes all that wait."""
        self.listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for sock in self.socks:
            sock.close()


# --- connect fails ---

@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_refused_is_retried_unseen(start, echo, host):
    dead = start(Port(host))
    daemon = start(Daemon(service("s") + pool("s", [dead.address, echo.addresses[0]],
                                              scheduler="rr")))
    n = amount(100, 20)
    for _ in range(n):
        assert echoes(daemon.address("s"))
    row = daemon.check_accounts("s")
    assert row["connections_refused"] == 0 and row["connections_total"] == n
    a, b = daemon.backend("s", "a"), daemon.backend("s", "b")
    assert a["connect_failures"] == a["retries"] > 0 and a["connections_total"] == 0
    assert b["connect_failures"] == b["retries"] == 0 and b["connections_total"] == n
    assert a["connections_active"] == b["connections_active"] == 0
    assert (row["bytes_in"], row["bytes_out"]) == (5 * n, 5 * n)
    assert 'msg="connect to backend failed"' in daemon.log()


def test_unix_path_that_is_missing_is_retried(start, echo, folder):
    daemon = start(Daemon(service("s") + pool("s", [f"unix:{folder}/nobody.sock",
                                                    echo.addresses[0]], scheduler="rr")))
    for _ in range(4):
        assert echoes(daemon.address("s"))
    assert daemon.backend("s", "a")["connect_failures"] >= 1
    assert refused_by(daemon) == {}


@pytest.mark.parametrize("retries,dead", [(0, 3), (2, 5), (10, 3)])
def test_all_refused(start, retries, dead):
    """No more tries than allowed, each elsewhere, and then a reset."""
    ports = [start(Port()) for _ in range(dead)]
    daemon = start(Daemon(service("s") + pool("s", [port.address for port in ports],
                                              retries=retries)))
    assert is_refused(daemon.address("s"))
    assert refused_by(daemon) == {"connect_failed": 1}
    backends = daemon.stats()["pools"][0]["backends"]
    failures = [backend["connect_failures"] for backend in backends]
    assert sum(failures) == min(retries + 1, dead) and max(failures) == 1
    assert all(backend["connections_active"] == 0 for backend in backends)


def test_retries_are_bounded(start, echo):
    """With fewer retries than dead backends some clients fail, and the counters say which."""
    ports = [start(Port()) for _ in range(3)]
    daemon = start(Daemon(service("s") + pool(
        "s", [*(port.address for port in ports), echo.addresses[0]], scheduler="rr", retries=1),
        workers=1))
    results = [echoes(daemon.address("s")) for _ in range(20)]
    assert set(results) == {True, False}
    assert refused_by(daemon) == {"connect_failed": results.count(False)}


def test_client_bytes_sent_early_survive_retries(start, echo):
    """What the client has sent before any backend was connected reaches the one that is."""
    dead = [start(Port()) for _ in range(3)]
    daemon = start(Daemon(service("s") + pool(
        "s", [*(port.address for port in dead), echo.addresses[0]], scheduler="rr")))
    words = os.urandom(100000)
    for _ in range(8):
        with connect(daemon.address("s")) as sock:
            sock.sendall(words)
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as stream:
                assert stream.read() == words
    assert sum(row["connect_failures"] for row in daemon.stats()["pools"][0]["backends"]) > 0
    assert refused_by(daemon) == {}


def test_no_retry_once_bytes_were_consumed(start, echo):
    """A backend that resets after the client's first bytes ends the session; another must not get
    the rest of them."""
    origin = start(Origin("reset"))
    daemon = start(Daemon(service("s") + pool("s", {
        "a": origin.addresses[0], "b": {"address": echo.addresses[0], "weight": 0}})))
    assert open_session(daemon.address("s")) is None
    row = daemon.check_accounts("s")
    assert row["ended_by"]["backend_reset"] == 1
    assert daemon.backend("s", "a")["retries"] == 0
    assert echo.stats()["total"] == 0


def test_connect_timeout_then_another(start, echo):
    """A backend whose queue is full does not answer: after connect_timeout another one is tried."""
    full = start(FullBacklog())
    daemon = start(Daemon(service("s") + pool("s", [full.address, echo.addresses[0]],
                                              scheduler="rr", connect_timeout="200ms")))
    for _ in range(4):
        assert echoes(daemon.address("s"))
    a = daemon.backend("s", "a")
    assert a["connect_failures"] == a["retries"] >= 1 and a["connections_active"] == 0
    assert refused_by(daemon) == {}
    assert 'error="Connection timed out"' in daemon.log()


def test_connect_timeout_of_the_only_one(start):
    full = start(FullBacklog())
    daemon = start(Daemon(service("s") + pool("s", [full.address], connect_timeout="300ms")))
    began = time.monotonic()
    assert is_refused(daemon.address("s"))
    assert time.monotonic() - began > 0.28
    assert refused_by(daemon) == {"connect_failed": 1}
    assert daemon.backend("s", "a")["connect_failures"] == 1


def test_client_that_leaves_while_connecting(start):
    """Its place in the backend is given back."""
    full = start(FullBacklog())
    daemon = start(Daemon(service("s") + pool("s", [full.address], connect_timeout="500ms")))
    with connect(daemon.address("s")):
        wait_for(lambda: daemon.backend("s", "a")["connections_active"] == 1, what="the try")
    row = daemon.check_accounts("s")
    assert row["connections_total"] == row["connections_refused"] == 1
    assert daemon.backend("s", "a")["connections_active"] == 0


def test_client_that_resets_while_connecting(start):
    """Nothing is tried elsewhere for somebody who is gone, and the refusal says why."""
    full = [start(FullBacklog()), start(FullBacklog())]
    daemon = start(Daemon(service("s") + pool("s", [backend.address for backend in full],
                                              connect_timeout="500ms")))
    sock = start(connect(daemon.address("s")))
    def tries():
        return sum(row["connections_active"] for row in daemon.stats()["pools"][0]["backends"])
    wait_for(lambda: tries() == 1, what="the try")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert refused_by(daemon) == {"client_gone": 1}
    backends = daemon.stats()["pools"][0]["backends"]
    assert sum(row["connect_failures"] for row in backends) <= 1, backends


# --- a Unix socket with a full backlog ---

def test_unix_backlog_full_another_serves(start, echo, folder):
    full = start(FullBacklog(folder / "full.sock"))
    daemon = start(Daemon(service("s") + pool("s", [full.address, echo.addresses[0]],
                                              scheduler="rr")))
    for _ in range(4):
        assert echoes(daemon.address("s"))
    a = daemon.backend("s", "a")
    assert a["connect_failures"] >= 1 and a["connections_active"] == 0
    assert refused_by(daemon) == {}


def test_unix_backlog_full_for_good(start, folder):
    """It is tried again by timer, without spinning, and gives up."""
    full = start(FullBacklog(folder / "full.sock"))
    daemon = start(Daemon(service("s") + pool("s", [full.address])))
    assert is_refused(daemon.address("s"))
    assert refused_by(daemon) == {"connect_failed": 1}
    assert 2 <= daemon.backend("s", "a")["connect_failures"] <= 4


def test_unix_backlog_full_for_a_moment(start, folder):
    full = start(FullBacklog(folder / "full.sock"))
    daemon = start(Daemon(service("s") + pool("s", [full.address], retries=10), workers=1))
    with connect(daemon.address("s")) as sock:
        wait_for(lambda: daemon.backend("s", "a")["connect_failures"] >= 1, what="the first try")
        full.make_room()
        wait_for(lambda: daemon.backend("s", "a")["connections_total"] == 1, what="the second try")
        sock.close()
    full.__exit__()
    assert refused_by(daemon) == {}


# --- nobody eligible ---

@pytest.mark.parametrize("option,value", [("weight", 0), ("admin", "drain"),
                                          ("admin", "maintenance")])
def test_nobody_is_eligible(start, echo, option, value):
    daemon = start(Daemon(service("s") + pool("s", {"a": {"address": echo.addresses[0],
                                                          option: value}})))
    assert is_refused(daemon.address("s"))
    assert refused_by(daemon) == {"no_backend": 1}
    assert echo.stats()["total"] == 0


def test_everybody_is_down(start):
    port = start(Port())
    daemon = start(Daemon(service("s") + pool("s", [port.address], checks={"tcp": QUICK_CHECK})))
    wait_for(lambda: daemon.backend("s", "a")["state"] == "down", what="the first result")
    assert is_refused(daemon.address("s"))
    assert refused_by(daemon) == {"no_backend": 1}
    assert daemon.backend("s", "a")["connect_failures"] == 0


# --- limits ---

def concurrent_clients(address, count):
    """Opens so many from twenty threads; returns the sockets that echo, and how many were reset."""
    def clients():
        return [open_session(address) for _ in range(count // 20)]
    socks = [sock for worker in [Worker(clients) for _ in range(20)] for sock in worker.result()]
    served = [sock for sock in socks if sock]
    assert len(socks) == count
    return served, count - len(served)


@pytest.mark.parametrize("scheduler", ["wlc", "rr"])
def test_full_backends(start, scheduler):
    """Never more than max_connections at a backend, however many workers reserve at once."""
    echo = start(Origin("echo", "echo"))
    limits, count = (10, 7), amount(200, 100)
    daemon = start(Daemon(service("s") + pool("s", {
        name: {"address": address, "max_connections": most}
        for name, address, most in zip("ab", echo.addresses, limits)}, scheduler=scheduler),
        workers=4))
    for _ in range(2):  # places that were given back are there again
        served, resets = concurrent_clients(daemon.address("s"), count)
        with contextlib.ExitStack() as stack:
            for sock in served:
                stack.enter_context(sock)
            assert (len(served), resets) == (sum(limits), count - sum(limits))
            for name, most in zip("ab", limits):
                row = daemon.backend("s", name)
                assert row["state"] == "full" and row["connections_active"] == most
                assert row["connections_peak"] == most
        daemon.check_accounts("s")
    assert refused_by(daemon) == {"full": 2 * (count - sum(limits))}
    assert [echo.stats(nth)["peak"] for nth in range(2)] == list(limits)
    assert daemon.backend("s", "a")["state"] == "up"


def test_service_limit(start, echo):
    daemon = start(Daemon(service("s", max_connections=5) + service("t", pool="s")
                          + pool("s", echo.addresses), workers=4))
    served, resets = concurrent_clients(daemon.address("s"), 60)
    with contextlib.ExitStack() as stack:
        for sock in served:
            stack.enter_context(sock)
        assert (len(served), resets) == (5, 55)
        assert daemon.service("s")["connections_peak"] == 5
        assert echoes(daemon.address("t"))  # another service is not concerned
    assert refused_by(daemon) == {"service_limit": 55}
    assert echoes(daemon.address("s"))
    assert echo.stats()["total"] == 5 + 2


def test_daemon_limit(start, echo):
    daemon = start(Daemon(service("s") + service("t", pool="s") + pool("s", echo.addresses),
                          workers=4, max_connections=6))
    assert daemon.stats()["connections_limit"] == 6
    served, resets = concurrent_clients(daemon.address("s"), 60)
    with contextlib.ExitStack() as stack:
        for sock in served:
            stack.enter_context(sock)
        assert (len(served), resets) == (6, 54)
        assert daemon.stats()["connections_peak"] == 6
        assert not echoes(daemon.address("t"))
    assert refused_by(daemon, "s") == {"daemon_limit": 54}
    assert refused_by(daemon, "t") == {"daemon_limit": 1}
    assert echoes(daemon.address("s"))


def test_limit_that_is_lowered_under_load(start, echo):
    """Sessions that are there stay; new ones wait for the number to fall."""
    def config(most):
        return service("s", max_connections=most) + pool("s", echo.addresses)
    daemon = start(Daemon(config(10)))
    address = daemon.address("s")
    with contextlib.ExitStack() as stack:
        served, _ = concurrent_clients(address, 20)
        for sock in served:
            stack.enter_context(sock)
        assert len(served) == 10
        daemon.reload(config(3))
        assert not echoes(address)
        for sock in served:
            sock.sendall(b"still")
            assert sock.recv(100) == b"still"
        for sock in served[3:]:
            sock.close()
        wait_for(lambda: daemon.service("s")["connections_active"] == 3, what="seven to end")
        assert not echoes(address)
        served[0].close()
        wait_for(lambda: daemon.service("s")["connections_active"] == 2, what="one more to end")
        assert echoes(address)
    refused_by(daemon)


# --- descriptors run out ---

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("limit", [80, 81])
def test_worker_out_of_descriptors(start, echo, limited, limit):
    """Some clients are reset and counted; established sessions go on, nothing spins, it recovers.

    With one of the limits accepting fails, with the other the one descriptor that is left over is
    enough to accept, and what fails is the socket towards the backend.
    """
    limited(limit)
    daemon = start(Daemon(service("s") + pool("s", echo.addresses), workers=1,
                          max_connections=9000))
    address, pid = daemon.address("s"), daemon.workers()[0]
    free = limit - descriptors(pid)
    with contextlib.ExitStack() as stack:
        kept = []
        while (sock := open_session(address)) and len(kept) < 100:
            kept.append(stack.enter_context(sock))
        assert len(kept) == free // 2

        count = amount(30, 10)
        before, began = cpu_seconds(pid), time.monotonic()
        assert all([is_refused(address) for _ in range(count)])
        used, took = cpu_seconds(pid) - before, time.monotonic() - began
        # At most 20 pauses a second, each with a handful of calls; generous for sanitizers.
        assert used < 0.3 * took + 0.2, f"{used} s of processor time in {took} s"
        assert daemon.service("s")["refused_by"]["descriptors"] == count + 1
        at_accept = daemon.ctl_json("show workers")["workers"][0]["accept_errors"] > 0
        assert at_accept == (free % 2 == 0) == ('msg="cannot accept"' in daemon.log())
        for sock in kept:
            sock.sendall(b"still there")
            assert sock.recv(100) == b"still there"

        for sock in kept[:4]:
            sock.close()
        wait_for(lambda: daemon.stats()["connections_active"] == len(kept) - 4, what="four to end")
        assert all([echoes(address) for _ in range(20)])
    assert refused_by(daemon) == {"descriptors": count + 1}
    assert daemon.workers() == [pid]


@pytest.mark.parametrize("workers", [1, 2])
def test_started_under_a_small_limit(start, echo, limited, workers):
    """The automatic limit of connections knows the descriptors: refusals, not trouble.

    The kernel deals clients out to the workers without knowing how full they are: of two, one may
    run out of descriptors before both together have reached the daemon's limit.
    """
    limited(140)
    daemon = start(Daemon(service("s") + pool("s", echo.addresses), workers=workers))
    limit = daemon.stats()["connections_limit"]
    assert 10 <= limit < 70 * workers
    served, resets = concurrent_clients(daemon.address("s"), 200)
    with contextlib.ExitStack() as stack:
        for sock in served:
            stack.enter_context(sock)
        if workers == 1:
            assert len(served) == limit
        else:
            assert limit // 2 <= len(served) <= limit
    refusals = refused_by(daemon)
    assert sum(refusals.values()) == resets
    assert refusals.keys() <= {"daemon_limit", *(["descriptors"] if workers > 1 else [])}
    assert echoes(daemon.address("s"))


# --- who speaks first ---

def test_backend_that_speaks_first(start):
    """A greeting must not wait for something to carry the handshake's last acknowledgement."""
    origin = start(Origin("chargen", options=("--send", "10")))
    daemon = start(Daemon(service("s") + pool("s", origin.addresses)))
    took = []
    for _ in range(10):
        began = time.monotonic()
        with connect(daemon.address("s")) as sock:
            assert len(sock.recv(10)) == 10
        took.append(time.monotonic() - began)
    # The kernel would let it wait for 40 to 200 ms, each time; a busy machine not each time.
    assert min(took) < 0.03, took
