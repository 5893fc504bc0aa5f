"""Waiting for a place: who waits, in which order, how long, and what ends it; and rates."""

import os
import socket
import time

import pytest

from choosing import (Backend, Client, ask, change, find_pool, hold, own_source, pool_of,
                      ports_of_workers, stopped, wait_state)
from peers import Worker
from sluice import Daemon, Origin, amount, connect, load, pool, service, wait_for


@pytest.fixture
def backend(start):
    return start(Backend("a"))


def config(backends, settings=None, options=None, **pool_options):
    """By default one session at a time, everyone else waits."""
    settings = settings or {"a": {"max_connections": 1}}
    return service("s", **(options or {})) + pool_of(
        "s", backends, settings, **{"queue": 100, "queue_timeout": "60s", **pool_options})


def wait_queued(daemon, count):
    wait_for(lambda: find_pool(daemon)["queued"] == count, what=f"{count} to wait")


def wait_in_turn(start, daemon, count, first=0):
    """Clients that wait, each behind the one before; their words are their numbers."""
    clients = []
    address = daemon.address("s")
    before = find_pool(daemon)["queued"]
    for nth in range(count):
        clients.append(start(Client(address, word=str(first + nth))))
        wait_queued(daemon, before + nth + 1)
    return clients


def refused_by(daemon):
    row = daemon.check_accounts("s")
    return {reason: count for reason, count in row["refused_by"].items() if count}


def waiting(daemon):
    """Clients that wait, by worker."""
    return [row["waiting"] for row in daemon.ctl_json("show workers")["workers"]]


# --- many at once ---

@pytest.mark.parametrize("limits", [[50], [25, 25]])
def test_four_hundred_at_once(start, limits):
    """Limit 50, four workers: never more than 50 there, all served, in at most twice the time
    that eight rounds take."""
    clients, takes = 400, 0.4
    origin = start(Origin(*["http"] * len(limits)))
    daemon = start(Daemon(service("s") + pool("s", {
        name: {"address": address, "max_connections": limit}
        for name, address, limit in zip("ab", origin.addresses, limits)},
        queue=clients, queue_timeout="60s"), workers=4))
    report = load("crc", daemon.address("s"), "--requests", clients, "--connections", clients,
                  "--path", f"/slow/{int(takes * 1000)}")
    assert report["requests"] == clients
    assert report["elapsed_us"] / 1e6 < 2 * takes * clients / sum(limits)
    assert [origin.stats(nth)["peak"] for nth in range(len(limits))] == limits
    row = daemon.check_accounts("s")
    assert row["connections_total"] == clients and row["connections_refused"] == 0
    figures = find_pool(daemon)
    assert figures["queued"] == 0
    assert 100 < figures["queued_peak"] <= clients - sum(limits)


@pytest.mark.parametrize("limit", [1, 3])
def test_nobody_is_forgotten(start, limit):
    """Sessions so short that places come and go all the time: a waiter that missed its turn would
    wait in vain, as soon as no other comes to wake it."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("s") + pool("s", {
        "a": {"address": origin.addresses[0], "max_connections": limit}},
        queue=1000, queue_timeout="5s"), workers=4))
    for _ in range(amount(20, 5)):
        load("crc", daemon.address("s"), "--requests", amount(1000, 300), "--connections", 30,
             "--path", "/bytes/10")
    assert daemon.check_accounts("s")["connections_refused"] == 0
    assert origin.stats()["peak"] == limit
    assert find_pool(daemon)["queued_peak"] > 0


def test_arrival_and_release_at_once(start):
    """A place is given back just as somebody comes to wait for it, with nobody else to wake him: he
    looks once more after he can be seen."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", {
        "a": {"address": origin.addresses[0], "max_connections": 1}},
        queue=10, queue_timeout="5s"), workers=4))
    address = daemon.address("s")
    held = Client(address)
    for nth in range(amount(10000, 2000)):
        assert held.name() == "hello", nth
        held.close()
        until = time.perf_counter() + nth % 40 * 1e-5  # sweeps over the moment of the release
        while time.perf_counter() < until:
            pass
        held = Client(address)
    with held:
        assert held.name() == "hello"
    assert find_pool(daemon)["queued_peak"] == 1


# --- order ---

@pytest.mark.parametrize("workers", [1, 4])
def test_first_come_first_served(start, backend, workers):
    daemon = start(Daemon(config([backend]), workers=workers))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 12)
    assert len([count for count in waiting(daemon) if count]) >= min(workers, 2)
    for nth, client in enumerate([*held, *clients[:-1]]):
        client.close()
        assert clients[nth].name() == "a"
    assert backend.words == ["hello", *(str(nth) for nth in range(12))]
    assert backend.peak == 1


def test_newcomers_go_behind(start, backend):
    """A place that is free belongs to who waits, even while its worker is slow to take it: a new
    client of another worker does not overtake."""
    daemon = start(Daemon(config([backend]), workers=2))
    address = daemon.address("s")
    ports = ports_of_workers(daemon, address)
    held = start(Client(address, own_source(), port=ports[0][0]))
    assert held.name() == "a"
    early = start(Client(address, own_source(), "early", ports[1][0]))
    wait_queued(daemon, 1)
    began = time.monotonic()
    with stopped(daemon, 1):
        held.close()
        wait_for(lambda: backend.active == 0, what="a free place")
        late = start(Client(address, own_source(), "late", ports[0][1]))
        wait_for(lambda: waiting(daemon)[0] == 1 or backend.active, what="it to wait")
        served, took = backend.active, time.monotonic() - began
    # One that stands still for too long is passed over.
    assert served == 0 or took > 1, took
    if took < 1:
        assert early.name() == "a"
        early.close()
        assert late.name() == "a"
        assert backend.words[-2:] == ["early", "late"]


def test_waiters_of_a_worker_that_stands_still(start, backend):
    """They are passed over, and get their turn when it goes on, without any other event."""
    daemon = start(Daemon(config([backend], {"a": {"max_connections": 2,
                                                   "resume_connections": 2}}), workers=2))
    address = daemon.address("s")
    ports = ports_of_workers(daemon, address, 3)
    held = [start(Client(address, own_source(), port=port)) for port in ports[0][:2]]
    assert [client.name() for client in held] == ["a", "a"]
    early = start(Client(address, own_source(), "early", ports[1][0]))
    wait_queued(daemon, 1)
    late = start(Client(address, own_source(), "late", ports[0][2]))
    wait_queued(daemon, 2)
    pid = daemon.workers()[1]
    with stopped(daemon, 1):
        wait_for(lambda: daemon.workers()[1] != pid or
                 daemon.ctl_json("show workers")["workers"][1]["heartbeat_age_ms"] > 1600,
                 what="it to count as standing still")
        for client in held:
            client.close()
        assert late.name() == "a"
    if early.name() != "a":  # the watchdog was quicker
        wait_for(lambda: daemon.workers()[1] != pid, what="its successor")


# --- limits of the queue ---

def test_queue_full(start, backend):
    daemon = start(Daemon(config([backend], queue=2), workers=3))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 2)
    assert [ask(daemon.address("s")) for _ in range(3)] == ["", "", ""]
    assert find_pool(daemon)["queued"] == find_pool(daemon)["queued_peak"] == 2
    for nth, client in enumerate(held + clients[:1]):
        client.close()
        assert clients[nth].name() == "a"
    clients[1].close()
    assert refused_by(daemon) == {"queue_full": 3}


def test_queue_timeout(start, backend):
    daemon = start(Daemon(config([backend], queue_timeout="400ms"), workers=2))
    held = hold(start, daemon.address("s"), 1)
    began = time.monotonic()
    clients = [start(Client(daemon.address("s"))) for _ in range(3)]
    assert [client.name() for client in clients] == ["", "", ""]
    assert 0.38 < time.monotonic() - began < 20
    assert find_pool(daemon)["queued"] == sum(waiting(daemon)) == 0
    held[0].close()
    assert refused_by(daemon) == {"queue_timeout": 3}
    assert backend.total() == 1


def test_no_queue(start, backend):
    daemon = start(Daemon(config([backend], queue=0)))
    held = hold(start, daemon.address("s"), 1)
    assert ask(daemon.address("s")) == ""
    held[0].close()
    assert refused_by(daemon) == {"full": 1}


def test_queue_taken_away_by_reload(start, backend):
    """Who waits is refused then, and nothing is left behind."""
    daemon = start(Daemon(config([backend])))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 3)
    daemon.reload(config([backend], queue=0))
    assert [client.name() for client in clients] == ["", "", ""]
    held[0].close()
    assert refused_by(daemon) == {"full": 3}
    assert find_pool(daemon)["queued"] == 0


# --- who leaves ---

def test_clients_that_leave_take_no_place(start, backend):
    daemon = start(Daemon(config([backend]), workers=2))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 5)
    for gone in clients[0], clients[1], clients[3]:
        gone.reset()
    held[0].close()
    assert clients[2].name() == "a"
    clients[2].close()
    assert clients[4].name() == "a"
    clients[4].close()
    assert refused_by(daemon) == {"client_gone": 3}
    assert backend.words == ["hello", "2", "4"]


def test_who_left_holds_no_place_of_the_queue(start, backend):
    """By a reset, or by an end before a single word; one who ended after a word may be asking."""
    daemon = start(Daemon(config([backend], queue=3), workers=2))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 2)
    silent = start(connect(daemon.address("s")))
    wait_queued(daemon, 3)
    silent.close()
    wait_queued(daemon, 2)
    clients[0].reset()
    wait_queued(daemon, 1)
    clients[1].sock.shutdown(socket.SHUT_WR)
    clients += wait_in_turn(start, daemon, 2, first=2)
    held[0].close()
    for client in clients[1:]:
        assert client.name() == "a"
        client.close()
    assert refused_by(daemon) == {"client_gone": 2}


def test_stop_while_clients_wait(start, backend):
    """They wait on until the deadline; nothing leaks."""
    daemon = start(Daemon(config([backend]), drain_timeout="300ms"))
    hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 4)
    assert daemon.stop() == 0
    assert [client.name() for client in clients] == [""] * 4


def test_stop_serves_those_who_wait(start, backend):
    daemon = start(Daemon(config([backend]), drain_timeout="30s"))
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 2)
    stopping = Worker(daemon.stop)
    wait_for(lambda: "stopping" in daemon.log() or not stopping.is_alive(), what="the stop")
    for nth, client in enumerate(held + clients[:1]):
        client.close()
        assert clients[nth].name() == "a"
    clients[1].close()
    assert stopping.result() == 0


# --- what makes room ---

@pytest.mark.parametrize("low,high", [(1, 3), (8, 9)])
def test_limit_raised_by_command(start, backend, low, high):
    """At once, also where it had to have fewer sessions before it resumes under the new limit."""
    daemon = start(Daemon(config([backend], {"a": {"max_connections": low}}), workers=3))
    hold(start, daemon.address("s"), low)
    clients = wait_in_turn(start, daemon, 3)
    more = high - low
    change(daemon, f"set backend s a max_connections={high}")
    wait_queued(daemon, 3 - more)
    assert [client.name() for client in clients[:more]] == ["a"] * more
    assert backend.peak == high
    change(daemon, "set backend s a max_connections=0")
    assert [client.name() for client in clients[more:]] == ["a"] * (3 - more)


def test_limit_lowered_by_command(start, backend):
    """Sessions stay; nobody new comes until there are fewer than the new limit allows."""
    daemon = start(Daemon(config([backend], {"a": {"max_connections": 4}})))
    held = hold(start, daemon.address("s"), 4)
    change(daemon, "set backend s a max_connections=2 resume_connections=2")
    clients = wait_in_turn(start, daemon, 1)
    held[0].close(), held[1].close()
    wait_for(lambda: daemon.backend("s", "a")["connections_active"] == 2, what="two to end")
    assert find_pool(daemon)["queued"] == 1
    held[2].close()
    assert clients[0].name() == "a"
    assert held[3].again() == "a"


def test_backend_that_comes_up(start, backend):
    other = start(Backend("b"))
    other.sick()
    daemon = start(Daemon(config([backend, other], checked=True), workers=3))
    wait_state(daemon, "b", "down")
    wait_state(daemon, "a", "up")
    hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 4)
    other.well()
    assert [client.name() for client in clients] == list("bbbb")


def test_backend_that_is_made_ready(start, backend):
    other = start(Backend("b"))
    daemon = start(Daemon(config([backend, other], {"a": {"max_connections": 1},
                                                    "b": {"admin": "maintenance"}}), workers=3))
    hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 4)
    change(daemon, "ready backend s b")
    assert [client.name() for client in clients] == list("bbbb")


def test_backend_that_goes_down_under_waiters(start, backend):
    """With nobody left to wait for, they are told."""
    daemon = start(Daemon(config([backend], checked=True), workers=2))
    wait_state(daemon, "a", "up")
    held = hold(start, daemon.address("s"), 1)
    clients = wait_in_turn(start, daemon, 2)
    backend.sick()
    assert [client.name() for client in clients] == ["", ""]
    held[0].close()
    assert refused_by(daemon) == {"no_backend": 2}


def test_failed_backend_is_not_tried_again_and_again(start, backend):
    """One refuses connections, unseen by any check, the other is full: the client waits for that
    one, instead of spending its tries on the first."""
    broken = start(Backend("b"))
    broken.off()
    daemon = start(Daemon(config([backend, broken], retries=1), workers=1))
    with Client(daemon.address("s")) as client:
        assert client.name() == "a"
        clients = wait_in_turn(start, daemon, 2)
        failures = daemon.backend("s", "b")["connect_failures"]
        assert failures <= 3, failures
    assert clients[0].name() == "a"
    clients[0].close()
    assert clients[1].name() == "a"
    clients[1].close()
    assert refused_by(daemon) == {}


def test_one_who_cannot_use_what_is_free_holds_up_nobody(start, backend):
    """He has tried it in vain, waits for the other, and has one more try after a while."""
    broken = start(Backend("b"))
    broken.off()
    daemon = start(Daemon(config([backend, broken]), workers=2))
    held = hold(start, daemon.address("s"), 1)
    first, = wait_in_turn(start, daemon, 1)
    broken.on()
    began = time.monotonic()
    with Client(daemon.address("s")) as client:
        assert client.name() == "b"
    assert first.name() == "b"
    assert time.monotonic() - began < 30
    for client in held[0], first:
        client.close()
    assert refused_by(daemon) == {}


def test_full_pools_cost_nothing(start, backend):
    """Waiters of several pools on several workers: as long as nothing happens, nobody works."""
    others = [start(Backend("a")) for _ in range(2)]
    names = "s", "t", "u"
    daemon = start(Daemon("".join(
        service(name) + pool_of(name, [backend], {"a": {"max_connections": 1}},
                                queue=100, queue_timeout="60s")
        for name, backend in zip(names, [backend, *others])), workers=3))
    for name in names:
        hold(start, daemon.address(name), 1)
    for nth in range(12):
        for name in names:
            start(Client(daemon.address(name)))
            wait_for(lambda: find_pool(daemon, name)["queued"] == nth + 1, what="it to wait")
    ticks = os.sysconf("SC_CLK_TCK")

    def used():
        return [sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))
                / ticks for pid in daemon.workers()]
    before, began = used(), time.monotonic()
    while time.monotonic() - began < 1:
        time.sleep(0.1)
    busy = [(after - at) / (time.monotonic() - began) for at, after in zip(before, used())]
    assert max(busy) < 0.1, busy


def test_worker_death_makes_room(start, backend):
    """The sessions of a killed worker leave places, and the waiters of others get them."""
    limit = 6
    daemon = start(Daemon(config([backend], {"a": {"max_connections": limit,
                                                   "resume_connections": limit}}), workers=2))
    address = daemon.address("s")

    def held_by(worker):
        rows = daemon.ctl_json("show workers")["workers"]
        return rows[worker]["connections_active"] - rows[worker]["waiting"]
    for _ in range(100):
        held = hold(start, address, limit)
        if held_by(0) and held_by(1):
            break
        for client in held:
            client.close()
        wait_for(lambda: daemon.stats()["connections_active"] == 0, what="them to end")
    clients = []
    while min(waiting(daemon)) < 1:
        clients += wait_in_turn(start, daemon, 1)
    freed, others = held_by(0), waiting(daemon)[1]
    daemon.kill_child(daemon.workers()[0])
    expected = min(freed, others)
    wait_for(lambda: backend.total() >= limit + expected, what="the others' waiters to be served")
    wait_for(lambda: waiting(daemon)[1] == others - expected, what="so many to wait no more")
    assert sum(client.again() != "a" for client in held) == freed


# --- hysteresis ---

def test_resume_connections(start, backend):
    """Full at four, again under two: in between it depends on where it comes from."""
    limits = {"a": {"max_connections": 4, "resume_connections": 2}}
    daemon = start(Daemon(config([backend], limits, queue=0), workers=3))
    address = daemon.address("s")

    def active_is(count):
        wait_for(lambda: daemon.backend("s", "a")["connections_active"] == count,
                 what=f"{count} sessions")
    held = hold(start, address, 3)
    assert daemon.backend("s", "a")["state"] == "up"
    held += hold(start, address, 1)
    row = wait_state(daemon, "a", "full")
    assert "4 of 4" in row["reason"] and "under 2" in row["reason"], row["reason"]
    for left in (3, 2):
        held.pop().close()
        active_is(left)
        assert daemon.backend("s", "a")["state"] == "full"
        assert ask(address) == ""
    held.pop().close()
    active_is(1)
    assert daemon.backend("s", "a")["state"] == "up"
    hold(start, address, 3)
    wait_state(daemon, "a", "full")


def test_waiters_and_resume_connections(start, backend):
    daemon = start(Daemon(config([backend], {"a": {"max_connections": 4,
                                                   "resume_connections": 2}}), workers=3))
    held = hold(start, daemon.address("s"), 4)
    clients = wait_in_turn(start, daemon, 5)
    for left in (3, 2):
        held.pop().close()
        wait_for(lambda: daemon.backend("s", "a")["connections_active"] == left,
                 what=f"{left} sessions")
        assert find_pool(daemon)["queued"] == 5
    held.pop().close()
    assert [client.name() for client in clients[:3]] == list("aaa")
    wait_queued(daemon, 2)
    assert backend.peak == 4


# --- rates ---

def most_within(times, seconds):
    """The largest number of events within any window of that length."""
    return max(sum(1 for other in times if begin <= other < begin + seconds) for begin in times)


def test_connect_rate(start, backend):
    """Twenty a second and no more, though forty came at once; the queue drains with no other
    event, as none of the sessions ends."""
    daemon = start(Daemon(config([backend], {"a": {"connect_rate": "20/s:1"}}), workers=3))
    clients = [start(Client(daemon.address("s"))) for _ in range(40)]
    assert [client.name() for client in clients] == ["a"] * 40
    took = backend.began[-1] - backend.began[0]
    assert 1.8 < took < 15, took  # 39 intervals of 50 ms
    assert most_within(backend.began, 0.5) <= 14, backend.began
    assert find_pool(daemon)["queued"] == 0 and find_pool(daemon)["queued_peak"] >= 20


def test_connect_rate_with_burst(start, backend):
    """Ten at once, then each at its time."""
    daemon = start(Daemon(config([backend], {"a": {"connect_rate": "10/s:10"}}), workers=2))
    clients = [start(Client(daemon.address("s"))) for _ in range(15)]
    assert [client.name() for client in clients] == ["a"] * 15
    began = [when - backend.began[0] for when in backend.began]
    assert began[14] > 0.4, began
    assert 10 <= most_within(backend.began, 0.3) <= 14 or began[9] > 0.3, began


def test_connect_rate_passes_over(start, backend):
    """Beyond its rate a backend counts as full for the moment: others serve, or nobody does."""
    other = start(Backend("b"))
    daemon = start(Daemon(config([backend, other], {"a": {"connect_rate": "1/m:2"}}, queue=0,
                                 scheduler="first"), workers=3))
    address = daemon.address("s")
    assert "".join(ask(address) for _ in range(5)) == "aabbb"
    change(daemon, "set backend s b connect_rate=1/m:1")
    assert {ask(address) for _ in range(3)} <= {"b", ""}
    assert ask(address) == ""
    assert set(refused_by(daemon)) == {"full"}


def test_accept_rate(start, backend):
    """Delays and refuses nobody: the n-th client comes n intervals later."""
    daemon = start(Daemon(config([backend], {"a": {}}, {"accept_rate": "20/s:1"}), workers=3))
    address, began = daemon.address("s"), time.monotonic()
    clients = [start(Client(address)) for _ in range(30)]
    assert [client.name() for client in clients] == ["a"] * 30
    took = time.monotonic() - began
    assert 1.35 < took < 15, took
    assert most_within(backend.began, 0.5) <= 14, backend.began
    for client in clients:
        client.close()
    row = daemon.check_accounts("s")
    assert row["connections_total"] == 30 and row["connections_refused"] == 0


def test_accept_rate_taken_away(start, backend):
    """Who is still kept waiting is let in at once."""
    slow, none = ({"accept_rate": rate} for rate in ("1/h:2", "none"))
    daemon = start(Daemon(config([backend], {"a": {}}, slow), workers=2))
    clients = [start(Client(daemon.address("s"))) for _ in range(6)]
    wait_for(lambda: backend.total() == 2, what="the first two")
    daemon.reload(config([backend], {"a": {}}, none))
    assert [client.name() for client in clients] == ["a"] * 6
