"""Draining and removing with a deadline, the operator's word over health and over a whole service,
and what all that may not do without force."""

import json

import pytest

from choosing import Client
from sluice import CtlError, Daemon, Load, Origin, connect, pool, service, wait_for


@pytest.fixture
def origin(start):
    return start(Origin("echo", "echo", "echo", names=list("abc")))


def config(origin, names="ab", own=None, more="", **options):
    backends = {name: {"address": address, **((own or {}).get(name, {}))}
                for name, address in zip("abc", origin.addresses) if name in names}
    return service("s") + pool("s", backends, scheduler="rr", **options) + more


def echo(start, daemon, count=1, name="s"):
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


def shown(daemon, name, admin=None):
    """The backend's row in show backends; None: there is none."""
    rows = [row for row in daemon.ctl_json("show backends")["backends"]
            if row["name"] == name and admin in (None, row["admin"])]
    assert len(rows) < 2, rows
    return rows[0] if rows else None


def on(daemon, name):
    return shown(daemon, name)["connections_active"]


def ended_by(daemon):
    return {reason: n for reason, n in daemon.service("s")["ended_by"].items() if n}


def texts(daemon, kind="drain"):
    return [event["text"] for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == kind]


def test_a_drain_with_a_deadline(start, origin):
    daemon = start(Daemon(config(origin), workers=1))
    socks = echo(start, daemon, 8)
    reply = daemon.ctl_json("drain backend s a within=700ms why=patches")
    assert reply["changes"][0] == "pool s: backend a: admin ready -> drain"
    assert reply["changes"][1].startswith("pool s: backend a: 4 sessions remain; all are closed by")
    row = shown(daemon, "a")
    assert row["state"] == "draining" and row["closed_in_seconds"] == 1
    assert "admin=drain by uid" in row["reason"]
    wait_for(lambda: on(daemon, "a") == 0, what="the deadline")
    assert ended_by(daemon) == {"backend_drained": 4}
    assert sorted(lives(sock) for sock in socks) == [False] * 4 + [True] * 4
    assert on(daemon, "b") == 4 and shown(daemon, "a")["state"] == "draining"
    wait_for(lambda: len(texts(daemon)) == 2, what="its events")
    closing, empty = texts(daemon)
    assert closing.startswith("pool s: backend a: closing the 4 sessions that remain, until ")
    assert empty == "pool s: backend a has no session left"
    daemon.ctl("ready backend s a")
    assert shown(daemon, "a")["closed_in_seconds"] is None
    socks += echo(start, daemon, 2)
    assert on(daemon, "a") == 1
    for sock in socks:
        sock.close()
    daemon.check_accounts("s")


def test_the_longest_idle_go_first_and_evenly(start, origin):
    """Over close_over, at the end of the time; not before."""
    daemon = start(Daemon(config(origin, "a"), workers=1, close_over="1s"))
    holding = start(Load("hold", daemon.address("s"), "--connections", 200, "--duration", 600))
    holding.wait_output("^holding 200")
    wait_for(lambda: on(daemon, "a") == 200, what="every session")
    young, = echo(start, daemon)
    daemon.ctl("drain backend s a within=2s force")
    seen = []
    wait_for(lambda: seen.append(on(daemon, "a")) or seen[-1] == 0, what="the deadline")
    assert len({n for n in seen if 20 < n < 180}) > 3, seen  # not all at once
    assert not lives(young)


def test_a_drain_taken_back(start, origin):
    """Also while its sessions are being closed."""
    daemon = start(Daemon(config(origin), workers=1))
    socks = echo(start, daemon, 40)
    daemon.ctl("drain backend s a within=10s")
    wait_for(lambda: on(daemon, "a") < 20, what="the first to go")
    daemon.ctl("ready backend s a")
    left = on(daemon, "a")
    assert 0 < left < 20
    daemon.ctl("drain backend s a within=1h")
    assert 0 < shown(daemon, "a")["closed_in_seconds"] <= 3600
    daemon.ctl("drain backend s a within=0s")
    assert shown(daemon, "a")["closed_in_seconds"] is None
    assert sum(lives(sock) for sock in socks) >= 20 + on(daemon, "a")


def test_a_removed_one_is_no_unknown_one(start, origin):
    """While it has sessions, commands about it say what became of it, and how to close them."""
    daemon = start(Daemon(config(origin, "abc"), workers=1))
    socks = echo(start, daemon, 9)
    daemon.ctl("drain backend s c")
    daemon.ctl("remove backend s c")
    said = r"backend c of pool s was removed at 20\S+Z, by uid \d+.*, and still has 3 sessions; " \
           r"close sessions backend=s/c \[over=TIME\] closes them$"
    for words in ("drain backend s c", "ready backend s c", "drain backend * c",
                  "maintain backend s c", "maintain backend * c", "set backend s c weight=3",
                  "remove backend s c"):
        with pytest.raises(CtlError, match=said):
            daemon.ctl(words)
    daemon.ctl("close sessions backend=s/c")
    wait_for(lambda: shown(daemon, "c") is None, what="no sessions left")
    assert sum(lives(sock) for sock in socks) == 6
    with pytest.raises(CtlError, match="no backend in pool s called c"):
        daemon.ctl("drain backend s c")
    daemon.ctl("remove backend s b within=1h")
    with pytest.raises(CtlError, match=r"has 3 sessions, which are closed by 20\S+Z; close"):
        daemon.ctl("ready backend s b")


@pytest.mark.parametrize("by", ["command", "file", "reset"])
def test_a_removed_backend_drains(start, origin, by):
    """However it is removed: seen until its last session has gone, or its time is over."""
    names = "ab" if by == "reset" else "abc"
    daemon = start(Daemon(config(origin, names, drain_within="1h"), workers=1))
    if by == "reset":
        daemon.ctl(f"add backend s c {origin.addresses[2]}")
    socks = echo(start, daemon, 9)
    if by == "command":
        reply = daemon.ctl_json("remove backend s c")
        assert "pool s: backend c: 3 sessions remain; all are closed by " in reply["changes"][1]
    elif by == "reset":
        daemon.ctl("reset backend s c")
    else:
        daemon.reload(config(origin, "ab", drain_within="1h"))
    row = shown(daemon, "c")
    assert (row["state"], row["admin"], row["connections_active"]) == ("draining", "removed", 3)
    assert 3500 < row["closed_in_seconds"] <= 3600
    assert row["reason"].startswith("removed by ") and "3 sessions remain, closed within" in \
        row["reason"]
    assert "removed" in daemon.ctl("show backends s")
    assert all(lives(sock) for sock in socks)
    assert [b["name"] for b in json.loads(daemon.ctl("show stats json"))["pools"][0]["backends"]] \
        == ["a", "b"]
    # A reload in between changes nothing of it; one that brings it back ends it.
    daemon.reload(config(origin, "abc" if by == "command" else "ab", drain_within="5s"))
    assert shown(daemon, "c")["closed_in_seconds"] > 3000
    if by == "command":
        daemon.ctl("reset backend s c")
        assert shown(daemon, "c") is None or shown(daemon, "c")["admin"] == "ready"
    for sock in socks:
        sock.close()
    wait_for(lambda: shown(daemon, "c", "removed") is None, what="it to be gone")
    if by != "command":
        wait_for(lambda: "pool s: backend c, which was removed, has no session left"
                 in texts(daemon), what="its event")
    daemon.check_accounts("s")


def test_sessions_of_a_removed_backend(start, origin):
    """They are found, and closed, by its name as long as there are any."""
    daemon = start(Daemon(config(origin, "abc"), workers=1))
    socks = echo(start, daemon, 9)
    daemon.ctl("remove backend s c")
    rows = daemon.ctl_json("show sessions backend=s/c")["sessions"]
    assert [(row["pool"], row["backend"]) for row in rows] == [("s", "c")] * 3
    assert len(daemon.ctl_json("show sessions")["sessions"]) == 9
    assert daemon.ctl_json("close sessions backend=s/c")["sessions"] == 3
    wait_for(lambda: shown(daemon, "c") is None, what="the last of them")
    assert sum(lives(sock) for sock in socks) == 6
    for words in "show sessions", "close sessions":
        with pytest.raises(CtlError, match="no backend in pool s called c"):
            daemon.ctl(words + " backend=s/c")


def test_a_removed_backend_at_its_deadline(start, origin):
    daemon = start(Daemon(config(origin, "ab", drain_within="1h"), workers=1))
    socks = echo(start, daemon, 6)
    daemon.ctl("remove backend s a within=300ms")
    daemon.reload(config(origin, "ab", drain_within="1h"))
    wait_for(lambda: shown(daemon, "a") is None, what="its deadline")
    assert ended_by(daemon) == {"backend_drained": 3}
    assert sum(lives(sock) for sock in socks) == 3


def test_a_drain_by_the_file(start, origin):
    """drain_within counts from when it drains, or from when it is said."""
    drained = {"a": {"admin": "drain"}}
    daemon = start(Daemon(config(origin), workers=1))
    socks = echo(start, daemon, 4)
    daemon.reload(config(origin, own=drained))
    assert shown(daemon, "a")["closed_in_seconds"] is None and all(lives(sock) for sock in socks)
    daemon.reload(config(origin, own=drained, drain_within="1h"))
    assert 3500 < shown(daemon, "a")["closed_in_seconds"] <= 3600
    daemon.reload(config(origin, own=drained, drain_within="200ms"))
    wait_for(lambda: on(daemon, "a") == 0, what="the deadline")
    assert ended_by(daemon) == {"backend_drained": 2}


def test_a_deadline_survives_a_restart(start, origin, folder):
    path = folder / "state.json"
    daemon = start(Daemon(config(origin), state_file=path))
    daemon.ctl("drain backend s a within=1h")
    before = daemon.ctl_json("show diff")["overrides"][0]["close_wall_ms"]
    daemon.reload(config(origin, retries=1))
    daemon.stop()
    again = start(Daemon(config(origin), state_file=path))
    assert again.ctl_json("show diff")["overrides"][0]["close_wall_ms"] == before
    assert 3000 < shown(again, "a")["closed_in_seconds"] <= 3600


def sticky(start, origin):
    daemon = start(Daemon(service("s", persistence="1h")
                          + pool("s", dict(zip("ab", origin.addresses)), scheduler="rr")))
    clients = [start(Client(daemon.address("s"), f"127.0.0.{n}")) for n in range(2, 8)]
    rows = []
    for client in clients:
        client.name()
    rows = daemon.ctl_json("show sessions backend=s/a")["sessions"]
    return daemon, sorted({row["client"].rpartition(":")[0] for row in rows})


def where(start, daemon, address):
    """Which backend a new session of that client gets."""
    before = {row["id"] for row in daemon.ctl_json("show sessions")["sessions"]}
    start(Client(daemon.address("s"), address)).name()
    row, = [row for row in daemon.ctl_json("show sessions")["sessions"] if row["id"] not in before]
    return row["backend"].rpartition("/")[2]


@pytest.mark.parametrize("words, then", [("drain", "a"), ("maintain", "b"), ("remove", "b"),
                                         ("drain within=100ms", "b")])
def test_sticky_clients(start, origin, words, then):
    """A drained backend keeps them, until its sessions are being closed; else they move."""
    daemon, on_a = sticky(start, origin)
    assert on_a and where(start, daemon, on_a[0]) == "a"
    verb, _, within = words.partition(" ")
    daemon.ctl(f"{verb} backend s a {within}")
    if within:
        wait_for(lambda: on(daemon, "a") == 0, what="the deadline")
    assert where(start, daemon, on_a[0]) == then


def test_the_word_over_checks(start, origin):
    """health=down and up, told apart from what checks say, for ever."""
    daemon = start(Daemon(config(origin, checks={"tcp": {"interval": "50ms"}}),
                          workers=1))
    wait_for(lambda: shown(daemon, "a")["health"] == "up" and shown(daemon, "b")["health"] == "up")
    reply = daemon.ctl_json("set backend s a health=down why=smoke")
    assert reply["changes"] == ["pool s: backend a: health auto -> down"]
    row = shown(daemon, "a")
    assert (row["state"], row["health"], row["checked_health"]) == ("down", "down", "up")
    assert row["reason"].startswith("health=down by uid ") and "smoke; its checks say up: " in \
        row["reason"]
    echo(start, daemon, 4)
    assert (on(daemon, "a"), on(daemon, "b")) == (0, 4)
    with pytest.raises(CtlError, match="the last eligible backend of pool \"s\"; its 4 sessions go "
                                       "on; new clients of service \"s\" would be refused"):
        daemon.ctl("set backend s b health=down")
    daemon.ctl("set backend s a health=auto")
    row = shown(daemon, "a")
    assert (row["state"], row["checked_health"]) == ("up", "up") and "health=" not in row["reason"]
    assert daemon.ctl_json("show diff")["overrides"] == []


def test_up_whatever_checks_say(start, origin):
    dead = {"a": {"check_address": "127.0.0.1:1"}}
    daemon = start(Daemon(config(origin, own=dead,
                                 checks={"tcp": {"interval": "50ms", "fall": 1}}),
                          workers=1))
    wait_for(lambda: shown(daemon, "a")["state"] == "down", what="the check")
    daemon.ctl("set backend s a health=up for=1h")
    row = shown(daemon, "a")
    assert (row["state"], row["health"], row["checked_health"]) == ("up", "up", "down")
    assert "health=up by uid " in row["reason"] and "its checks say down: " in row["reason"]
    echo(start, daemon, 2)
    assert (on(daemon, "a"), on(daemon, "b")) == (1, 1)


def test_a_service_that_drains(start, origin):
    """Clients are served, and health answers say no."""
    daemon = start(Daemon(config(origin), workers=1))
    with pytest.raises(CtlError, match="this would take service \"s\" away: its health answer"):
        daemon.ctl("set service s admin=drain")
    daemon.ctl("set service s admin=drain force")
    socks = echo(start, daemon, 2)
    answer = daemon.ctl_json("health s")
    assert answer["healthy"] is False and "admin drain" in json.dumps(answer)
    with pytest.raises(CtlError, match="new clients would be reset.*; its 2 sessions go on"):
        daemon.ctl("set service s admin=maintenance")
    daemon.ctl("set service s admin=maintenance force")
    with pytest.raises(ConnectionError), connect(daemon.address("s")) as late:
        late.sendall(b"hello")
        if late.recv(1) == b"":
            raise AssertionError("an orderly end")
    assert daemon.service("s")["refused_by"]["maintenance"] == 1
    assert daemon.service("s")["admin"] == "maintenance" and all(lives(sock) for sock in socks)
    assert "the service is in maintenance" in daemon.ctl("explain s 127.0.0.1")
    reply = daemon.ctl_json("reset service s why=done")
    assert reply["changes"] == ["service s: admin maintenance -> ready"]
    socks += echo(start, daemon)
    assert reply["overrides"] == []
    wait_for(lambda: daemon.ctl_json("health s")["healthy"], what="its health answer")
    for sock in socks:
        sock.close()
    daemon.check_accounts("s")


@pytest.mark.parametrize("words", [
    "set backend s a weight=0", "set backend s a admin=maintenance", "drain backend s a",
    "set backend s a health=down", "remove backend s a", "maintain backend * a",
    "set service s pool=empty"])
def test_the_last_one_needs_force(start, origin, words):
    more = pool("empty", {"x": {"address": origin.addresses[1], "admin": "maintenance"}})
    daemon = start(Daemon(config(origin, "a", more=more)))
    echo(start, daemon)
    with pytest.raises(CtlError) as caught:
        daemon.ctl(words)
    assert "new clients of service \"s\" would be refused" in str(caught.value)
    assert "force" in str(caught.value)
    event = daemon.ctl_json("show events")["events"][-1]
    assert event["kind"] == "refused" and words in event["text"]
    assert shown(daemon, "a")["state"] == "up"
    daemon.ctl(words + " force")


def test_one_that_comes_in_its_place(start, origin):
    """Without checks a backend that comes counts at once, so nothing needs force."""
    daemon = start(Daemon(config(origin, "a")))
    daemon.ctl(f"add backend s b {origin.addresses[1]}")
    daemon.ctl("remove backend s a")
    daemon.ctl("reset all")
    assert [row["name"] for row in daemon.ctl_json("show backends")["backends"]] == ["a"]


def test_one_that_comes_unchecked(start, origin):
    daemon = start(Daemon(config(origin, "a", checks={"tcp": {"interval": "50ms"}})))
    daemon.ctl(f"add backend s b {origin.addresses[1]}")
    wait_for(lambda: shown(daemon, "b")["state"] == "up")
    daemon.ctl("remove backend s a")
    with pytest.raises(CtlError, match="the last eligible backend"):
        daemon.ctl("reset all")
