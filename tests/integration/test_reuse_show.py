"""What operators see of connections to backends that are kept: figures, sessions, events, and why
there is no reuse where there is none."""

import http.client
import re

import pytest

from peers import Server
from sluice import (SLUICECTL, CtlError, Daemon, Origin, connect, pool, run, service, split,
                    wait_for)
from software import Nginx, Redis

MANY = 24  # sessions: more than it takes for an event
OPENING = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"  # of a client library of Redis


def keeping(name, address, **reuse):
    """A service and its pool of one backend, "a", with such a section reuse."""
    return service(name) + pool(name, [address], reuse=reuse)


def row(daemon, name):
    """What show upstreams says of the pool's backend, which show stats must say, too."""
    found = daemon.ctl_json(f"show upstreams {name}")["upstreams"]
    assert [(one["pool"], one["name"]) for one in found] == [(name, "a")]
    return found[0]


def reuse_events(daemon):
    events = daemon.ctl_json("show events limit=1000")["events"]
    return [event for event in events if event["kind"] == "reuse"]


def let_pass(daemon, seconds):
    """Time for master to look again, by its own clock."""
    end = daemon.stats()["uptime_seconds"] + seconds
    wait_for(lambda: daemon.stats()["uptime_seconds"] >= end)


# --- figures ---

def get(client):
    client.request("GET", "/f")
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (200, b"content")


def test_requests_of_nginx(start):
    """One worker, one client after the other: one connection serves all."""
    nginx = start(Nginx({"f": b"content"}))
    daemon = start(Daemon(keeping("web", nginx.address, mode="request", framing="http1",
                                  idle_max="0s"), workers=1))
    clients = [http.client.HTTPConnection(*split(daemon.address("web"))) for _ in range(3)]
    for client in clients:
        for _ in range(4):
            get(client)

    sessions = daemon.ctl_json("show sessions")["sessions"]
    assert [(one["state"], one["pool"], one["backend"]) for one in sessions] == [
        ("between_requests", None, None)] * 3
    assert daemon.ctl("show sessions").count(" -     -        between_requests ") == 3

    shown = row(daemon, "web")
    assert {key: shown[key] for key in (
        "mode", "framing", "requests_total", "upstreams_opened", "upstreams_warm",
        "upstreams_reused", "upstreams_reused_percent", "upstreams_idle", "upstreams_lent",
        "upstreams_pinned", "upstreams_discarded", "why_not")} == {
            "mode": "request", "framing": "http1", "requests_total": 12, "upstreams_opened": 1,
            "upstreams_warm": 0, "upstreams_reused": 11, "upstreams_reused_percent": 91,
            "upstreams_idle": 1, "upstreams_lent": 0, "upstreams_pinned": 0,
            "upstreams_discarded": 0, "why_not": None}
    backend = daemon.backend("web", "a")
    assert backend["connections_total"] == 3
    both = backend.keys() & shown.keys()
    assert len(both) > 14
    assert {key: backend[key] for key in both} == {key: shown[key] for key in both}
    titles, line = daemon.ctl("show backends").splitlines()
    assert "UPSTREAMS_IDLE  REUSED_PERCENT" in titles and " 91  " in line

    for client in clients:
        client.close()
    daemon.check_accounts("web")
    assert nginx.stop() == 0 and nginx.served()[0] == 12


def test_nginx_that_keeps_nothing(start):
    nginx = start(Nginx({"f": b"content"}, server="keepalive_timeout 0;"))
    daemon = start(Daemon(keeping("web", nginx.address, mode="request", framing="http1")))
    client = http.client.HTTPConnection(*split(daemon.address("web")))
    for _ in range(12):
        get(client)
    client.close()
    daemon.check_accounts("web")
    shown = row(daemon, "web")
    assert shown["upstreams_reused"] == 0 and shown["upstreams_opened"] == 12
    assert shown["upstreams_discarded_mostly"] == "not_clean 12"
    assert "\"Connection: close\"" in shown["why_not"]
    table = run([SLUICECTL, "-s", daemon.control, "show", "upstreams"]).stdout.splitlines()
    assert table[0].endswith("WHY_NOT") and table[1].endswith(shown["why_not"])


def test_without_reuse_all_is_zero(start):
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("plain") + pool("plain", origin.addresses)))
    for _ in range(3):
        with connect(daemon.address("plain")) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
    daemon.check_accounts("plain")
    backend = daemon.backend("plain", "a")
    assert backend["connections_total"] == 3 and backend["reuse_trouble"] == "none"
    assert not any(backend[key] for key in backend if key.startswith("upstreams_")
                   and key != "upstreams_discarded_by")
    assert not any(backend["upstreams_discarded_by"].values())
    assert daemon.ctl_json("show upstreams") == {"upstreams": []}
    assert "the reuse mode of all is off" in daemon.ctl("show upstreams")
    assert "pool plain keeps no connections" in daemon.ctl("show upstreams plain")
    assert "UPSTREAMS_IDLE" not in daemon.ctl("show backends")
    with pytest.raises(CtlError, match="no pool plian.*plain"):
        daemon.ctl("show upstreams plian")


# --- sessions that own ---

def talk(address, command, last):
    """A connection on which the answer to a command, which ends so, has come."""
    sock = connect(address)
    sock.sendall(command)
    answer = b""
    while not answer.endswith(last):
        data = sock.recv(4096)
        assert data, answer
        answer += data
    return sock


def subscribe_all(start, daemon):
    address = daemon.address("redis")
    return [start(talk(address, b"SUBSCRIBE news\r\n", b":1\r\n")) for _ in range(MANY)]


def test_subscribers_own(start):
    redis = start(Redis())
    daemon = start(Daemon(keeping("redis", redis.address, mode="request", framing="resp")))
    subscribers = subscribe_all(start, daemon)
    shown = row(daemon, "redis")
    assert shown["upstreams_pinned"] == shown["upstreams_lent"] == shown["pins"] == MANY
    assert "the last by SUBSCRIBE: " in shown["why_not"]
    sessions = daemon.ctl_json("show sessions")["sessions"]
    assert [(one["state"], one["backend"]) for one in sessions] == [("open", "a")] * MANY

    event, = wait_for(lambda: reuse_events(daemon))
    assert (event["pool"], event["by"]) == ("redis", "master")
    assert re.search(r": \d+ of \d+ within 10 s, the last by SUBSCRIBE; .* a pool of their own",
                     event["text"])
    assert "the last by SUBSCRIBE" in daemon.log()

    for sock in subscribers:
        sock.close()
    daemon.check_accounts("redis")
    shown = row(daemon, "redis")
    assert shown["upstreams_pinned"] == shown["upstreams_lent"] == 0
    assert shown["upstreams_discarded_by"]["owned"] == MANY

    subscribe_all(start, daemon)
    let_pass(daemon, 3)
    assert len(reuse_events(daemon)) == 1


def greet_all(daemon):
    """Sessions that begin as those of client libraries do."""
    for _ in range(MANY):
        talk(daemon.address("redis"), OPENING + b"PING\r\n", b"+PONG\r\n").close()
    daemon.check_accounts("redis")
    return row(daemon, "redis")


def test_a_handshake_owns_until_it_is_the_key(start):
    redis = start(Redis())
    daemon = start(Daemon(keeping("redis", redis.address, mode="request", framing="resp"),
                          workers=1))
    before = greet_all(daemon)
    assert before["pins"] == before["upstreams_discarded_by"]["owned"] == MANY
    event, = wait_for(lambda: reuse_events(daemon))
    assert "by HELLO; handshake = \"key\" lets sessions that begin alike share" in event["text"]
    assert "handshake = \"key\"" in before["why_not"]

    daemon.reload(keeping("redis", redis.address, mode="request", framing="resp", handshake="key",
                          policy="always", idle_max="0s"))
    after = greet_all(daemon)
    assert after["pins"] == MANY and after["upstreams_idle"] == 1
    assert after["upstreams_reused"] - before["upstreams_reused"] == 2 * MANY - 1
    assert after["why_not"] is None
    let_pass(daemon, 2)
    assert len(reuse_events(daemon)) == 1


# --- backends that speak first ---

def greeter(sock):
    """A server that greets, then echoes."""
    try:
        sock.sendall(b"220 welcome\r\n")
        while data := sock.recv(4096):
            sock.sendall(data)
    except ConnectionError:
        pass  # what is opened ahead is closed by a reset once it has spoken


def test_a_backend_that_speaks_first(start):
    server = start(Server(greeter))
    asked = {"mode": "request", "framing": "line", "warm_min": 1}
    daemon = start(Daemon(keeping("mail", server.address, **asked)))
    event, = wait_for(lambda: reuse_events(daemon))
    assert (event["pool"], event["backend"]) == ("mail", "a")
    assert "pool mail: backend a speaks first" in event["text"]
    assert "mode = \"warm\"" in event["text"]
    shown = row(daemon, "mail")
    assert shown["reuse_trouble"] == "speaks_first" and shown["stray_bytes"] > 0
    assert shown["why_not"].startswith("switched off, as it speaks first: ")

    for _ in range(3):  # as if there were no reuse
        talk(daemon.address("mail"), b"hello\r\n", b"220 welcome\r\nhello\r\n").close()
    daemon.check_accounts("mail")

    # A reload alone changes nothing, and is no reason to tell again.
    daemon.reload(keeping("mail", server.address, **asked, max_idle=32))
    let_pass(daemon, 2)
    assert row(daemon, "mail")["reuse_trouble"] == "speaks_first"
    assert len(reuse_events(daemon)) == 1

    # What the event proposes works.
    daemon.reload(keeping("mail", server.address, mode="warm", warm_min=1))
    wait_for(lambda: row(daemon, "mail")["upstreams_idle"] == 2)
    assert row(daemon, "mail")["reuse_trouble"] == "none"
    talk(daemon.address("mail"), b"", b"220 welcome\r\n").close()
    daemon.check_accounts("mail")
    assert row(daemon, "mail")["upstreams_warm"] == 1

    # So does another address; and the one before is tried again.
    origin = start(Origin("echo"))
    daemon.reload(keeping("mail", origin.addresses[0], mode="request", framing="line"))
    with talk(daemon.address("mail"), b"hello\r\n", b"hello\r\n") as sock:
        def is_reused():
            sock.sendall(b"again\r\n")
            assert sock.recv(4096) == b"again\r\n"
            return row(daemon, "mail")["upstreams_reused"] >= 1

        wait_for(is_reused)  # once it is known not to speak first
    assert row(daemon, "mail")["reuse_trouble"] == "none"
    daemon.reload(keeping("mail", server.address, **asked))
    wait_for(lambda: len(reuse_events(daemon)) == 2)
    assert row(daemon, "mail")["reuse_trouble"] == "speaks_first"
