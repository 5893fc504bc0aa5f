"""Pools that are paused: new sessions wait, and nobody sees an error."""

import pytest

from peers import Worker
from sluice import Daemon, Origin, connect, pool, run, service, wait_for
from software import Postgres


@pytest.fixture
def origin(start):
    return start(Origin("echo", "echo", names=list("ab")))


def queued(daemon):
    return shown(daemon)["queued"]


def shown(daemon):
    return daemon.ctl_json("show pools")["pools"][0]


def echo(start, daemon, count=1):
    socks = [start(connect(daemon.address("s"))) for _ in range(count)]
    for sock in socks:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    return socks


def held(start, daemon, count):
    """So many clients who wait."""
    before = queued(daemon)
    socks = [start(connect(daemon.address("s"))) for _ in range(count)]
    for sock in socks:
        sock.sendall(b"hello")
    wait_for(lambda: queued(daemon) == before + count, what="clients to wait")
    return socks


def test_new_sessions_wait(start, origin):
    """Without a queue, and longer than its time-out; those that are connected go on."""
    text = service("s") + pool("s", {"a": {"address": origin.addresses[0], "max_connections": 5}},
                               queue_timeout="500ms")
    daemon = start(Daemon(text))
    old, = echo(start, daemon)
    reply = daemon.ctl_json("pause pool s why=switchover")
    assert reply["changes"] == ["pool s: paused false -> true"]
    row, = reply["overrides"]
    assert (row["option"], row["value"], row["why"]) == ("paused", "true", "switchover")
    socks = held(start, daemon, 4)
    row = shown(daemon)
    assert row["paused"] and row["paused_by"].startswith("uid ") and row["queued"] == 4
    assert "waits until it is resumed" in daemon.ctl("explain s 127.0.0.1")
    leaver = start(connect(daemon.address("s")))
    wait_for(lambda: queued(daemon) == 5, what="one more")
    leaver.close()
    wait_for(lambda: queued(daemon) == 4, what="who leaves to be let go")
    daemon.reload(text + pool("other", {"x": origin.addresses[1]}))
    old.sendall(b"on")
    assert old.recv(10) == b"on" and queued(daemon) == 4 and shown(daemon)["paused"]
    wait_for(lambda: shown(daemon)["paused_seconds"] >= 1, what="longer than queue_timeout")
    assert daemon.ctl_json("resume pool s")["overrides"] == []
    assert [sock.recv(10) for sock in socks] == [b"hello"] * 4
    refused = daemon.service("s")["refused_by"]
    assert {reason: n for reason, n in refused.items() if n} == {"client_gone": 1}
    assert not shown(daemon)["paused"]
    for sock in old, *socks:
        sock.close()
    daemon.check_accounts("s")


def test_who_was_held_waits_on_for_a_place(start, origin):
    """More than the backend may have, in a pool without a queue: queue_timeout begins then."""
    daemon = start(Daemon(service("s") + pool(
        "s", {"a": {"address": origin.addresses[0], "max_connections": 1,
                    "resume_connections": 1}}, queue_timeout="30s")))
    daemon.ctl("pause pool s")
    socks = held(start, daemon, 6)
    daemon.ctl("resume pool s")
    served = 0
    while socks:
        wait_for(lambda: daemon.backend("s", "a")["connections_total"] == served + 1)
        for sock in socks:
            sock.settimeout(0.05)
            try:
                assert sock.recv(10) == b"hello"
            except TimeoutError:
                continue
            sock.close()
            socks.remove(sock)
            served += 1
            break
    assert served == 6
    daemon.check_accounts("s")


def test_nobody_waits_for_ever_after_it(start, origin):
    daemon = start(Daemon(service("s") + pool(
        "s", {"a": {"address": origin.addresses[0], "max_connections": 1}}, queue_timeout="100ms")))
    daemon.ctl("pause pool s")
    held(start, daemon, 2)
    daemon.ctl("resume pool s")
    wait_for(lambda: daemon.service("s")["refused_by"]["queue_timeout"] == 1)


def test_a_pause_for_a_time(start, origin):
    daemon = start(Daemon(service("s") + pool("s", [origin.addresses[0]])))
    daemon.ctl("pause pool s for=300ms")
    sock = start(connect(daemon.address("s")))
    sock.sendall(b"hello")
    assert sock.recv(10) == b"hello" and not shown(daemon)["paused"]


def test_a_pause_that_closes(start, origin):
    """Within its time all are gone; those who wait stay."""
    daemon = start(Daemon(service("s") + pool("s", dict(zip("ab", origin.addresses)))))
    socks = echo(start, daemon, 6)
    reply = daemon.ctl_json("pause pool s within=300ms")
    assert len(reply["changes"]) == 3 and "sessions remain; all are closed by" in reply["changes"][1]
    waiting, = held(start, daemon, 1)
    wait_for(lambda: daemon.service("s")["connections_active"] == 1, what="the deadline")
    assert [sock.recv(1) for sock in socks] == [b""] * 6
    assert daemon.service("s")["ended_by"]["backend_drained"] == 6
    daemon.ctl("resume pool s")
    assert waiting.recv(10) == b"hello"
    for sock in waiting, *echo(start, daemon, 2):
        sock.close()
    daemon.check_accounts("s")


def test_a_pause_closes_those_of_a_removed_backend_too(start, origin):
    daemon = start(Daemon(service("s") + pool("s", dict(zip("ab", origin.addresses)))))
    socks = echo(start, daemon, 6)
    daemon.ctl("remove backend s b")
    daemon.ctl("pause pool s within=1h")
    ends = [row["closed_in_seconds"] for row in daemon.ctl_json("show backends")["backends"]]
    assert len(ends) == 2 and all(3500 < end <= 3600 for end in ends)
    daemon.ctl("resume pool s")
    ends = [row["closed_in_seconds"] for row in daemon.ctl_json("show backends")["backends"]]
    assert ends == [None, None]
    daemon.ctl("pause pool s within=200ms")
    wait_for(lambda: daemon.service("s")["connections_active"] == 0, what="the deadline")
    assert [sock.recv(1) for sock in socks] == [b""] * 6


def test_another_pool_meanwhile(start, origin):
    """A service that is sent elsewhere takes those who wait with it."""
    daemon = start(Daemon(service("s") + pool("s", [origin.addresses[0]])
                          + pool("t", [origin.addresses[1]])))
    daemon.ctl("pause pool s")
    sock, = held(start, daemon, 1)
    daemon.ctl("set service s pool=t")
    assert sock.recv(10) == b"hello" and queued(daemon) == 0


def test_requests_wait(start):
    """A client's connection stays, its next request waits."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("s") + pool("s", [origin.addresses[0]],
                                              reuse={"mode": "request", "framing": "http1"})))
    request = b"GET /bytes/4 HTTP/1.1\r\nHost: x\r\n\r\n"
    sock = start(connect(daemon.address("s")))
    sock.sendall(request)
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    daemon.ctl("pause pool s")
    sock.sendall(request)
    wait_for(lambda: queued(daemon) == 1, what="the request to wait")
    daemon.ctl("resume pool s")
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")


def test_the_file_may_say_it(start, origin):
    text = service("s") + pool("s", [origin.addresses[0]], paused=True)
    daemon = start(Daemon(text))
    sock, = held(start, daemon, 1)
    assert shown(daemon)["paused_by"] == "the file"
    assert daemon.ctl_json("resume pool s")["overrides"][0]["value"] == "false"
    assert sock.recv(10) == b"hello"


def test_a_postgresql_switchover(start):
    """pause, wait for the last session, stop the old one, start with the new one, resume: clients
    that come meanwhile see a delay."""
    old, new = start(Postgres()), start(Postgres())
    daemon = start(Daemon(service("s") + pool(
        "s", {"old": old.address, "new": {"address": new.address, "admin": "maintenance"}},
        checks={"postgresql": {"interval": "100ms", "fall": 1}})))
    host, port = daemon.address("s").split(":")

    def ask(sql):
        return run(["psql", "-h", host, "-p", port, "-U", "test", "-d", "postgres", "-tAc", sql],
                   timeout=60).stdout.strip()

    assert ask("show port") == str(old.port.number)
    daemon.ctl("pause pool s why=switchover")
    asking = [Worker(ask, "show port") for _ in range(3)]
    wait_for(lambda: queued(daemon) == 3, what="clients to wait")
    wait_for(lambda: daemon.backend("s", "old")["connections_active"] == 0)
    old.stop()
    wait_for(lambda: daemon.backend("s", "old")["health"] == "down", what="its checks")
    daemon.ctl("ready backend s new")
    wait_for(lambda: daemon.backend("s", "new")["state"] == "up", what="the new one's checks")
    daemon.ctl("resume pool s")
    assert [one.result() for one in asking] == [str(new.port.number)] * 3
    refused = daemon.service("s")["refused_by"]
    assert not any(refused.values()), refused
