"""Persistence: which clients keep their backend, how long, and when they move for good."""

import time

import pytest

from choosing import (Backend, Client, ask, ask_often, busy_workers, change, explain, hold, pool_of,
                      wait_state)
from sluice import Daemon, service, wait_for

SOURCES = [f"127.0.0.{last}" for last in range(2, 14)]


@pytest.fixture
def backends(start):
    return [start(Backend(name)) for name in "abc"]


def config(backends, settings=None, persistence="5m", options=None, **pool_options):
    """Without persistence these clients would move with every connection."""
    return service("s", persistence=persistence, **(options or {})) + pool_of(
        "s", backends, settings, **{"scheduler": "rr", **pool_options})


def homes(daemon, sources=None):
    address = daemon.address("s")
    return {source: ask(address, source) for source in sources or SOURCES}


def has_lease(daemon, client="127.0.0.1"):
    return "persistence" in explain(daemon, client)["rule"]


def wait_at_rest(daemon):
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="all sessions to end")


def others_than(name):
    return set("abc") - {name}


# --- who keeps it ---

def test_clients_keep_their_backend(start, backends):
    """Over connections and workers; others have others."""
    daemon = start(Daemon(config(backends), workers=3))
    first = homes(daemon)
    assert set(first.values()) == set("abc")
    for _ in range(6):
        assert homes(daemon) == first
    assert busy_workers(daemon) == 3


def test_without_it_they_move(start, backends):
    daemon = start(Daemon(config(backends, persistence="0s"), workers=1))
    assert "".join(ask_often(daemon.address("s"), 6)) == "abcabc"
    assert not has_lease(daemon)


def test_at_once_from_one_address(start, backends):
    """Sessions of one client that live beside each other are all on one backend."""
    daemon = start(Daemon(config(backends, scheduler="wlc"), workers=3))
    home = ask(daemon.address("s"))
    held = hold(start, daemon.address("s"), 20)
    assert {client.name() for client in held} == {home}


def test_mask(start, backends):
    """persistence_mask = 24: a network is one client."""
    daemon = start(Daemon(config(backends, options={"persistence_mask": 24}), workers=2))
    address, seen = daemon.address("s"), set()
    for net in range(1, 8):
        served = {ask(address, f"127.0.{net}.{last}") for last in (1, 2, 77, 200, 254)}
        assert len(served) == 1, (net, served)
        seen |= served
    assert len(seen) > 1


@pytest.mark.parametrize("mask,shared", [(128, False), (0, True)])
def test_mask_of_ipv6(start, backends, mask, shared):
    """Loopback has only one IPv6 address: what it shares a lease with is asked of explain."""
    daemon = start(Daemon(config(backends, options={"persistence_mask6": mask,
                                                    "listen": ("[::1]:0",)})))
    home = ask(daemon.address("s"))
    assert {ask(daemon.address("s")) for _ in range(5)} == {home}
    assert has_lease(daemon, "::1")
    assert has_lease(daemon, "2001:db8::7") == shared
    assert not has_lease(daemon, "10.1.2.3")


def test_services_have_leases_of_their_own(start, backends):
    daemon = start(Daemon(config(backends, scheduler="first")
                          + service("t", pool="s", persistence="5m")))
    assert ask(daemon.address("s")) == ask(daemon.address("t")) == "a"
    change(daemon, "set backend s c weight=5")
    assert ask(daemon.address("s")) == ask(daemon.address("t")) == "a"
    assert ask(daemon.address("s"), "127.0.0.9") == "c"
    change(daemon, "maintain backend s a")
    assert ask(daemon.address("s")) == "c"
    change(daemon, "ready backend s a")
    assert ask(daemon.address("s")) == "c"
    assert ask(daemon.address("t")) == "a"  # has not been here meanwhile


# --- how long ---

def test_for_its_time_after_the_last_session(start, backends):
    """And then no more: the next one goes where the turn is."""
    daemon = start(Daemon(config(backends, persistence="1500ms"), workers=1))
    address = daemon.address("s")
    assert "".join(ask_often(address, 5)) == "aaaaa"
    wait_at_rest(daemon)
    ended = time.monotonic()
    wait_for(lambda: not has_lease(daemon), what="the lease's end")
    assert time.monotonic() - ended > 1.2
    assert ask(address) == "b"


def test_while_a_session_lives(start, backends):
    """However short the time: it only begins at the last session's end."""
    daemon = start(Daemon(config(backends, persistence="100ms"), workers=2))
    address = daemon.address("s")
    client = start(Client(address))
    home, began = client.name(), time.monotonic()
    while time.monotonic() - began < 1:
        assert ask(address) == home
        assert has_lease(daemon)
    client.close()
    wait_for(lambda: not has_lease(daemon), what="the lease's end")


def test_each_connection_renews_it(start, backends):
    daemon = start(Daemon(config(backends, persistence="1s"), workers=2))
    address, began = daemon.address("s"), time.monotonic()
    home = ask(address)
    while time.monotonic() - began < 2.5:
        asked = time.monotonic()
        served = ask(address)
        if time.monotonic() - asked > 0.5:
            pytest.skip("this machine is too slow just now")
        assert served == home


# --- what does not end it ---

def test_reload(start, backends):
    """By name: another order, others added and removed, other options."""
    daemon = start(Daemon(config(backends), workers=2))
    before = homes(daemon)
    more = start(Backend("d"))
    for new in (config(backends[::-1]), config([more, *backends], connect_timeout="9s"),
                config(backends, scheduler="mh"), config(backends, persistence="1h")):
        daemon.reload(new)
        assert homes(daemon) == before
    daemon.reload(config([backend for backend in backends if backend.name != "b"]))
    for source, home in homes(daemon).items():
        assert home == before[source] if before[source] != "b" else home in ("a", "c")


def test_persistence_by_reload(start, backends):
    """Switched on: from then on. Switched off: no longer."""
    daemon = start(Daemon(config(backends, persistence="0s"), workers=1))
    daemon.reload(config(backends))
    assert len(set(ask_often(daemon.address("s"), 5))) == 1
    daemon.reload(config(backends, persistence="0s"))
    assert len(set(ask_often(daemon.address("s"), 5))) == 3


def test_worker_death(start, backends):
    """Its sessions end with it, their leases do not."""
    daemon = start(Daemon(config(backends), workers=2))
    before = homes(daemon)
    for source in SOURCES:
        start(Client(daemon.address("s"), source)).name()
    old = daemon.workers()
    for pid in old:
        daemon.kill_child(pid)
    wait_for(lambda: not set(old) & set(daemon.workers()), what="the workers' successors")
    wait_for(lambda: all(row["state"] == "running"
                         for row in daemon.ctl_json("show workers")["workers"]), what="them to run")
    assert homes(daemon) == before


@pytest.mark.parametrize("words", ["drain backend s {}", "set backend s {} weight=0"])
def test_drained_backend_keeps_its_clients(start, backends, words):
    daemon = start(Daemon(config(backends), workers=2))
    before = homes(daemon)
    change(daemon, words.format("b"))
    wait_state(daemon, "b", "draining")
    assert homes(daemon) == before
    new = homes(daemon, [f"127.0.1.{last}" for last in range(1, 13)])
    assert set(new.values()) == {"a", "c"}
    wait_at_rest(daemon)
    change(daemon, words.format("b").replace("drain", "ready").replace("weight=0", "weight=1"))
    assert homes(daemon) == before


# --- what does ---

def check_moved_for_good(daemon, before, back):
    """The clients of a have moved, nobody else; and stay where they are when a is back()."""
    after = homes(daemon)
    for source, home in before.items():
        assert after[source] in others_than("a") and (home == "a" or after[source] == home), source
    back()
    wait_state(daemon, "a", "up")
    assert homes(daemon) == after


def test_down(start, backends):
    daemon = start(Daemon(config(backends, checked=True), workers=2))
    wait_state(daemon, "abc", "up")
    before = homes(daemon)
    assert "a" in before.values()
    backends[0].sick()
    wait_state(daemon, "a", "down")
    check_moved_for_good(daemon, before, backends[0].well)


def test_maintenance(start, backends):
    daemon = start(Daemon(config(backends), workers=2))
    before = homes(daemon)
    assert "a" in before.values()
    change(daemon, "maintain backend s a")
    check_moved_for_good(daemon, before, lambda: change(daemon, "ready backend s a"))


def test_connect_fails(start, backends):
    """Unseen by the client: it is tried elsewhere and at home there."""
    daemon = start(Daemon(config(backends), workers=2))
    before = homes(daemon)
    assert "a" in before.values()
    backends[0].off()
    check_moved_for_good(daemon, before, backends[0].on)
    assert daemon.check_accounts("s")["connections_refused"] == 0


def test_full(start, backends):
    """No exception for those who know it: a client's second session goes elsewhere, the third
    there too."""
    daemon = start(Daemon(config(backends, {"a": {"max_connections": 1}}, scheduler="first"),
                          workers=2))
    address = daemon.address("s")
    with Client(address) as client:
        assert client.name() == "a"
        wait_state(daemon, "a", "full")
        assert ask(address) == "b"
    wait_state(daemon, "a", "up")
    assert ask(address) == "b"
    assert ask(address, "127.0.0.9") == "a"  # who has no lease goes where the scheduler says


def test_backup_and_fallback(start, backends):
    """A client that moved to a backup stays there (on_return = keep); one that the fallback pool
    has taken in comes back with the pool."""
    a, b, c = backends
    kept = {"a": {}, "b": {"backup": True}}
    daemon = start(Daemon(
        service("s", persistence="5m", fallback_pool="t")
        + pool_of("s", [a, b], kept, checked=True) + pool_of("t", [c])))
    address = daemon.address("s")
    wait_state(daemon, "a", "up")
    wait_state(daemon, "b", "standby")
    assert ask(address) == "a"
    a.sick()
    wait_state(daemon, "b", "up")
    assert ask(address) == "b"
    a.well()
    wait_state(daemon, "b", "standby")
    assert ask(address) == "b"
    assert ask(address, "127.0.0.9") == "a"
    a.sick(), b.sick()
    wait_state(daemon, "ab", "down")
    assert ask(address) == ask(address, "127.0.0.9") == "c"
    a.well(), b.well()
    wait_state(daemon, "a", "up")
    wait_state(daemon, "b", "standby")
    assert ask(address) == "a"


# --- telling ---

def test_explain_names_it(start, backends):
    daemon = start(Daemon(config(backends, options={"persistence_mask": 24}), workers=2))
    address = daemon.address("s")
    assert not has_lease(daemon, "127.0.5.1")
    with Client(address, "127.0.5.1") as client:
        assert client.name()
        told = explain(daemon, "127.0.5.99")
        assert told["backend"] == client.name() and told["certain"], told
        assert "127.0.5.0/24" in told["rule"] and "1 session live" in told["rule"], told
        assert {other["name"] for other in told["others"]} == others_than(client.name())
        assert all("lease" in other["why_not"] and client.name() in other["why_not"]
                   for other in told["others"]), told
    wait_at_rest(daemon)
    rule = explain(daemon, "127.0.5.1")["rule"]
    assert "lease ends in" in rule and "127.0.5.0/24" in rule, rule
