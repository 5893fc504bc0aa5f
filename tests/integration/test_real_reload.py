"""Reloads under load: no request fails, no process is replaced."""

import re
import signal

import pytest

from sluice import (CtlError, Daemon, Load, Origin, Port, Process, amount, connect, load, pool,
                    service, wait_for)

RELOADS = amount(100, 20)


class Ab(Process):
    """ab until it is told to end; it gives up by itself at the first connection that fails."""

    def __init__(self, address, *words):
        super().__init__(["ab", "-t", "600", "-n", "50000000", "-c", 4, *words,
                          f"http://{address}/bytes/1000"])

    def finish(self):
        assert self.running(), self.all()
        self.signal(signal.SIGINT)
        self.wait()  # its status says only that it was interrupted
        assert re.search(r"^Failed requests: +0$", self.out(), re.M), self.all()
        assert "Non-2xx" not in self.out() and "apr_" not in self.log(), self.all()
        return int(re.search(r"^Complete requests: +(\d+)$", self.out(), re.M)[1])


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", "http", names=list("abcd")))


def test_reloads_under_load(start, origin):
    """Backends come, go and change weight; so does a second service."""
    a, b, c, d = origin.addresses
    second = start(Port())
    extra = service("extra", pool="web", listen=[second.address])
    configs = [
        service("web") + pool("web", {"a": a, "b": b}, scheduler="wrr"),
        service("web") + pool("web", {"a": {"address": a, "weight": 5}, "b": b, "c": c},
                              scheduler="wrr"),
        service("web") + extra + pool("web", {"c": c, "a": a}, scheduler="wrr"),
        service("web") + extra + pool("web", {"b": d, "d": c}, scheduler="wlc"),
        service("web") + pool("web", {"d": {"address": d, "weight": 2}, "a": a}, scheduler="rr"),
    ]
    daemon = start(Daemon(configs[0]))
    address, workers = daemon.address("web"), daemon.workers()
    clients = [start(Ab(address)), start(Ab(address, "-k")),
               start(Load("crc", address, "--duration", 600, "--connections", 4,
                          "--path", "/bytes/20000"))]
    for nth in range(1, RELOADS + 1):
        before = daemon.service("web")["connections_total"]
        reply = daemon.reload(configs[nth % len(configs)])
        assert reply["generation"] == nth + 1 and reply["changes"], reply
        if nth % len(configs) == 2:
            assert load("crc", second.address, "--requests", 4)["requests"] == 4
        assert daemon.service("web")["connections_total"] >= before
    counts = [client.finish() for client in clients[:2]]
    assert all(count > RELOADS for count in counts), counts
    assert clients[2].finish()["requests"] > RELOADS

    assert daemon.workers() == workers
    assert all(row["restarts"] == 0 for row in daemon.stats()["workers"])
    row = daemon.check_accounts("web")
    assert row["connections_refused"] == 0, row
    stats = daemon.stats()
    backends = stats["pools"][0]["backends"]
    assert all(backend["connections_active"] == 0 for backend in backends), backends


def test_reload_by_signal(start, origin):
    daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
    daemon.write(service("web") + pool("web", origin.addresses))
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: len(daemon.stats()["pools"][0]["backends"]) == 4, what="the new backends")


def test_listeners_come_and_go(start, folder, origin):
    """More often than there may be listeners at a time."""
    base = service("web") + pool("web", origin.addresses)
    paths = [f"unix:{folder}/{nth}" for nth in range(250)]
    daemon = start(Daemon(base))
    for _ in range(5):
        daemon.reload(base + service("more", pool="web", listen=paths))
        assert load("crc", paths[-1], "--requests", 4)["requests"] == 4
        daemon.reload(base)
        assert not list(folder.iterdir())
    assert load("crc", daemon.address("web"), "--requests", 4)["requests"] == 4


def test_a_long_session_outlives_its_backend(start, origin):
    """Removed by reload, a backend keeps the sessions that it has."""
    echo = start(Origin("echo"))
    daemon = start(Daemon(service("web") + pool("web", {"old": echo.addresses[0]})))
    with connect(daemon.address("web")) as sock:
        sock.sendall(b"before")
        assert sock.recv(100) == b"before"
        daemon.reload(service("web") + pool("web", {"new": origin.addresses[0]}))
        sock.sendall(b"after")
        assert sock.recv(100) == b"after"
        assert load("crc", daemon.address("web"), "--requests", 5)["origins"] == {"a": 5}
        assert daemon.service("web")["connections_active"] == 1
    daemon.check_accounts("web")


def test_a_bad_file_changes_nothing(start, origin):
    good = service("web") + pool("web", origin.addresses[:1])
    daemon = start(Daemon(good))
    before = daemon.ctl("show config")
    for bad in ("nonsense {", service("web", pool="none") + pool("web", origin.addresses), ""):
        with pytest.raises(CtlError):
            daemon.reload(bad)
        assert daemon.ctl("show config") == before
        assert load("crc", daemon.address("web"), "--requests", 5)["origins"] == {"a": 5}
    assert daemon.stats()["generation"] == 1
    assert daemon.reload(good + service("more", pool="web"))["generation"] == 2
