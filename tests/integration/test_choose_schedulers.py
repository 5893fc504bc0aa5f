"""Every scheduler by what its clients see: who gets them, in which shares, and who stays where."""

import collections
import re
import time

import pytest

import sluice
from choosing import (Backend, Client, ask, ask_often, busy_workers, change, count_names, hold,
                      pool_of, wait_state)
from peers import Server
from sluice import CtlError, Daemon, Origin, connect, pool, run, service, wait_for

BY_TURN = ("rr", "wrr")
BY_LOAD = ("lc", "wlc", "sed", "nq")
BY_CHANCE = ("random", "p2c", "twos", "least_time")
BY_ORDER = ("first", "fo", "ovf")
BY_CLIENT = ("sh", "mh", "maglev", "maglev_bounded")
BY_DESTINATION = ("dh", "lblc", "lblcr")
ALL = BY_TURN + BY_LOAD + BY_CHANCE + BY_ORDER + BY_CLIENT + BY_DESTINATION
SOURCES = [f"127.0.0.{last}" for last in range(2, 32)]


@pytest.fixture
def backends(start):
    """start three: a, b, c"""
    return [start(Backend(name)) for name in "abc"]


def services(names, backends, settings=None, listen=("127.0.0.1:0",), **options):
    """One service and pool for each scheduler, all with the same backends."""
    return "".join(service(name, listen=listen)
                   + pool_of(name, backends, settings, scheduler=name, **options)
                   for name in names)


def listed(daemon):
    """Where each service listens, by its name: one look for all."""
    return {row["name"]: row["listen"][0] for row in daemon.stats()["services"]}


def homes(address, sources=None):
    """Which backend each client gets."""
    return {source: ask(address, source) for source in sources or SOURCES}


# --- the table ---

def refusal(folder, config):
    """What sluiced -t says against a configuration."""
    path = folder / "sluice.conf"
    path.write_text(config)
    result = run([sluice.SLUICED, "-t", "-c", path], check=False)
    assert result.returncode == 1, result
    return result.stdout + result.stderr


@pytest.mark.parametrize("wrong,nearest", [("maglv", "maglev"), ("lblcc", "lblc"), ("wlcc", "wlc"),
                                           ("least-time", "least_time")])
def test_unknown_scheduler(folder, wrong, nearest):
    text = refusal(folder, service("s") + pool("s", ["127.0.0.1:1"], scheduler=wrong))
    assert re.search(rf'sluice\.conf:\d+: .*scheduler.*"{wrong}": unknown.*"{nearest}"', text), text


def test_table_is_complete(folder):
    """A name that resembles none is answered with all of them."""
    text = refusal(folder, service("s") + pool("s", ["127.0.0.1:1"], scheduler="0123456789"))
    known = re.findall(r'"(\w+)"', text.split("write one of", 1)[1])
    assert sorted(known) == sorted(ALL)


def test_unknown_scheduler_by_reload(start, backends):
    daemon = start(Daemon(services(["rr"], backends)))
    daemon.write(service("rr") + pool_of("rr", backends, scheduler="rrr"))
    with pytest.raises(CtlError, match="fault"):
        daemon.ctl_json("reload")
    assert set(ask_often(daemon.address("rr"))) == set("abc")


def test_every_scheduler_serves(start, backends):
    """One after the other, each over before the next: the idle spread, the fixed ones do not."""
    daemon = start(Daemon(services(ALL, backends), workers=3))
    addresses = listed(daemon)
    for name in ALL:
        served = []
        for source in SOURCES:
            served.append(ask(addresses[name], source))
            if name in BY_ORDER or name in BY_DESTINATION:  # they look at who has sessions
                wait_for(lambda: daemon.service(name)["connections_active"] == 0, what="its end")
        assert set(served) <= set("abc"), (name, served)
        if name in BY_ORDER:
            assert set(served) == {"a"}, name
        elif name in BY_DESTINATION:
            assert len(set(served)) == 1, name
        else:
            assert len(set(served)) > 1, name
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="all to end")
    for name in ALL:
        row = daemon.service(name)
        assert row["connections_total"] == len(SOURCES) and not row["connections_refused"], row
    assert busy_workers(daemon) == 3


def test_reload_to_another_scheduler(start, backends):
    """Sessions stay, new ones go by the new rule."""
    def config(name):
        return service("s") + pool_of("s", backends, scheduler=name)
    daemon = start(Daemon(config("rr")))
    held = hold(start, daemon.address("s"), 3)
    for name in ("first", "wlc", "mh", "first", "least_time", "rr"):
        daemon.reload(config(name))
        served = set(ask_often(daemon.address("s"), 8))
        if name != "least_time":  # to which one may well be faster than the others for so long
            assert (len(served) == 1) == (name in ("first", "mh")), (name, served)
        assert served == {"a"} or name != "first"
    assert all(client.again() == client.name() for client in held)


# --- shares ---

def check_shares(served, weights, slack):
    total, sum_of_weights = sum(served.values()), sum(weights.values())
    for name, weight in weights.items():
        assert abs(served[name] - total * weight / sum_of_weights) <= slack, (served, slack)


def test_shares_of_held_sessions(start, backends):
    """Four workers, sixty sessions: by weight where weights count, else alike.

    By load the count is exact, as all workers see it. By turn each worker is off by less than one
    for each backend. By chance: five standard deviations.
    """
    weights = {"a": 3, "b": 2, "c": 1}
    alike = dict.fromkeys("abc", 1)
    names = BY_TURN + BY_LOAD + ("p2c", "random")
    daemon = start(Daemon(services(names, backends, {
        name: {"weight": weight} for name, weight in weights.items()}), workers=4))
    addresses = listed(daemon)
    for name in names:
        held = hold(start, addresses[name], 60)
        check_shares(count_names(held), alike if name in ("rr", "lc") else weights,
                     {"p2c": 10, "random": 20}.get(name, 4 if name in BY_TURN else 1))
        for client in held:
            client.close()
    assert busy_workers(daemon) == 4


def test_least_load_catches_up(start, backends):
    """Whose sessions have ended gets the next ones."""
    daemon = start(Daemon(services(["wlc", "lc"], backends), workers=3))
    for name, address in listed(daemon).items():
        held = hold(start, address, 12)
        assert set(count_names(held).values()) == {4}
        of_b = [client for client in held if client.name() == "b"]
        for client in of_b:
            client.close()
        wait_for(lambda: daemon.backend(name, "b")["connections_active"] == 0, what="b to be idle")
        assert count_names(hold(start, address, 4)) == {"b": 4}


def test_smooth_turns(start, backends):
    """The order of 5:1:1 is a a b a c a a, not aaaaabc."""
    daemon = start(Daemon(services(["wrr", "rr"], backends, {"a": {"weight": 5}}), workers=1))
    assert "".join(ask_often(daemon.address("wrr"), 14)) == 2 * "aabacaa"
    assert "".join(ask_often(daemon.address("rr"), 6)) == 2 * "abc"


def test_never_queue_prefers_the_idle(start, backends):
    """nq: a light but idle backend before a heavy one that has a session."""
    daemon = start(Daemon(services(["nq", "sed"], backends, {"a": {"weight": 100}})))
    addresses = listed(daemon)
    assert count_names(hold(start, addresses["nq"], 3)) == {"a": 1, "b": 1, "c": 1}
    assert count_names(hold(start, addresses["sed"], 3)) == {"a": 3}


def test_weight_zero_gets_nothing(start, backends):
    daemon = start(Daemon(services(ALL, backends, {"a": {"weight": 0}})))
    for name, address in listed(daemon).items():
        assert set(ask_often(address, 6)) <= set("bc"), name


# --- by order ---

def test_first_fills_one_after_the_other(start, backends):
    daemon = start(Daemon(
        services(["first"], backends, {"a": {"max_connections": 3}, "b": {"max_connections": 2}})
        + service("heavy") + pool_of("heavy", backends, {"c": {"weight": 2, "max_connections": 2}},
                                     scheduler="first"), workers=3))
    held = hold(start, daemon.address("first"), 7)
    assert "".join(client.name() for client in held) == "aaabbcc"
    for client in held[:3]:
        client.close()
    wait_state(daemon, "a", "up", "first")
    assert ask(daemon.address("first")) == "a"
    held = hold(start, daemon.address("heavy"), 4)
    assert "".join(client.name() for client in held) == "ccaa"


def test_overflow_by_weight(start, backends):
    """ovf: as many as its weight, then the next; over all of them nobody is refused."""
    daemon = start(Daemon(services(["ovf"], backends, {"a": {"weight": 3}, "b": {"weight": 2}}),
                          workers=3))
    held = hold(start, daemon.address("ovf"), 6)
    assert "".join(client.name() for client in held) == "aaabbc"
    check_shares(count_names(held + hold(start, daemon.address("ovf"), 6)),
                 {"a": 3, "b": 2, "c": 1}, 1)


# --- by the client's address ---

@pytest.fixture
def five(start):
    return [start(Backend(name)) for name in "abcde"]


def test_clients_keep_their_backend(start, five):
    """In all workers, through reloads, and after a restart with the same hash_seed only."""
    names = ("sh", "mh", "maglev", "dh")

    def config(**options):
        return services(names, five, listen=("0.0.0.0:0",), **options)

    def all_homes(daemon):
        port = {name: address.rpartition(":")[2] for name, address in listed(daemon).items()}
        found = {name: homes(f"127.0.0.1:{port[name]}") for name in names if name != "dh"}
        return {**found, "dh": {source: ask(f"{source}:{port['dh']}") for source in SOURCES}}
    daemon = start(Daemon(config(), workers=3, hash_seed="one"))
    first = all_homes(daemon)
    for name in names:
        assert len(set(first[name].values())) > 2, first[name]
    assert all_homes(daemon) == first
    assert busy_workers(daemon) == 3
    daemon.reload(config(connect_timeout="7s"))
    assert all_homes(daemon) == first
    assert daemon.stop() == 0
    again = start(Daemon(config(), workers=2, hash_seed="one"))
    assert all_homes(again) == first
    assert again.stop() == 0
    other = start(Daemon(config(), workers=2, hash_seed="two"))
    second = all_homes(other)
    assert all(second[name] != first[name] for name in names)


def test_only_the_clients_of_the_dead_move(start, five):
    """And they spread over all others; when it is back everyone is where he was."""
    names = ("sh", "mh")
    daemon = start(Daemon(services(names, five, checked=True), workers=3, hash_seed="seed"))
    addresses = listed(daemon)
    for name in names:
        wait_state(daemon, "abcde", "up", name)
    before = {name: homes(addresses[name]) for name in names}
    five[1].sick()
    for name in names:
        wait_state(daemon, "b", "down", name)
        moved = set()
        for source, home in homes(addresses[name]).items():
            assert home != "b"
            if before[name][source] == "b":
                moved.add(home)
            else:
                assert home == before[name][source], (name, source)
        assert len(moved) > 1, (name, before[name])
    five[1].well()
    for name in names:
        wait_state(daemon, "b", "up", name)
        assert homes(addresses[name]) == before[name]


def test_drained_and_full_backends_are_passed_over(start, five):
    """The client of a full backend always gets the same other one, and returns."""
    daemon = start(Daemon(services(["mh"], five, {
        backend.name: {"max_connections": 1, "resume_connections": 1} for backend in five}),
        workers=3))
    address = daemon.address("mh")
    home = ask(address)
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="it to end")
    with Client(address) as client:
        assert client.name() == home
        seconds = set()
        for _ in range(6):
            seconds.add(ask(address))
            wait_for(lambda: daemon.stats()["connections_active"] == 1, what="it to end")
        assert len(seconds) == 1 and home not in seconds
    wait_state(daemon, home, "up", "mh")
    assert ask(address) == home
    wait_for(lambda: daemon.stats()["connections_active"] == 0, what="it to end")
    change(daemon, f"drain backend mh {home}")
    assert ask(address) in seconds


def test_source_port(start, five):
    """hash_key = source_port spreads one address; the same port is the same client."""
    daemon = start(Daemon(services(["mh"], five, hash_key="source_port")
                          + services(["sh"], five)
                          + service("plain") + pool_of("plain", five, scheduler="mh"), workers=3))
    addresses = listed(daemon)
    served = collections.Counter(ask_often(addresses["mh"], 40, "127.0.0.9"))
    assert len(served) == 5 and max(served.values()) < 30, served
    for name in ("sh", "plain"):
        assert len(set(ask_often(addresses[name], 20, "127.0.0.9"))) == 1
    with Client(addresses["mh"], "127.0.0.9") as client:
        port, home = client.sock.getsockname()[1], client.name()
        client.reset()  # no TIME_WAIT: the port is free at once
    for _ in range(5):
        with Client(addresses["mh"], "127.0.0.9", port=port) as client:
            assert client.name() == home
            client.reset()


def test_bounded_loads(start, five):
    """One address, forty sessions: nobody has more than 1.25 times its share. Alone, a client is
    always with the same one."""
    daemon = start(Daemon(services(["mh", "maglev_bounded"], five[:4]), workers=3))
    addresses = listed(daemon)
    assert len(count_names(hold(start, addresses["mh"], 40))) == 1
    held = hold(start, addresses["maglev_bounded"], 40)
    served = count_names(held)
    assert len(served) == 4 and max(served.values()) <= 13, served  # 1.25 * 40 / 4, rounded up
    for client in held:
        client.close()
    seen = set()
    for _ in range(5):
        wait_for(lambda: daemon.service("maglev_bounded")["connections_active"] == 0, what="rest")
        seen.add(ask(addresses["maglev_bounded"]))
    assert len(seen) == 1


# --- by destination ---

@pytest.mark.parametrize("name", BY_DESTINATION)
def test_destinations_keep_their_backend(start, five, name):
    """Whoever asks, the address asked for decides."""
    daemon = start(Daemon(services([name], five, listen=("0.0.0.0:0",)), workers=3))
    port = daemon.address(name).rpartition(":")[2]

    def ask_at_rest(place, source=None):
        """Two at a time are overload where every weight is 1, and that moves them."""
        wait_for(lambda: daemon.service(name)["connections_active"] == 0, what="rest")
        return ask(f"{place}:{port}", source)
    first = {place: ask_at_rest(place) for place in SOURCES}
    assert len(set(first.values())) > 2, first
    for source in ("127.0.0.40", "127.0.0.41"):
        assert {place: ask_at_rest(place, source) for place in SOURCES} == first
    change(daemon, f"drain backend {name} c")
    for place, home in first.items():
        assert (ask_at_rest(place) == home) == (home != "c"), place


# --- by response time ---

def test_least_time(start):
    """The quick one of two gets nearly all; the slow one has to be tried to be known."""
    quick, slow = start(Backend("quick")), start(Backend("slow", delay=0.3))
    daemon = start(Daemon(services(["least_time"], [slow, quick]), workers=2))
    served = collections.Counter(ask_often(daemon.address("least_time"), 30))
    assert served["quick"] >= 24 and 1 <= served["slow"] <= 6, served


def test_least_time_of_those_that_speak_first(start):
    """Their first byte is waited for from the connection on: nobody has asked for it."""
    def greet_late(sock):
        time.sleep(0.2)
        sock.sendall(b"late")
    quick, late = start(Origin("chargen", options=("--send", "10"))), start(Server(greet_late))
    daemon = start(Daemon(service("s") + pool("s", [late.address, quick.addresses[0]],
                                              scheduler="least_time"), workers=2))
    served = collections.Counter()
    for _ in range(30):
        with connect(daemon.address("s")) as sock:
            served[sock.recv(4) == b"late"] += 1
    assert served[False] >= 24 and served[True] >= 1, served
