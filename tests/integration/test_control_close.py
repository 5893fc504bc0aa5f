"""Sessions closed by command: which, over which time, and who says and counts it."""

import contextlib
import datetime
import json
import os
import re
import signal
import socket
import statistics

import pytest

from choosing import Client
from peers import Worker
from sluice import WAIT, CtlError, Daemon, Load, Origin, connect, pool, service, wait_for


@pytest.fixture
def daemon(start):
    origin = start(Origin("echo", "echo"))
    return start(Daemon(service("s") + pool("s", {"a": origin.addresses[0]})
                        + service("t") + pool("t", {"b": origin.addresses[1]})))


def echo(start, daemon, name, count=1):
    """So many sessions of a service, each of which has been served."""
    socks = [start(connect(daemon.address(name))) for _ in range(count)]
    for sock in socks:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    return socks


def lives(sock):
    try:
        sock.sendall(b"more")
        return sock.recv(100) == b"more"
    except ConnectionError:
        return False


def ended_by(daemon, name="s"):
    return {reason: n for reason, n in daemon.service(name)["ended_by"].items() if n}


def rows(daemon, words=""):
    return daemon.ctl_json(f"show sessions limit=100000 {words}")["sessions"]


def test_one_session(start, daemon):
    socks = echo(start, daemon, "s", 3)
    client = "%s:%d" % socks[1].getsockname()
    number, = [row["id"] for row in rows(daemon) if row["client"] == client]
    reply = daemon.ctl_json(f"close session {number} why=stuck")
    assert reply["sessions"] == 1 and reply["warnings"] == []
    assert reply["generation"] == daemon.ctl_json("show info")["generation"]
    line, = reply["changes"]
    assert line.startswith(f"session {number}: closing 1 session at once, until ")
    assert socks[1].recv(1) == b""  # in an orderly way
    assert lives(socks[0]) and lives(socks[2])
    assert ended_by(daemon) == {"operator": 1}
    event = daemon.ctl_json("show events")["events"][-1]
    assert (event["kind"], event["text"], event["why"]) == ("admin", line, "stuck")
    assert event["by"].startswith("uid ")
    assert line in daemon.log()
    with pytest.raises(CtlError, match=f"there is no session {number}; show sessions lists them"):
        daemon.ctl(f"close session {number}")
    event = daemon.ctl_json("show events")["events"][-1]
    assert event["kind"] == "refused" and f"close session {number}" in event["text"]


def test_only_what_matches(start, daemon):
    on_s, on_t = echo(start, daemon, "s", 3), echo(start, daemon, "t", 2)
    assert daemon.ctl_json("close sessions client=10.0.0.0/8")["sessions"] == 0
    text = daemon.ctl("close sessions backend=s/a client=10.0.0.0/8")
    assert text == "no session matches; nothing is closed\n"
    text = daemon.ctl("close sessions backend=s/a client=127.0.0.0/8")
    assert text.startswith("pool s, backend a, clients in 127.0.0.0/8: closing 3 sessions at once, "
                           "until ")
    assert [sock.recv(1) for sock in on_s] == [b""] * 3
    assert all(lives(sock) for sock in on_t)
    assert ended_by(daemon) == {"operator": 3} and ended_by(daemon, "t") == {}
    event = daemon.ctl_json("show events backend=s/a")["events"][-1]
    assert event["text"] == text.rstrip("\n")
    assert daemon.ctl_json("close sessions client=127.0.0.0/8")["sessions"] == 2
    assert [sock.recv(1) for sock in on_t] == [b""] * 2
    daemon.check_accounts("s")
    daemon.check_accounts("t")


def test_without_a_filter(start, daemon):
    sock, = echo(start, daemon, "s")
    for words in "close sessions", "close sessions over=1m", "close sessions why=x":
        with pytest.raises(CtlError, match="all would be closed; usage: .*backend=POOL/NAME"):
            daemon.ctl(words)
    assert lives(sock) and ended_by(daemon) == {}


def ends(daemon):
    """When sessions were closed by command, in seconds of the daemon's own clock."""
    found = re.findall(r"^time=(\S+)Z .*msg=\"session ended\" .*ended_by=operator", daemon.log(),
                       re.MULTILINE)
    return [datetime.datetime.fromisoformat(text + "+00:00").timestamp() for text in sorted(found)]


def test_a_thousand_evenly(start):
    """Each end has its time by the daemon's own clock: on the line to the end that was told."""
    count, seconds = 1000, 2
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s") + pool("s", {"a": origin.addresses[0]})
                          + service("t") + pool("t", {"b": origin.addresses[1]}),
                          workers=2))
    holding = start(Load("hold", daemon.address("s"), "--connections", count, "--duration", 600))
    holding.wait_output(f"^holding {count}")
    wait_for(lambda: daemon.service("s")["connections_active"] == count, what="every session")
    others = echo(start, daemon, "t", 5)
    shares = [row["connections_active"] for row in daemon.ctl_json("show workers")["workers"]]
    assert min(shares) > 100, shares  # both have a part in it
    reply = daemon.ctl_json(f"close sessions backend=s/a over={seconds}s")
    assert reply["sessions"] == count
    assert f"closing {count} sessions over 2s" in reply["changes"][0]
    late, = echo(start, daemon, "s")
    wait_for(lambda: len(ends(daemon)) == count, what="all to be closed")
    begin = reply["until_wall_ms"] / 1000 - seconds
    lags = [when - begin - number * seconds / count
            for number, when in enumerate(ends(daemon), 1)]
    assert min(lags) > -0.02, lags  # never ahead; two clocks, in milliseconds
    assert statistics.median(lags) < 0.1, lags  # wherever the machine let it run
    assert lives(late) and all(lives(sock) for sock in others)
    assert ended_by(daemon) == {"operator": count} and ended_by(daemon, "t") == {}
    assert daemon.service("s")["connections_active"] == 1


def test_the_sooner_end_wins(start, daemon):
    socks = echo(start, daemon, "s", 4)
    daemon.ctl("close sessions backend=s/a over=1h")
    reply = daemon.ctl_json("close sessions backend=s/a over=2h")
    assert reply["sessions"] == 4
    assert reply["changes"][1] == "pool s, backend a: 4 of them sooner, as an earlier command has " \
                                  "said"
    assert all(lives(sock) for sock in socks)
    reply = daemon.ctl_json("close sessions client=127.0.0.1")
    assert reply["changes"][1] == "clients in 127.0.0.1: 4 of them sooner than an earlier command " \
                                  "has said"
    assert [sock.recv(1) for sock in socks] == [b""] * 4
    daemon.check_accounts("s")


def test_a_drain_among_many_commands(start):
    """However many are under way, it keeps its deadline."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", origin.addresses), workers=1))
    clients = [start(Client(daemon.address("s"), f"127.0.0.{n}")) for n in range(2, 42)]
    assert [client.name() for client in clients] == ["hello"] * 40
    for n in range(2, 42):
        reply = daemon.ctl_json(f"close sessions client=127.0.0.{n} over=1h")
        assert reply["sessions"] == 1 and reply["warnings"] == []
    assert [client.again() for client in clients] == ["again"] * 40
    daemon.ctl("drain backend s a within=500ms force")
    wait_for(lambda: daemon.service("s")["connections_active"] == 0, what="the deadline")
    assert ended_by(daemon) == {"backend_drained": 40}


def test_maintenance_of_many_pools(start):
    """Each of them closes its sessions in time."""
    origin = start(Origin("echo"))
    names = [f"p{n}" for n in range(20)]
    daemon = start(Daemon("".join(service(name) + pool(name, {"x": origin.addresses[0]})
                                  for name in names), workers=1))
    socks = [echo(start, daemon, name)[0] for name in names]
    reply = daemon.ctl_json("maintain backend * x close=true within=2s force")
    assert reply["warnings"] == []
    assert [line.split(", until")[0] for line in reply["changes"][20:]] == [
        f"pool {name}, backend x: closing 1 session over 2s" for name in names]
    assert [sock.recv(1) for sock in socks] == [b""] * 20
    assert [ended_by(daemon, name) for name in names] == [{"operator": 1}] * 20


def test_a_worker_that_does_not_answer(start, daemon):
    """The reply comes all the same, and who does answer closes its own."""
    socks = echo(start, daemon, "s", 8)
    table = daemon.ctl_json("show workers")["workers"]
    stuck = max(table, key=lambda row: row["connections_active"])
    os.kill(stuck["pid"], signal.SIGSTOP)
    daemon.killed.add(stuck["pid"])  # whenever master gets tired of it
    try:
        value = json.loads(Worker(daemon.ctl, "close sessions backend=s/a json").result())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stuck["pid"], signal.SIGCONT)
    told = value.get("error") or "".join(row["text"] for row in value["warnings"])
    if "1 worker did not answer in time" not in told:  # it was found hanging, and ended
        assert told == "" and daemon.workers()[stuck["id"]] != stuck["pid"], value
        assert value["sessions"] == 8 - stuck["connections_active"]
    # If it lives it has the command all the same, and obeys once it goes on.
    assert not any(lives(sock) for sock in socks)


@pytest.mark.parametrize("out, back", [
    (["maintain backend s x close=true within=1h"], "ready backend s x"),
    (["maintain backend s x close=true within=1h"], "reset backend s x"),
    (["drain backend s x", "close sessions backend=s/x over=1h"], "set backend s x admin=ready"),
    (["remove backend s x", "close sessions backend=s/x over=1h"], "reset backend s x")])
def test_what_is_ready_again_keeps_its_sessions(start, out, back):
    """In all workers, at once: a later command finds none that is to be closed already."""
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s") + pool("s", dict(zip("xy", origin.addresses)),
                                              scheduler="rr"), workers=2))
    socks = echo(start, daemon, "s", 12)
    for words in out:
        daemon.ctl(words)
    reply = daemon.ctl_json("close sessions client=127.0.0.0/8 over=2h")
    assert "6 of them sooner, as an earlier command has said" in reply["changes"][1]
    daemon.ctl(back)
    reply = daemon.ctl_json("close sessions client=127.0.0.0/8 over=1h")
    assert "6 of them sooner than an earlier command has said" in reply["changes"][1]
    assert all(lives(sock) for sock in socks)


def asked(start, server):
    """The next connection that comes there, with a request."""
    server.settimeout(WAIT)
    peer = start(server.accept()[0])
    peer.settimeout(WAIT)
    assert peer.recv(1000).startswith(b"GET /bytes/1 ")
    return peer


@pytest.mark.parametrize("then", ["it goes on", "it comes back"])
def test_a_request_that_was_under_way(start, then):
    """Once it is answered its client has left the backend that is to lose its sessions, and may
    come back when that is ready."""
    origin = start(Origin("http"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        backends = {"x": "%s:%d" % server.getsockname(),
                    "y": {"address": origin.addresses[0], "admin": "maintenance"}}
        daemon = start(Daemon(service("s") + pool("s", backends, reuse={
            "mode": "request", "framing": "http1"}), workers=1))
        sock = start(connect(daemon.address("s")))
        request = b"GET /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(request)
        peer = asked(start, server)
        daemon.ctl("ready backend s y")
        reply = daemon.ctl_json("maintain backend s x close=true within=1h")
        assert "closing 1 session over 1h" in reply["changes"][1]
        again = "close sessions client=127.0.0.0/8 over=2h"
        assert "1 of them sooner, as an earlier" in daemon.ctl_json(again)["changes"][1]
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        assert sock.recv(1000).endswith(b"\r\n\r\nx")
        if then == "it comes back":
            daemon.ctl("ready backend s x")
            daemon.ctl("maintain backend s y")
        sock.sendall(request)
        if then == "it comes back":
            asked(start, server)
        else:
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        reply = daemon.ctl_json(again)
        assert reply["sessions"] == 1 and len(reply["changes"]) == 1


def test_maintenance_that_closes(start):
    """Both pools' backends of that name; who comes back meanwhile gets another one."""
    origin = start(Origin("echo", "echo", "echo"))
    a, b, c = origin.addresses
    daemon = start(Daemon(service("s") + pool("s", {"x": a, "y": c}, scheduler="rr")
                          + service("t") + pool("t", {"x": b, "y": c}, scheduler="rr")))
    socks = {name: echo(start, daemon, name, 6) for name in "st"}
    on_x = {name: len(rows(daemon, f"backend={name}/x")) for name in "st"}
    assert min(on_x.values()) > 0
    reply = daemon.ctl_json("maintain backend * x close=true within=100ms why=disk")
    assert [line.split(", until")[0] for line in reply["changes"]] == [
        "pool s: backend x: admin ready -> maintenance",
        "pool t: backend x: admin ready -> maintenance",
        f"pool s, backend x: closing {on_x['s']} sessions over 100ms",
        f"pool t, backend x: closing {on_x['t']} sessions over 100ms"]
    wait_for(lambda: rows(daemon, "backend=s/x") + rows(daemon, "backend=t/x") == [])
    for name in "st":
        assert ended_by(daemon, name) == {"operator": on_x[name]}
        assert sum(lives(sock) for sock in socks[name]) == 6 - on_x[name]
        assert daemon.backend(name, "x")["state"] == "maintenance"
        event = daemon.ctl_json(f"show events backend={name}/x")["events"][-1]
        assert "closing" in event["text"] and event["why"] == "disk"
