"""Who serves when primaries are missing: backups, fallback pools, panic; how backends return."""

import collections
import contextlib
import socket

import pytest

from choosing import (Backend, Client, ask, ask_often, change, count_names, find_pool, hold,
                      pool_events, pool_of, states, wait_state)
from sluice import Daemon, service, wait_for

BACKUPS = {"c": {"backup": True}, "d": {"backup": True}}


@pytest.fixture
def four(start):
    return [start(Backend(name)) for name in "abcd"]


def config(backends, settings=None, options=None, **pool_options):
    """a and b are primaries, c and d backups, all checked."""
    return service("s", **(options or {})) + pool_of(
        "s", backends, BACKUPS if settings is None else settings,
        **{"checked": True, "scheduler": "rr", **pool_options})


def started(start, text, up, standby="", **options):
    """The daemon, once the first checks are over."""
    daemon = start(Daemon(text, **{"workers": 2, **options}))
    wait_state(daemon, up, "up")
    wait_state(daemon, standby, "standby") if standby else None
    return daemon


def served(daemon, count=12):
    return set(ask_often(daemon.address("s"), count))


def ended_by(daemon):
    row = daemon.service("s")
    return {reason: count for reason, count in row["ended_by"].items() if count}


def wait_events(daemon, expected, kind="pool"):
    """Waits for events of pools whose texts begin like that, in that order and no others."""
    def are_there():
        texts = pool_events(daemon, kind)
        return len(texts) >= len(expected) and texts
    texts = wait_for(are_there, what=f"{len(expected)} events")
    assert len(texts) == len(expected), texts
    for text, begin in zip(texts, expected):
        assert text.startswith(begin), texts
    return texts


# --- backups ---

def test_backups_join_by_health(start, four):
    """When no primary is up the first backup takes over, and leaves again."""
    a, b, _, _ = four
    daemon = started(start, config(four), "ab", "cd")
    assert served(daemon) == {"a", "b"}
    row = daemon.backend("s", "c")
    assert row["backup"] and row["health"] == "up" and "backup" in row["reason"], row
    assert row["effective_weight_permille"] == 0
    assert not find_pool(daemon)["backups_used"]

    a.sick()
    wait_state(daemon, "a", "down")
    assert served(daemon) == {"b"}
    b.sick()
    wait_state(daemon, "b", "down")
    wait_state(daemon, "c", "up")
    assert served(daemon) == {"c"}
    assert find_pool(daemon)["backups_used"]
    row = wait_state(daemon, "d", "standby")
    assert "c" in row["reason"] and "first" in row["reason"], row["reason"]
    b.well()
    wait_state(daemon, "cd", "standby")
    assert served(daemon) == {"b"}
    wait_events(daemon, ["backups in use: 0 of 1", "backups no longer in use: 1 primary is up"])
    assert daemon.check_accounts("s")["connections_refused"] == 0


def test_backups_join_by_admin(start, four):
    """Primaries in maintenance, drained or without weight are missing as well."""
    daemon = started(start, config(four), "ab", "cd")
    change(daemon, "maintain backend s a")
    assert served(daemon) == {"b"}
    for away, back in (("maintain backend s b", "ready backend s b"),
                       ("drain backend s b", "ready backend s b"),
                       ("set backend s b weight=0", "set backend s b weight=1")):
        change(daemon, away)
        assert served(daemon) == {"c"}, away
        change(daemon, back)
        assert served(daemon) == {"b"}, back
    wait_events(daemon, 3 * ["backups in use", "backups no longer in use"])
    daemon.reload(config(four[2:]))
    assert served(daemon) == {"c"}


@pytest.mark.parametrize("use,both", [("first", False), ("all", True)])
def test_backup_use(start, four, use, both):
    a, b, c, d = four
    daemon = started(start, config(four, backup_use=use), "ab", "cd")
    a.sick(), b.sick()
    wait_state(daemon, "ab", "down")
    wait_state(daemon, "cd" if both else "c", "up")
    assert served(daemon) == (set("cd") if both else {"c"})
    c.sick()
    wait_state(daemon, "c", "down")
    wait_state(daemon, "d", "up")
    assert served(daemon) == {"d"}
    c.well()
    wait_state(daemon, "c", "up")
    assert served(daemon) == (set("cd") if both else {"c"})


def test_min_healthy(start, four):
    """Fewer than two primaries: the backup joins the one that is left."""
    a, b, _, _ = four
    daemon = started(start, config(four, min_healthy=2), "ab", "cd")
    assert served(daemon) == {"a", "b"}
    a.sick()
    wait_state(daemon, "a", "down")
    wait_state(daemon, "c", "up")
    assert served(daemon) == {"b", "c"}
    b.sick()
    wait_state(daemon, "b", "down")
    assert served(daemon) == {"c"}
    a.well()
    wait_state(daemon, "a", "up")
    assert served(daemon) == {"a", "c"}
    b.well()
    wait_state(daemon, "cd", "standby")
    assert served(daemon) == {"a", "b"}


def test_load_never_counts(start, four):
    """Full primaries refuse or queue; backups stand by."""
    full = {"a": {"max_connections": 1}, "b": {"max_connections": 1}, **BACKUPS}
    daemon = started(start, config(four, full), "ab", "cd")
    held = hold(start, daemon.address("s"), 2)
    assert states(daemon) == {"a": "full", "b": "full", "c": "standby", "d": "standby"}
    assert ask(daemon.address("s")) == ""
    assert daemon.service("s")["refused_by"]["full"] == 1
    assert pool_events(daemon) == []
    held[0].close()
    wait_state(daemon, held[0].name(), "up")
    assert ask(daemon.address("s")) == held[0].name()


@pytest.mark.parametrize("fate", ["keep", "close"])
def test_on_return(start, four, fate):
    """What becomes of sessions on a backup when a primary is back; those elsewhere stay."""
    a, b, c, _ = four
    daemon = started(start, config(four, on_return=fate, min_healthy=2), "ab", "cd")
    before = hold(start, daemon.address("s"), 2)
    a.sick()
    wait_state(daemon, "a", "down")
    wait_state(daemon, "c", "up")
    held = hold(start, daemon.address("s"), 10)
    assert set(count_names(held)) == {"b", "c"}
    a.well()
    wait_state(daemon, "cd", "standby")
    if fate == "close":
        assert all([client.was_reset() for client in held if client.name() == "c"])
        wait_for(lambda: c.active == 0, what="the backup to be left alone")
        assert ended_by(daemon) == {"primaries_back": count_names(held)["c"]}
    else:
        assert served(daemon) == {"a", "b"}
    for client in before + held:
        if fate == "keep" or client.name() != "c":
            assert client.again() == client.name()


@pytest.mark.parametrize("fate", ["keep", "close"])
def test_on_down(start, four, fate):
    """What becomes of sessions on a backend that its check finds down."""
    a = four[0]
    daemon = started(start, config(four, on_down=fate), "ab", "cd")
    held = hold(start, daemon.address("s"), 10)
    shares = count_names(held)
    a.sick()
    wait_state(daemon, "a", "down")
    if fate == "close":
        assert all([client.was_reset() for client in held if client.name() == "a"])
        wait_for(lambda: a.active == 0, what="the backend to see the end")
        assert ended_by(daemon) == {"backend_down": shares["a"]}
    for client in held:
        if fate == "keep" or client.name() != "a":
            assert client.again() == client.name()


def test_on_down_spares_maintenance(start, four):
    """Only what checks found is down; the operator's word closes nothing."""
    daemon = started(start, config(four, on_down="close"), "ab", "cd")
    held = hold(start, daemon.address("s"), 4)
    change(daemon, "maintain backend s a")
    assert served(daemon) == {"b"}
    assert all(client.again() == client.name() for client in held)


def test_on_down_of_many(start, four):
    """More sessions than are closed in one turn."""
    a = four[0]
    daemon = started(start, config(four[:1], {}, on_down="close"), "a", workers=1)
    clients = [start(Client(daemon.address("s"))) for _ in range(300)]
    assert set(count_names(clients)) == {"a"}
    a.sick()
    assert all([client.was_reset() for client in clients])
    assert daemon.check_accounts("s")["ended_by"]["backend_down"] == 300


def test_on_down_while_connecting(start, four):
    """A session whose connect was under way when its backend went down does not stay either."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        listener.setblocking(False)
        fillers = [stack.enter_context(socket.socket()) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        gate = four[0]
        text = config([gate], {}, on_down="close", connect_timeout="60s")
        text = text.replace(gate.address, "%s:%d" % listener.getsockname())
        daemon = started(start, text, "a")
        client = start(Client(daemon.address("s")))
        wait_for(lambda: daemon.backend("s", "a")["connections_active"] == 1, what="the try")
        gate.sick()
        wait_state(daemon, "a", "down")
        assert daemon.backend("s", "a")["connections_total"] == 0

        def is_connected():  # by the kernel's next try, once there is room
            with contextlib.suppress(BlockingIOError):
                while True:
                    stack.enter_context(listener.accept()[0])
            return daemon.backend("s", "a")["connections_total"] == 1
        wait_for(is_connected, what="the connection")
        assert client.was_reset()
        assert ended_by(daemon) == {"backend_down": 1}


# --- fallback ---

def test_fallback_pool(start, four):
    """A sorry server while the pool has nobody, with checks and settings of its own."""
    a, b, c, d = four
    text = (service("s", fallback_pool="sorry") + pool_of("s", [a, b], checked=True)
            + pool_of("sorry", [c, d], {"c": {"max_connections": 1}}, checked=True,
                      scheduler="first"))
    daemon = started(start, text, "ab")
    wait_state(daemon, "cd", "up", "sorry")
    row = daemon.ctl_json("show services")["services"][0]
    assert (row["pool"], row["fallback_pool"], row["uses"]) == ("s", "sorry", "s")
    assert served(daemon) == {"a", "b"}
    a.sick(), b.sick()
    wait_state(daemon, "ab", "down")
    assert daemon.ctl_json("show services")["services"][0]["uses"] == "sorry"
    held = hold(start, daemon.address("s"), 3)
    assert "".join(client.name() for client in held) == "cdd"
    b.well()
    wait_state(daemon, "b", "up")
    assert served(daemon) == {"b"}
    assert daemon.ctl_json("show services")["services"][0]["uses"] == "s"
    assert all(client.again() == client.name() for client in held)
    texts = wait_events(daemon, ["service s uses its fallback pool sorry",
                                 "service s no longer uses its fallback pool"], "service")
    assert "2 down" in texts[0]
    wait_events(daemon, ["pool lost: no backend takes new sessions: 2 down",
                         "pool restored: 1 of 2"])


def test_fallback_is_for_want_of_health(start, four):
    """Not for want of room; and when it has nobody either clients are refused as ever."""
    a, _, c, _ = four
    daemon = started(start, service("s", fallback_pool="sorry")
                     + pool_of("s", [a], {"a": {"max_connections": 1}}, checked=True)
                     + pool_of("sorry", [c], checked=True), "a")
    wait_state(daemon, "c", "up", "sorry")
    with Client(daemon.address("s")) as client:
        assert client.name() == "a"
        assert ask(daemon.address("s")) == ""
    wait_state(daemon, "a", "up")
    c.sick(), a.sick()
    wait_state(daemon, "a", "down")
    wait_state(daemon, "c", "down", "sorry")
    assert ask(daemon.address("s")) == ""
    refused = daemon.check_accounts("s")["refused_by"]
    assert {reason: count for reason, count in refused.items() if count} == {"full": 1,
                                                                             "no_backend": 1}


def test_fallback_after_failed_tries(start, four):
    """No check has seen it yet, but nobody in the pool can be connected to."""
    a, b, c, _ = four
    daemon = start(Daemon(service("s", fallback_pool="sorry") + pool_of("s", [a, b])
                          + pool_of("sorry", [c])))
    a.off(), b.off()
    assert served(daemon, 4) == {"c"}
    a.on()
    assert served(daemon, 4) == {"a"}


# --- panic ---

def test_panic(start, four):
    """With less than half of them healthy, the checks are the likelier culprit: all serve."""
    a, b, c, d = four
    daemon = started(start, config(four, {}, panic_threshold=50), "abcd")
    a.sick(), b.sick()
    wait_state(daemon, "ab", "down")
    assert served(daemon) == {"c", "d"}
    assert not find_pool(daemon)["panic"]
    c.sick()
    row = wait_state(daemon, "c", "down")
    assert "panic" in row["reason"] and row["effective_weight_permille"] == 1000, row
    assert find_pool(daemon)["panic"]
    assert served(daemon, 20) == set("abcd")
    wait_events(daemon, ["panic begins, health is ignored: 1 of 4"])
    change(daemon, "maintain backend s b")  # the operator's word holds; one of three is up
    assert served(daemon, 20) == set("acd")
    change(daemon, "ready backend s b")
    a.well()
    wait_state(daemon, "a", "up")
    assert served(daemon) == {"a", "d"}
    wait_events(daemon, ["panic begins, health is ignored: 1 of 4", "panic ends: 2 of 4"])


def test_panic_closes_nothing(start, four):
    """on_down = close: not while health is ignored."""
    daemon = started(start, config(four, {}, panic_threshold=60, on_down="close"), "abcd")
    held = hold(start, daemon.address("s"), 8)
    for backend in four:
        backend.sick()
    wait_state(daemon, "abcd", "down")
    assert served(daemon, 20) == set("abcd")
    alive = [client for client in held if client.again() == client.name()]
    lost = sum(ended_by(daemon).values()) - ended_by(daemon).get("client_fin", 0)
    # Those that went down before there were too few may have been closed.
    assert len(alive) >= 4 and len(alive) + lost == len(held), (len(alive), lost)


def test_panic_lets_backups_serve(start, four):
    a, b, _, _ = four
    daemon = started(start, config(four, panic_threshold=60), "ab", "cd")
    for backend in four:
        backend.sick()
    wait_state(daemon, "abcd", "down")
    assert served(daemon, 20) == set("abcd")


# --- slow start ---

SLOW = {"scheduler": "wrr", "slow_start": "3s"}


def weight_now(daemon, name="a"):
    return daemon.backend("s", name)["effective_weight_permille"]


def wait_full_weight(daemon):
    """Watches it rise."""
    seen = [weight_now(daemon)]

    def is_full():
        seen.append(weight_now(daemon))
        return seen[-1] == 1000
    wait_for(is_full, what="the whole weight")
    assert seen == sorted(seen), seen
    return seen


@pytest.mark.parametrize("scheduler", ["wrr", "wlc"])
def test_slow_start(start, four, scheduler):
    """Who recovers gets what its weight says, although it has no session: few at first, its whole
    share later. At the daemon's start nobody is slow."""
    a = four[0]
    count = 30
    slow = {**SLOW, "scheduler": scheduler}
    daemon = started(start, config(four[:2], {}, **slow), "ab", workers=1)
    assert weight_now(daemon) == 1000
    a.sick()
    wait_state(daemon, "a", "down")
    assert weight_now(daemon) == 0
    before = hold(start, daemon.address("s"), 10)
    a.well()
    row = wait_state(daemon, "a", "up")
    assert 100 <= row["effective_weight_permille"] < 1000 and "slow start" in row["reason"], row
    held = hold(start, daemon.address("s"), count)
    most = weight_now(daemon)
    got = count_names(held)["a"]
    assert got <= count * most / (1000 + most) + 2, (got, most)
    for client in before + held:
        client.close()
    wait_full_weight(daemon)
    assert "slow start" not in daemon.backend("s", "a")["reason"]
    assert abs(count_names(hold(start, daemon.address("s"), 20))["a"] - 10) <= 1


def test_slow_start_by_command_and_reload(start, four):
    """Made ready again, and added: both begin small; what was there goes on as it was."""
    daemon = started(start, config(four[:2], {}, **SLOW), "ab", workers=1)
    for away, back in (("drain backend s a", "ready backend s a"),
                       ("maintain backend s a", "ready backend s a"),
                       ("set backend s a weight=0", "set backend s a weight=1")):
        change(daemon, away)
        assert weight_now(daemon) == 0
        change(daemon, back)
        assert 100 <= weight_now(daemon) < 1000, back
        assert weight_now(daemon, "b") == 1000
    daemon.reload(config(four[:3], {}, **SLOW))
    wait_state(daemon, "c", "up")
    assert 100 <= weight_now(daemon, "c") < 1000
    assert weight_now(daemon, "b") == 1000
    names = collections.Counter(ask_often(daemon.address("s"), 12))
    assert names["b"] > 6 or weight_now(daemon, "c") > 600, names


def test_slow_start_of_the_only_one(start, four):
    """It serves everybody, however small its weight; and a weight set meanwhile counts."""
    a = four[0]
    daemon = started(start, config(four[:1], {}, scheduler="wlc", slow_start="1h"), "a")
    a.sick()
    wait_state(daemon, "a", "down")
    a.well()
    wait_state(daemon, "a", "up")
    assert 100 <= weight_now(daemon) < 200
    assert served(daemon, 6) == {"a"}
    change(daemon, "set backend s a weight=50")
    assert 5000 <= weight_now(daemon) < 10000
    daemon.reload(config(four[:1], {}, scheduler="wlc", slow_start="0s"))
    assert weight_now(daemon) == 50000


# --- all of a pool ---

def test_pool_lost_and_restored(start, four):
    a, b, _, _ = four
    daemon = started(start, config([a, b], {}), "ab")
    assert pool_events(daemon) == []
    a.sick()
    wait_state(daemon, "a", "down")
    b.sick()
    wait_state(daemon, "b", "down")
    assert ask(daemon.address("s")) == ""
    wait_events(daemon, ["pool lost"])
    b.well()
    wait_state(daemon, "b", "up")
    wait_events(daemon, ["pool lost: no backend takes new sessions: 2 down",
                         "pool restored: 1 of 2 backends takes new sessions"])
    assert ask(daemon.address("s")) == "b"
    a.well()
    wait_state(daemon, "a", "up")
    assert served(daemon) == {"a", "b"}
    assert len(pool_events(daemon)) == 2


def test_flapping_tells_of_each_change(start, four):
    """Ten times down and up: each is told, none twice."""
    a, _, c, _ = four
    daemon = started(start, config([a, c]), "a", "c")
    for turn in range(1, 6):
        a.sick()
        wait_state(daemon, "c", "up")
        assert served(daemon, 2) == {"c"}
        a.well()
        wait_state(daemon, "c", "standby")
        assert served(daemon, 2) == {"a"}
        wait_for(lambda: len(pool_events(daemon)) == 2 * turn, what="the events of the turn")
    wait_events(daemon, 5 * ["backups in use", "backups no longer in use"])
