"""explain: what it says is what the next client of that address gets, and why nobody else."""

import collections

import pytest

from choosing import (Backend, Client, ask, ask_often, change, explain, hold, pool_of, wait_state)
from sluice import SLUICECTL, CtlError, Daemon, run, service, wait_for

SOURCES = [f"127.0.0.{last}" for last in range(2, 22)]


@pytest.fixture
def backends(start):
    return [start(Backend(name)) for name in "abc"]


def config(backends, settings=None, options=None, **pool_options):
    return service("s", **(options or {})) + pool_of("s", backends, settings, **pool_options)


def whys(told):
    return {other["name"]: other["why_not"] for other in told["others"]}


def check_shape(told, client, names="abc"):
    """As the interface promises it."""
    assert set(told) >= {"service", "client", "backend", "certain", "rule", "others"}, told
    assert told["service"] == "s" and told["client"] == client
    assert isinstance(told["certain"], bool) and told["rule"], told
    listed = [other["name"] for other in told["others"]]
    assert listed == [name for name in names if name != told["backend"]]
    assert all(set(other) >= {"name", "why_not"} and other["why_not"] for other in told["others"])


# --- it is true ---

@pytest.mark.parametrize("scheduler", ["mh", "sh", "maglev_bounded", "dh", "first", "ovf"])
def test_certain_rules(start, backends, scheduler):
    """For every address it says beforehand whom it will get, and asking changes nothing."""
    daemon = start(Daemon(config(backends, scheduler=scheduler), workers=3))
    address = daemon.address("s")
    for source in SOURCES:
        told = explain(daemon, source)
        check_shape(told, source)
        assert told["certain"] or scheduler == "dh", told
        assert explain(daemon, source) == told
        assert ask(address, source) == told["backend"], told
        wait_for(lambda: daemon.stats()["connections_active"] == 0, what="it to end")


def test_destination_is_asked_for(start, backends):
    """Not certain until it is said which address the client connects to."""
    daemon = start(Daemon(config(backends, scheduler="dh",
                                 options={"listen": ["0.0.0.0:0"]}), workers=2))
    port = daemon.address("s").rpartition(":")[2]
    assert not explain(daemon, "127.0.0.1")["certain"]
    told = {place: explain(daemon, "127.0.0.1", words=f"to={place}") for place in SOURCES}
    assert all(answer["certain"] for answer in told.values())
    assert len({answer["backend"] for answer in told.values()}) == 3
    for place, answer in told.items():
        assert ask(f"{place}:{port}") == answer["backend"]


def test_source_port(start, backends):
    """With a port it is certain, without it is not."""
    daemon = start(Daemon(config(backends, scheduler="mh", hash_key="source_port"), workers=2))
    address = daemon.address("s")
    assert not explain(daemon, "127.0.0.5")["certain"]
    seen = set()
    for _ in range(12):
        with Client(address, "127.0.0.5") as client:
            told = explain(daemon, "127.0.0.5:%d" % client.sock.getsockname()[1])
            assert told["certain"] and told["backend"] == client.name(), told
            seen.add(told["backend"])
    assert len(seen) > 1


@pytest.mark.parametrize("scheduler", ["wlc", "lc"])
def test_least_loaded(start, backends, scheduler):
    """Of all workers' sessions; the figures are in the answer. Two that are equal: not certain."""
    daemon = start(Daemon(config(backends, scheduler=scheduler), workers=3))
    address = daemon.address("s")
    told = explain(daemon, "127.0.0.1")
    assert not told["certain"] and "2 others are as little loaded" in told["rule"], told
    for name in "abc":
        held = hold(start, address, 6)
        for client in held:
            if client.name() == name:
                client.close()
        wait_for(lambda: daemon.backend("s", name)["connections_active"]
                 < min(daemon.backend("s", other)["connections_active"] for other in "abc"
                       if other != name), what=f"{name} to have fewest")
        told = explain(daemon, "127.0.0.1")
        assert told["backend"] == name and told["certain"], told
        assert all("more loaded" in why for why in whys(told).values()), told
        assert ask(address) == name
        wait_for(lambda: daemon.backend("s", name)["connections_active"]
                 < min(daemon.backend("s", other)["connections_active"] for other in "abc"
                       if other != name), what="it to end")


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "random", "p2c", "least_time"])
def test_uncertain_rules(start, backends, scheduler):
    """Depends on the worker's turn, or on chance: it says so; with one left it is certain."""
    daemon = start(Daemon(config(backends, scheduler=scheduler), workers=2))
    told = explain(daemon, "127.0.0.1")
    check_shape(told, "127.0.0.1")
    assert not told["certain"] and scheduler in told["rule"], told
    change(daemon, "maintain backend s a")
    change(daemon, "drain backend s c")
    told = explain(daemon, "127.0.0.1")
    assert told["certain"] and told["backend"] == "b", told
    assert ask(daemon.address("s")) == "b"


def test_asking_takes_no_turn(start, backends):
    """One worker: the turn goes on as if nobody had asked, and the answer is its next."""
    daemon = start(Daemon(config(backends, {"a": {"weight": 5}}, scheduler="wrr"), workers=1))
    got = []
    for _ in range(14):
        foretold = {explain(daemon, "127.0.0.1")["backend"] for _ in range(3)}
        got.append(ask(daemon.address("s")))
        assert foretold == {got[-1]}
    assert "".join(got) == 2 * "aabacaa"
    assert daemon.service("s")["connections_total"] == 14


def test_persistence(start, backends):
    daemon = start(Daemon(config(backends, scheduler="rr", options={"persistence": "5m"}),
                          workers=3))
    address = daemon.address("s")
    homes = {source: ask(address, source) for source in SOURCES}
    assert set(homes.values()) == set("abc")
    for source, home in homes.items():
        told = explain(daemon, source)
        check_shape(told, source)
        assert told["backend"] == home and told["certain"] and "persistence" in told["rule"], told
        assert ask(address, source) == home
    # Asking makes no lease.
    assert "persistence" not in explain(daemon, "127.0.9.9")["rule"]
    assert "persistence" not in explain(daemon, "127.0.9.9")["rule"]


def test_slow_start_and_load(start, backends):
    """One that is held to its share says so, although it has fewer sessions."""
    daemon = start(Daemon(config(backends[:2], scheduler="wlc", slow_start="1h"), workers=1))
    hold(start, daemon.address("s"), 4)
    change(daemon, "maintain backend s a")
    hold(start, daemon.address("s"), 30)
    change(daemon, "ready backend s a")
    seen = collections.Counter()
    for _ in range(20):
        told = explain(daemon, "127.0.0.1")
        if told["backend"] == "b":
            assert "slow start" in whys(told)["a"], told
        seen[told["backend"]] += 1
        assert hold(start, daemon.address("s"), 1)[0].name() == told["backend"]
    assert seen["b"] > 10 and seen["a"] > 0, seen


# --- why not ---

def test_why_not(start, backends):
    """The state of each, with its reason."""
    a, b, c = backends
    d, e, f = (start(Backend(name)) for name in "def")
    daemon = start(Daemon(config(
        [a, b, c, d, e, f], {"c": {"max_connections": 1}, "d": {"backup": True},
                             "f": {"connect_rate": "1/h:1", "weight": 5}},
        checked=True, scheduler="first")))
    wait_state(daemon, "abcef", "up")
    wait_state(daemon, "d", "standby")
    assert ask(daemon.address("s")) == "f"  # its only one in this hour
    change(daemon, "set backend s c weight=9")
    held = hold(start, daemon.address("s"), 1)
    assert held[0].name() == "c"
    change(daemon, 'maintain backend s a why="new disk"')
    b.sick()
    wait_state(daemon, "b", "down")
    told = explain(daemon, "10.1.2.3")
    check_shape(told, "10.1.2.3", "abcdef")
    assert told["backend"] == "e" and told["certain"]
    why = whys(told)
    assert why["a"].startswith("maintenance") and "new disk" in why["a"], why
    assert why["b"].startswith("down") and "refused" in why["b"].lower(), why
    assert why["c"].startswith("full") and "1 of 1" in why["c"], why
    assert "backup" in why["d"], why
    assert "connect_rate" in why["f"], why
    change(daemon, "drain backend s e")
    told = explain(daemon, "10.1.2.3")
    assert whys(told)["e"].startswith("draining"), told
    d.sick()
    assert ask(daemon.address("s"), "127.0.0.9") == ""


def test_nobody(start, backends):
    """No backend: why, and what of the queue."""
    daemon = start(Daemon(config(backends[:1], {"a": {"max_connections": 1}}, queue=7)))
    held = hold(start, daemon.address("s"), 1)
    told = explain(daemon, "127.0.0.1")
    assert told["backend"] is None and "full" in told["rule"] and "7 places" in told["rule"], told
    assert whys(told)["a"].startswith("full"), told
    held[0].close()
    wait_state(daemon, "a", "up")
    change(daemon, "maintain backend s a force")
    told = explain(daemon, "127.0.0.1")
    assert told["backend"] is None and "no backend is eligible" in told["rule"], told
    assert ask(daemon.address("s")) == ""


def test_fallback_and_panic(start, backends):
    a, b, c = backends
    daemon = start(Daemon(service("s", fallback_pool="t") + pool_of("s", [a], checked=True)
                          + pool_of("t", [b, c], checked=True, panic_threshold=60,
                                    scheduler="first")))
    wait_state(daemon, "a", "up")
    wait_state(daemon, "bc", "up", "t")
    told = explain(daemon, "127.0.0.1")
    assert (told["backend"], told["pool"], told["fallback"]) == ("a", "s", False)
    a.sick()
    wait_state(daemon, "a", "down")
    told = explain(daemon, "127.0.0.1")
    assert (told["backend"], told["pool"], told["fallback"]) == ("b", "t", True)
    assert list(whys(told)) == ["c", "a"] and whys(told)["a"].startswith("down")
    b.sick()
    wait_state(daemon, "b", "down", "t")
    told = explain(daemon, "127.0.0.1")
    assert told["backend"] == ask(daemon.address("s")) == "b" and "panic" in told["rule"], told


# --- questions and answers as such ---

def test_text(start, backends):
    daemon = start(Daemon(config(backends, scheduler="first"), workers=2))
    lines = daemon.ctl("explain s 10.1.2.3:40000").splitlines()
    assert "10.1.2.3:40000" in lines[0] and "backend a" in lines[0], lines
    text = "\n".join(lines)
    assert "first" in text and "not certain" not in text, text
    for name in "bc":
        assert any(line.split()[:1] == [name] and "prefers a" in line for line in lines), text
    change(daemon, "set backend s a weight=1 max_connections=3")
    daemon.reload(config(backends, scheduler="rr"))
    assert "not certain" in daemon.ctl("explain s 10.1.2.3")


def test_by_sluicectl(start, backends):
    daemon = start(Daemon(config(backends, scheduler="first")))
    result = run([SLUICECTL, "-s", daemon.control, "explain", "s", "10.1.2.3"])
    assert "backend a" in result.stdout
    result = run([SLUICECTL, "-s", daemon.control, "explain", "s"], check=False)
    assert result.returncode in (1, 2), result


@pytest.mark.parametrize("client", ["::1", "2001:db8::77", "[2001:db8::77]:443"])
def test_ipv6(start, backends, client):
    daemon = start(Daemon(config(backends, scheduler="sh", options={"listen": ["[::1]:0"]})))
    told = explain(daemon, client)
    check_shape(told, client)
    assert told["certain"]
    if client == "::1":
        assert set(ask_often(daemon.address("s"), 4)) == {told["backend"]}


def test_where_a_client_comes_in(start, backends):
    """An address on which nobody listens is refused, with those on which somebody does."""
    daemon = start(Daemon(
        config(backends, options={"listen": ["127.0.0.1:0", "[::1]:0"]}) + service("t", "s")))
    one, two = daemon.service("s")["listen"]
    other = daemon.address("t")
    assert explain(daemon, "10.1.2.3")["listens"] == [one, two]
    for place in one, two, "127.0.0.1", "::1":
        told = explain(daemon, "10.1.2.3", words=f"to={place}")
        assert told["listens"] == [one if "127" in place else two]
    assert f"\ncomes in on {two}\n" in daemon.ctl(f"explain s 10.1.2.3 to={two}")
    for place, more in (other, "; service t does there"), ("127.0.0.2", ""):
        with pytest.raises(CtlError) as refusal:
            daemon.ctl(f"explain s 10.1.2.3 to={place}")
        assert str(refusal.value).strip().endswith(
            f"service s does not listen on {place}; it listens on {one}, {two}{more}")


def test_other_addresses_other_backends(start, backends):
    """Also such as could never come here."""
    daemon = start(Daemon(config(backends, scheduler="mh"), hash_seed="x"))
    seen = {explain(daemon, f"2001:db8::{nth:x}")["backend"] for nth in range(1, 31)}
    assert seen == set("abc")


@pytest.mark.parametrize("words,needle", [
    ("explain t 10.1.2.3", "no service t"),
    ("explain s2 10.1.2.3", "s2"),
    ("explain s 10.1.2", "10.1.2"),
    ("explain s 10.1.2.3:70000", "70000"),
    ("explain s nobody", "address"),
    ("explain s", "explain"),
    ("explain", "explain"),
    ("explain s 10.1.2.3 to=elsewhere", "elsewhere"),
])
def test_questions_that_make_no_sense(start, backends, words, needle):
    daemon = start(Daemon(config(backends[:1])))
    for form in words, f"{words} json":
        with pytest.raises(CtlError, match=needle):
            daemon.ctl(words) if form == words else daemon.ctl_json(words)
    assert explain(daemon, "10.1.2.3")["backend"] == "a"


def test_while_a_worker_stands_still_or_dies(start, backends):
    """Another one answers."""
    daemon = start(Daemon(config(backends, scheduler="first"), workers=2))
    for pid in daemon.workers():
        daemon.kill_child(pid)
        assert wait_for(lambda: answer(daemon), what="an answer")["backend"] == "a"
        wait_for(lambda: pid not in daemon.workers(), what="its successor")


def answer(daemon):
    try:
        return explain(daemon, "10.1.2.3")
    except CtlError:
        return None
