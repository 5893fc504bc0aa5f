"""Pools edited by command: what comes, what goes, and what of it stands when the file changes."""

import contextlib
import re

import pytest

from sluice import CtlError, Daemon, Origin, Port, connect, load, pool, service, wait_for


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", "http", names=list("abcd")))


def two(origin, a=None, b=None, more="", **options):
    """A pool with the backends a and b, whose options may be given."""
    a, b = ({"address": address, **(given or {})}
            for address, given in zip(origin.addresses, (a, b)))
    return service("web") + pool("web", {"a": a, "b": b}, scheduler="rr", **options) + more


@pytest.fixture
def daemon(start, origin):
    return start(Daemon(two(origin)))


def spread(daemon, name="web", count=12):
    return load("crc", daemon.address(name), "--requests", count)["origins"]


def names(daemon, pool_name="web"):
    pools = {row["name"]: row for row in daemon.stats()["pools"]}
    return [row["name"] for row in pools[pool_name]["backends"]]


def refused(daemon, words, *needles):
    """The refusal of a command, with all of these in it; nothing is changed by it."""
    before = daemon.ctl_json("show info")["generation"], daemon.ctl("show config")
    with pytest.raises(CtlError) as caught:
        daemon.ctl(words)
    text = str(caught.value)
    for needle in needles:
        assert needle in text, text
    assert (daemon.ctl_json("show info")["generation"], daemon.ctl("show config")) == before
    return text


def standing(reply):
    return {(row["kind"], row["backend"], row["option"]) for row in reply["overrides"]}


def warnings(reply):
    return "\n".join(row["text"] for row in reply["warnings"])


# --- adding ---

def test_an_added_backend_takes_clients(daemon, origin):
    reply = daemon.ctl_json(f'add backend web c {origin.addresses[2]} why="more guests"')
    assert reply["changes"] == ["pool web: backend c added"] and reply["warnings"] == []
    assert set(spread(daemon)) == {"a", "b", "c"}
    row, = reply["overrides"]
    assert (row["kind"], row["pool"], row["backend"], row["value"], row["why"]) == \
        ("added", "web", "c", origin.addresses[2], "more guests")
    assert re.search(rf"# override: pool web, backend c: added, {origin.addresses[2]}; the file "
                     r"has none of that name \(by uid .*: more guests\)", daemon.ctl("show config"))
    event = daemon.ctl_json("show events backend=web/c")["events"][-1]
    assert (event["kind"], event["text"]) == ("admin", "pool web: backend c added")
    assert event["why"] == "more guests" and event["by"].startswith("uid ")


def test_an_added_backend_is_as_the_file_would_have_it(start, origin):
    """The same line in the file and as a command make the same configuration."""
    options = {"weight": "3", "max_connections": "10", "resume_connections": "4",
               "connect_rate": "50/s:9", "backup": "true", "admin": "drain",
               "check_address": "127.0.0.1:9", "checks": "none"}
    del options["check_address"]  # together they only warn
    given = {"address": origin.addresses[2], **options}
    by_file = start(Daemon(service("web") + pool(
        "web", {"a": origin.addresses[0], "c": given})))
    by_command = start(Daemon(service("web") + pool("web", {"a": origin.addresses[0]})))
    by_command.ctl(f"add backend web c {origin.addresses[2]} "
                   + " ".join(f"{name}={value}" for name, value in options.items()))

    def config(daemon):
        text = daemon.ctl("show config")
        return text[text.index('pool "web"'):]
    assert config(by_command) == config(by_file)
    assert "as it was added by uid" in by_command.backend("web", "c")["reason"]


@pytest.mark.parametrize("words,needles", [
    ("wbe c 127.0.0.1:1", ["there is no pool wbe", "did you mean web"]),
    ("web a 127.0.0.1:1", ['pool "web" has a backend "a" already', "set backend"]),
    ("web c", ["usage: add backend"]),
    ("web c 127.0.0.1:1 127.0.0.1:2", ["too many words", "usage: add backend"]),
    ("web c 127.0.0.1", ['address: "127.0.0.1":', "port"]),
    ("web c 127.0.0.1:70000", ["address:", "70000"]),
    ("web c 0.0.0.0:80", ["address:", "stands for any address", "127.0.0.1"]),
    ("web c [::]:80", ["address:", "stands for any address", "[::1]"]),
    ("web c 224.0.0.1:80", ["address:", "multicast"]),
    ("web c 255.255.255.255:80", ["address:", "broadcast"]),
    ("web c http://127.0.0.1:80", ["address:", "a URL", "write HOST:PORT alone"]),
    ("web c 127.0.0.1:1 check_address=0.0.0.0", ["check_address:", "stands for any address"]),
    ("web c srv:x.example:80", ["address:", "srv:"]),
    ("web c 127.0.0.1:1 wieght=3", ["unknown option wieght=", "did you mean weight="]),
    ("web c 127.0.0.1:1 address=127.0.0.1:2", ["unknown option address="]),
    ("web c 127.0.0.1:1 weight=65536", ['weight: "65536": out of range', "65535"]),
    ("web c 127.0.0.1:1 admin=drian", ['admin: "drian"', 'did you mean "drain"']),
    ("web c 127.0.0.1:1 weight=1 weight=2", ["weight= is given twice"]),
    ("web c 127.0.0.1:1 resume_connections=3", ["resume_connections", "max_connections"]),
    ("web c 127.0.0.1:1 checks=some", ['checks: "some": unknown', '"none"']),
    ("web c/d 127.0.0.1:1", ["the name c/d is not allowed; a name is made of letters"]),
    ("web json 127.0.0.1:1", ["the name json is reserved; choose another"]),
    ("web * 127.0.0.1:1", ["the name * is reserved"]),
    ('web "" 127.0.0.1:1', ['the name "" is empty']),
    (f"web {'c' * 64} 127.0.0.1:1", ["is too long; a name must be shorter than 64 bytes"]),
    ("web c 127.0.0.1:1 zzz=3", ["unknown option zzz=; known here: ", "max_connections"]),
    ("web c 127.0.0.1:1 retries=3", ['unknown option retries=; "set pool" has it; usage: ']),
])
def test_what_cannot_be_added(daemon, words, needles):
    refused(daemon, f"add backend {words}", *needles)
    assert names(daemon) == ["a", "b"]
    event = daemon.ctl_json("show events")["events"][-1]
    assert event["kind"] == "refused" and "add backend" in event["text"]


def test_several_faults_are_told_at_once(daemon):
    text = refused(daemon, "add backend web c 127.0.0.1 weight=-1 admin=out",
                   "3 faults; nothing was changed")
    assert "address:" in text and "weight:" in text and "admin:" in text


def test_an_added_backend_with_a_name(daemon, origin):
    """Names are looked up, and only the new one; one that does not resolve counts as down."""
    port = origin.addresses[2].rpartition(":")[2]
    daemon.ctl(f"add backend web c localhost:{port}")
    row = daemon.backend("web", "c@127.0.0.1")
    assert row["address"] == f"127.0.0.1:{port}" and row["state"] == "up"
    reply = daemon.ctl_json("add backend web d no-such-host.invalid:80")
    assert "does not resolve" in warnings(reply) and daemon.backend("web", "d")["health"] == "down"
    reply = daemon.ctl_json("set backend web a weight=2")  # nothing is looked up, or told again
    assert reply["warnings"] == [] and daemon.backend("web", "d")["health"] == "down"
    assert reply["changes"] == ["pool web: backend a: weight 1 -> 2"]
    assert daemon.backend("web", "c@127.0.0.1")["state"] == "up" and "c" in spread(daemon)
    port = origin.addresses[3].rpartition(":")[2]
    config = two(origin) + service("more") + pool("more", {"x": f"localhost:{port}"})
    assert len(daemon.reload(config)["overrides"]) == 3
    assert daemon.backend("web", "c@127.0.0.1")["state"] == "up"
    assert daemon.backend("more", "x@127.0.0.1")["state"] == "up"


def test_a_command_does_not_repeat_the_file_s_warnings(start, origin):
    """Nor does a reload that of a pool that nothing uses, which the one before has told."""
    spare = pool("unused", [origin.addresses[2]] * 2)
    daemon = start(Daemon(two(origin)))
    told = warnings(daemon.reload(two(origin, more=spare)))
    assert "no service uses this pool" in told and "has the same one" in told
    again = warnings(daemon.ctl_json("reload"))
    assert "no service uses this pool" not in again and "has the same one" in again
    assert daemon.ctl_json("set backend web a weight=2")["warnings"] == []
    assert "has the same one" in warnings(
        daemon.ctl_json(f"add backend web c {origin.addresses[0]}"))
    assert daemon.ctl_json("set backend web b weight=2")["warnings"] == []


def test_a_pool_that_only_an_override_uses(start, origin):
    """It is told of at the start, and no more; what the file itself lets go of is."""
    spare = pool("spare", origin.addresses[2:])
    daemon = start(Daemon(two(origin, more=spare)))
    assert daemon.log().count("no service uses this pool") == 1
    daemon.ctl("set service web pool=spare")
    assert set(spread(daemon)) == {"c", "d"}
    for words in "reload", "check config":
        assert daemon.ctl_json(words)["warnings"] == []
    more = service("more", pool="spare") + spare
    daemon.reload(two(origin, more=more))
    assert "no service uses this pool" in warnings(daemon.reload(two(origin, more=spare)))


def test_a_backend_that_is_the_daemon_itself(start, origin):
    daemon = start(Daemon(service("web", listen=["127.0.0.1:0"])
                          + pool("web", origin.addresses[:1])))
    own = start(Port())
    any_own = start(Port())
    daemon.reload(service("web", listen=[f"127.0.0.1:{own.number}", f"0.0.0.0:{any_own.number}"])
                  + pool("web", origin.addresses[:1]))
    for name, port in ("x", own.number), ("y", any_own.number):
        told = warnings(daemon.ctl_json(f"add backend web {name} 127.0.0.1:{port}"))
        assert f'address "127.0.0.1:{port}": this daemon listens there itself, for service "web"' \
            in told, told
    assert daemon.ctl_json("set backend web a weight=2")["warnings"] == []
    assert warnings(daemon.ctl_json("check config")).count("listens there itself") == 2


def test_a_name_that_must_resolve(start, origin):
    daemon = start(Daemon(two(origin, on_unresolved="refuse")))
    refused(daemon, "add backend web c no-such-host.invalid:80", "does not resolve")
    assert names(daemon) == ["a", "b"]


# --- removing ---

def test_a_removed_backend_keeps_its_sessions(start):
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("web") + pool("web", origin.addresses, scheduler="rr")))
    socks = [start(connect(daemon.address("web"))) for _ in range(4)]
    wait_for(lambda: daemon.service("web")["connections_active"] == 4, what="every session")
    reply = daemon.ctl_json("remove backend web a why=old")
    assert reply["changes"] == ["pool web: backend a removed",
                                "pool web: backend a: 2 sessions remain, for as long as they last"]
    row, = reply["overrides"]
    assert (row["kind"], row["backend"], row["file_value"], row["why"]) == \
        ("removed", "a", origin.addresses[0], "old")
    for sock in socks:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    assert names(daemon) == ["b"] and daemon.service("web")["connections_active"] == 4
    assert re.search(rf"# override: .*backend a: removed; the file has it at {origin.addresses[0]}",
                     daemon.ctl("show config"))


def test_what_cannot_be_removed(daemon):
    refused(daemon, "remove backend web c", "called c", "pool web")
    refused(daemon, "remove backend web a within=5", "within=5:")
    refused(daemon, "remove backend web", "usage: remove backend")
    daemon.ctl("remove backend web a")
    refused(daemon, "remove backend web a", "there is no backend in pool web called a")


def test_the_last_one_needs_force(daemon):
    daemon.ctl("remove backend web a")
    refused(daemon, "remove backend web b", 'last eligible backend of pool "web"',
            'new clients of service "web" would be refused', "force")
    assert spread(daemon) == {"b": 12}
    daemon.ctl("remove backend web b force")
    assert names(daemon) == []
    with contextlib.suppress(ConnectionError):
        with connect(daemon.address("web")) as sock:
            sock.sendall(b"x")
            assert not sock.recv(1), "a backend answers"
    assert len(daemon.ctl_json("reload")["overrides"]) == 2


def test_one_that_takes_nobody_may_go(daemon):
    daemon.ctl("drain backend web a")
    daemon.ctl("remove backend web a")  # b still takes everybody
    assert spread(daemon) == {"b": 12}


def test_an_added_one_goes_without_a_trace(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    reply = daemon.ctl_json("drain backend web c")
    assert standing(reply) == {("added", "c", None), ("set", "c", "admin")}
    assert "it was added with ready" in daemon.ctl("show config")
    assert daemon.ctl_json("remove backend web c")["overrides"] == []
    assert names(daemon) == ["a", "b"]


def test_what_was_removed_is_put_back_as_the_file_has_it(start, origin):
    daemon = start(Daemon(two(origin, a={"weight": 2, "max_connections": 9})))
    address = origin.addresses[0]
    daemon.ctl("set backend web a weight=5")
    assert standing(daemon.ctl_json("remove backend web a")) == {("removed", "a", None)}
    for words in f"{origin.addresses[3]}", f"{address} weight=3", f"{address} backup=true":
        refused(daemon, f"add backend web a {words}", "is in the file", address, "reset backend")
    reply = daemon.ctl_json(f"add backend web a {address} weight=02")
    assert reply["overrides"] == [] and reply["changes"] == ["pool web: backend a added"]
    row = daemon.backend("web", "a")
    assert row["weight"] == 2 and names(daemon) == ["a", "b"]
    daemon.ctl("remove backend web a")
    assert daemon.ctl_json(f"add backend web a {address}")["overrides"] == []
    assert daemon.backend("web", "a")["weight"] == 2


# --- a host in several pools ---

@pytest.fixture
def host(start, origin):
    """h is in the pools one and on:e, where it is alone at first; two does not have it."""
    h, other, third = origin.addresses[:3]
    return start(Daemon("".join(
        service(f"s-{name}", pool=name) + pool(name, backends) for name, backends in
        {"one": {"h": h, "x": other}, "two": {"x": other}, "on:e": {"h": h}}.items())))


def admins(daemon):
    return {(pool["name"], row["name"]): row["admin"] for pool in daemon.stats()["pools"]
            for row in pool["backends"]}


def test_every_pool_or_none(host, origin):
    daemon = host
    text = refused(daemon, "drain backend * h why=disk", 'last eligible backend of pool "on:e"')
    assert '"one"' not in text and set(admins(daemon).values()) == {"ready"}
    daemon.ctl(f"add backend on:e x {origin.addresses[2]}")
    reply = daemon.ctl_json("drain backend * h why=disk")
    assert sorted(reply["changes"]) == ["pool on:e: backend h: admin ready -> drain",
                                        "pool one: backend h: admin ready -> drain"]
    assert admins(daemon) == {("one", "h"): "drain", ("one", "x"): "ready", ("two", "x"): "ready",
                              ("on:e", "h"): "drain", ("on:e", "x"): "ready"}
    for name in "one", "on:e":
        event = daemon.ctl_json(f"show events backend={name}/h")["events"][-1]
        assert (event["pool"], event["why"]) == (name, "disk")
        assert "disk" in daemon.backend(name, "h")["reason"]
    assert len(daemon.ctl_json("maintain backend * h")["overrides"]) == 3
    assert standing(daemon.ctl_json("ready backend * h")) == {("added", "x", None)}
    assert "ready" in admins(daemon)[("one", "h")]
    daemon.ctl("maintain backend one h")
    reply = daemon.ctl_json("maintain backend * h force")
    assert reply["changes"] == ["pool on:e: backend h: admin ready -> maintenance"]
    refused(daemon, "drain backend * hh", "no backend in any pool called hh")


# --- pools and services ---

def test_set_pool(start, origin):
    daemon = start(Daemon(two(origin, retries=2)))
    reply = daemon.ctl_json("set pool web retries=1 scheduler=wrr queue_timeout=2s why=guests")
    assert sorted(reply["changes"]) == ["pool web: queue_timeout 5s -> 2s",
                                        "pool web: retries 2 -> 1",
                                        "pool web: scheduler rr -> wrr"]
    rows = {row["option"]: row for row in reply["overrides"]}
    assert (rows["retries"]["pool"], rows["retries"]["backend"], rows["retries"]["file_value"]) \
        == ("web", None, "2")
    assert "# override: pool web: queue_timeout = 2s; the file says 5s" in daemon.ctl("show config")
    reply = daemon.reload(two(origin, retries=3))  # that very value
    assert {row["option"] for row in reply["overrides"]} == {"scheduler", "queue_timeout"}
    assert "the file now says 3 instead of 2" in warnings(reply)
    assert daemon.ctl_json("set pool web scheduler=rr")["overrides"][0]["option"] == \
        "queue_timeout"  # what agrees with the file is no override
    assert daemon.ctl_json("reset pool web")["overrides"] == []
    assert set(spread(daemon)) == {"a", "b"}


@pytest.mark.parametrize("words,needles", [
    ("pool web retries=99", ['retries: "99": out of range']),
    ("pool web scheduler=wcl", ['scheduler: "wcl": unknown', 'did you mean "wlc"']),
    ("pool web keepalive=10ms", ["keepalive", "at least 1s"]),
    ("pool web notify=run", ["not an absolute path"]),
    ("service web pool=wbe", ['pool: "wbe": no such pool', 'did you mean "web"']),
    ("service web fallback_pool=web", ["fallback_pool", "the same as pool"]),
    ("service web idle_timeout=soon", ["idle_timeout", "soon"]),
    ("service web workers=3", ["unknown option workers=; known here: ", "idle_timeout"]),
    ("pool web weight=3", ['unknown option weight=; "set backend" has it; usage: set pool']),
    ("backend web a idle_timeout=3s", ['unknown option idle_timeout=; "set service" has it']),
    ("backend web a wieght=3", ["did you mean weight=? usage: set backend"]),
])
def test_what_cannot_be_set(daemon, words, needles):
    refused(daemon, f"set {words}", *needles)


@pytest.fixture
def blue_green(start):
    origin = start(Origin("echo", "echo"))
    return start(Daemon(service("web", pool="blue") + pool("blue", {"a": origin.addresses[0]})
                        + service("test", pool="green")
                        + pool("green", {"b": origin.addresses[1]})))


def test_blue_and_green(blue_green):
    """New clients go to the other pool in one step, sessions stay where they are."""
    daemon = blue_green

    def active():
        return [daemon.backend("blue", "a")["connections_active"],
                daemon.backend("green", "b")["connections_active"]]
    with connect(daemon.address("web")) as old:
        wait_for(lambda: active() == [1, 0], what="the first session")
        reply = daemon.ctl_json("set service web pool=green")
        assert reply["changes"] == ["service web: pool blue -> green"] and reply["warnings"] == []
        row, = reply["overrides"]
        assert (row["service"], row["pool"], row["option"], row["value"], row["file_value"]) == \
            ("web", None, "pool", "green", "blue")
        with connect(daemon.address("web")) as new:
            wait_for(lambda: active() == [1, 1], what="the second session")
            for sock in old, new:
                sock.sendall(b"hello")
                assert sock.recv(10) == b"hello"
    assert daemon.ctl_json("reload")["overrides"] == [row]
    assert daemon.ctl_json("set service web pool=blue")["overrides"] == []


def test_a_service_is_not_sent_where_nobody_is(blue_green):
    daemon = blue_green
    daemon.ctl("drain backend green b force")
    refused(daemon, "set service web pool=green", 'pool "green" has no eligible backend',
            'new clients of service "web" would be refused', "force")
    daemon.ctl("set service web pool=green fallback_pool=blue")  # somebody is there
    refused(daemon, "reset backend nowhere b", "no pool nowhere")
    assert daemon.ctl_json("reset all")["overrides"] == []
    daemon.ctl("set service web pool=blue fallback_pool=green")
    daemon.ctl("drain backend green b force")
    daemon.ctl("set service web pool=green fallback_pool=blue")
    refused(daemon, "drain backend blue a", "last eligible backend")


# --- for a time ---

def weights(daemon):
    return [daemon.backend("web", name)["weight"] for name in "ab"]


def test_what_is_set_for_a_time_reverts(daemon):
    """To what stood before, not to the file; and it is told."""
    daemon.ctl("set backend web a weight=5 why=always")
    reply = daemon.ctl_json("set backend web a weight=9 for=4s why=test")
    row, = reply["overrides"]
    assert row["value"] == "9" and 0 <= row["until_wall_ms"] - row["wall_ms"] - 4000 <= 5
    reply = daemon.ctl_json("set backend web b weight=8 admin=drain for=4s")
    assert "until 20" in daemon.ctl("show config") and weights(daemon) == [9, 8]
    assert len(daemon.ctl_json("reload")["overrides"]) == 3  # and goes on through a reload
    wait_for(lambda: weights(daemon) == [5, 1], what="the end of both")
    row, = daemon.ctl_json("reload")["overrides"]
    assert (row["value"], row["why"], row["until_wall_ms"]) == ("5", "always", None)
    assert daemon.backend("web", "b")["admin"] == "ready"
    events = {event["text"]: event for event in daemon.ctl_json("show events")["events"]}
    event = events["pool web: backend a: weight 9 -> 5"]
    assert (event["pool"], event["backend"]) == ("web", "a")
    assert event["by"] == "master" and event["why"].startswith("the end of for=, set by uid ")
    assert "pool web: backend b: admin drain -> ready" in events


def test_the_last_word_counts(daemon):
    """Set for good while a time runs: it does not end. Set for a time twice: the first is over."""
    daemon.ctl("set backend web a weight=9 for=1s")
    daemon.ctl("set backend web a weight=5")
    daemon.ctl("set backend web b weight=3")
    daemon.ctl("set backend web b weight=6 for=1h")
    daemon.ctl("set backend web b weight=7 for=1s")
    daemon.ctl("set pool web retries=1 for=1s")
    wait_for(lambda: weights(daemon) == [5, 3], what="the end of b's")
    daemon.ctl("reset backend web b")
    wait_for(lambda: "retries" not in daemon.ctl("show config"), what="the end of the pool's")
    assert standing(daemon.ctl_json("reload")) == {("set", "a", "weight")}
    daemon.ctl("set backend web a weight=1 for=3s")  # as the file has it, and 5 comes back
    assert weights(daemon) == [1, 1]
    wait_for(lambda: weights(daemon) == [5, 1], what="what stood before")


def test_resetting_ends_it_at_once(daemon):
    daemon.ctl("set backend web a weight=5")
    daemon.ctl("set backend web a weight=9 for=1h")
    assert daemon.ctl_json("reset backend web a")["overrides"] == []
    assert weights(daemon) == [1, 1]


def test_what_does_not_go_without_it_goes_too(daemon):
    daemon.ctl("set backend web a max_connections=9 for=1s")
    daemon.ctl("set backend web a resume_connections=5")
    wait_for(lambda: "connections" not in daemon.ctl("show config").split("# override")[-1],
             what="the end of both")
    assert daemon.ctl_json("reload")["overrides"] == []
    events = "\n".join(event["text"] for event in daemon.ctl_json("show events")["events"])
    assert "resume_connections=5" in events and "no longer holds" in events


def test_an_end_that_takes_the_last_one_away(daemon):
    """It ends by itself, so the change that makes it matter is the one to ask about."""
    daemon.ctl("drain backend web a")
    daemon.ctl("set backend web a admin=ready for=1s")
    refused(daemon, "drain backend web b", 'pool "web" would have no eligible backend once '
            'admin=ready of backend "a" ends in', 'new clients of service "web" would be refused',
            "force")
    daemon.ctl("drain backend web b force")
    daemon.ctl("set backend web b weight=5")  # as it was before it
    wait_for(lambda: daemon.backend("web", "a")["admin"] == "drain", what="the end")


def test_an_end_that_the_file_stands_behind(start, origin):
    daemon = start(Daemon(two(origin, b={"admin": "maintenance"})))
    daemon.ctl("set backend web b admin=ready weight=7 for=1h")
    daemon.ctl("set backend web a weight=2 for=2h")
    for words in ("drain backend web a", "remove backend web a", "maintain backend web a"):
        refused(daemon, words, 'once admin=ready of backend "b" ends in ', "force")
    daemon.ctl("set backend web a admin=drain for=10m")  # which is over before
    daemon.ctl("reset backend web a")
    daemon.ctl("ready backend web b")
    daemon.ctl("drain backend web a")


# --- against the file ---

def test_show_diff_is_for_the_file(start, origin, blue_green):
    """Its lines, in a file that says nothing else of those things, make the same configuration."""
    daemon = start(Daemon(service("web") + pool("web", {"a": origin.addresses[0]})))
    assert "nothing stands against the file" in daemon.ctl("show diff")
    daemon.ctl("set pool web retries=1 scheduler=rr")
    daemon.ctl(f'add backend web c {origin.addresses[2]} connect_rate=5/s why="more guests"')
    daemon.ctl("set backend web c weight=4")
    daemon.ctl("set backend web a max_connections=9 admin=drain for=1h")
    diff = daemon.ctl_json("show diff")
    assert len(diff["overrides"]) == 6
    assert diff["diff"].strip() == daemon.ctl("show diff").strip()
    assert "more guests" in diff["diff"] and ", until 20" in diff["diff"]
    running = daemon.ctl("show config")
    running = running[running.index('service "web"'):]
    text = diff["diff"].replace('backend "a" {',
                                f'backend "a" {{ address = "{origin.addresses[0]}"')
    reply = daemon.reload(service("web") + text)
    assert reply["overrides"] == [] and reply["changes"] == []
    config = daemon.ctl("show config")
    assert config[config.index('service "web"'):] == running
    blue_green.ctl("set service web pool=green")
    assert re.search(r'^service "web" \{\n    # blue in the file; by uid .*\n    pool = "green"\n\}$',
                     blue_green.ctl("show diff"), re.M)


# --- resetting ---

def many_edits(daemon, origin):
    before = daemon.ctl("show config")
    daemon.ctl("set backend web a weight=5 max_connections=9")
    daemon.ctl("remove backend web b")
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    daemon.ctl("set backend web c weight=7")
    daemon.ctl("set backend other x weight=7")
    return before


@pytest.fixture
def edited(start, origin):
    more = service("other") + pool("other", {"x": origin.addresses[3]})
    daemon = start(Daemon(two(origin, more=more)))
    return daemon, many_edits(daemon, origin)


def test_reset_backend(edited):
    daemon, _ = edited
    reply = daemon.ctl_json("reset backend web a")
    assert sorted(reply["changes"]) == ["pool web: backend a: max_connections 9 -> 0",
                                        "pool web: backend a: weight 5 -> 1"]
    assert {row["backend"] for row in reply["overrides"]} == {"b", "c", "x"}
    assert daemon.ctl_json("reset backend web b")["changes"] == ["pool web: backend b added"]
    assert daemon.ctl_json("reset backend web c")["changes"] == ["pool web: backend c removed"]
    assert daemon.ctl_json("reset backend web a")["changes"] == []  # nothing stood
    event = daemon.ctl_json("show events backend=web/c")["events"][-1]
    assert event["text"] == "pool web: backend c removed"
    refused(daemon, "reset backend web c", "no backend in pool web called c")


def test_a_name_that_comes_back_is_looked_up(start, origin):
    port = origin.addresses[2].rpartition(":")[2]
    config = service("web") + pool("web", {"a": origin.addresses[0], "c": f"localhost:{port}"})
    daemon = start(Daemon(config))
    for words in "reset backend web c", "reset all", f"add backend web c localhost:{port}":
        daemon.ctl("remove backend web c")
        assert daemon.ctl_json(words)["changes"] == ["pool web: backend c@127.0.0.1 added"]
        assert daemon.backend("web", "c@127.0.0.1")["state"] == "up" and "c" in spread(daemon)


def test_what_was_said_of_an_address_alone_is_told(start, origin):
    """A command about the whole name does not take it back, and says so."""
    port = origin.addresses[2].rpartition(":")[2]
    config = service("web") + pool("web", {"a": origin.addresses[0], "c": f"localhost:{port}"})
    daemon = start(Daemon(config))
    daemon.ctl("drain backend web c@127.0.0.1")
    for words in "ready backend web c", "ready backend * c":
        told = [fault["text"] for fault in daemon.ctl_json(words)["warnings"]]
        assert told == ["pool web: backend c@127.0.0.1 keeps admin=drain, as that was said of it "
                        "alone; ready backend web c@127.0.0.1 changes that"]
    assert daemon.backend("web", "c@127.0.0.1")["admin"] == "drain"
    assert "warning" in daemon.ctl("ready backend web c")
    assert daemon.ctl_json("drain backend web c")["warnings"] == []  # they do
    assert daemon.ctl_json("ready backend web a")["warnings"] == []
    daemon.ctl("set backend web c@127.0.0.1 weight=2")
    told = [fault["text"] for fault in daemon.ctl_json("set backend web c weight=4")["warnings"]]
    assert told == ["pool web: backend c@127.0.0.1 keeps weight=2, as that was said of it alone; set "
                    "backend web c@127.0.0.1 weight=4 changes that"]


def test_reset_pool(edited):
    daemon, _ = edited
    reply = daemon.ctl_json("reset pool web")
    assert standing(reply) == {("set", "x", "weight")} and names(daemon) == ["a", "b"]
    refused(daemon, "reset pool wbe", "did you mean web")


def test_reset_all(edited):
    daemon, before = edited
    assert daemon.ctl_json("reset all")["overrides"] == []
    events = [(event["pool"], event["backend"], event["text"])
              for event in daemon.ctl_json("show events")["events"]]
    assert ("other", "x", "pool other: backend x: weight 7 -> 1") in events
    assert ("web", "", "pool web: backend c removed") in events  # it is no backend any more
    assert daemon.ctl("show config") == before
    assert daemon.ctl_json("reload")["changes"] == []


def test_resetting_may_need_force(daemon, origin):
    """What was added is gone again, and then nobody would be left."""
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    daemon.ctl("set backend web c weight=2")
    daemon.ctl("maintain backend web a")
    daemon.ctl("remove backend web b")
    for words in "reset backend web c", "remove backend web c":
        refused(daemon, words, "last eligible backend", "force")
    daemon.ctl("reset all")  # with c goes what kept the others out
    assert set(spread(daemon)) == {"a", "b"}


# --- reloads ---

def test_what_was_added_and_removed_survives_reloads(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]} weight=2")
    daemon.ctl("set backend web c max_connections=7")
    daemon.ctl("remove backend web a")
    expected = {("added", "c", None), ("set", "c", "max_connections"), ("removed", "a", None)}
    for config in two(origin), two(origin, more=service("more", pool="web")):
        reply = daemon.reload(config)
        assert standing(reply) == expected and warnings(reply) == ""
        assert names(daemon) == ["b", "c"]
    assert set(spread(daemon)) == {"b", "c"}
    assert "max_connections = 7" in daemon.ctl("show config")


def test_the_file_wins_over_an_added_one(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]} weight=2")
    daemon.ctl("set backend web c weight=4")
    reply = daemon.reload(two(origin).replace(
        'backend "a"', f'backend "c" {{ address = "{origin.addresses[3]}" }}\nbackend "a"'))
    assert reply["overrides"] == [] and names(daemon) == ["c", "a", "b"]
    assert "the file now has a backend of that name itself" in warnings(reply)
    assert "weight=4" in warnings(reply)
    row = daemon.backend("web", "c")
    assert (row["address"], row["weight"]) == (origin.addresses[3], 1)


def test_the_file_gives_a_removed_one_another_address(daemon, origin):
    daemon.ctl("remove backend web a")
    config = two(origin).replace(origin.addresses[0], origin.addresses[3])
    reply = daemon.reload(config)
    assert reply["overrides"] == [] and names(daemon) == ["a", "b"]
    assert f"the file now gives it the address {origin.addresses[3]} instead of " \
        f"{origin.addresses[0]}" in warnings(reply)


def test_what_is_gone_from_the_file_is_forgotten(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    daemon.ctl("remove backend web a")
    reply = daemon.reload(service("web") + pool("web", {"b": origin.addresses[1]}))
    assert standing(reply) == {("added", "c", None)} and names(daemon) == ["b", "c"]
    assert "the file does not have it any more" in warnings(reply)
    reply = daemon.reload(service("web", pool="other") + pool("other", origin.addresses[:1]))
    assert reply["overrides"] == [] and "the pool is gone" in warnings(reply)


def test_a_refused_reload_keeps_everything(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    daemon.ctl("remove backend web a")
    with pytest.raises(CtlError):
        daemon.reload(two(origin) + "nonsense")
    assert names(daemon) == ["b", "c"]
    assert len(daemon.ctl_json("set backend web b weight=2")["overrides"]) == 3


def test_check_config_knows_what_stands(daemon, origin):
    daemon.ctl(f"add backend web c {origin.addresses[2]}")
    daemon.ctl("remove backend web a")
    assert daemon.ctl_json("check config")["changes"] == []


def test_what_needs_a_restart_is_not_told_by_commands(start, origin):
    """The file asks for other workers than run; a command's answer is about the command."""
    daemon = start(Daemon(two(origin)))
    daemon.config_path.write_text(
        daemon.config_path.read_text().replace("workers = 2", "workers = 3"))
    assert daemon.ctl_json("reload")["needs_restart"] is True
    reply = daemon.ctl_json("set backend web a weight=2")
    assert reply["needs_restart"] is False and len(reply["changes"]) == 1


def test_a_slot_that_comes_back_keeps_its_sessions(start):
    """Removed and added again: it is the same backend, with its count."""
    origin = start(Origin("echo", "echo"))
    with contextlib.ExitStack() as stack:
        daemon = start(Daemon(service("web") + pool("web", origin.addresses[:1])))
        port = stack.enter_context(Port())
        daemon.ctl(f"add backend web c {origin.addresses[1]}")
        daemon.ctl("drain backend web a")
        sock = start(connect(daemon.address("web")))
        wait_for(lambda: daemon.backend("web", "c")["connections_active"] == 1, what="a session")
        daemon.ctl("ready backend web a")
        daemon.ctl("remove backend web c")
        daemon.ctl(f"add backend web c {origin.addresses[1]}")
        assert daemon.backend("web", "c")["connections_active"] == 1
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello" and port.number


def test_a_program_is_looked_at(daemon):
    """As when a file names it."""
    reply = daemon.ctl_json("set pool web notify=/nowhere/at-all")
    assert 'notify: "/nowhere/at-all": does not exist' in warnings(reply)
    assert daemon.ctl_json("set pool web notify=/bin/true")["warnings"] == []


def test_a_list_is_refused(daemon):
    refused(daemon, "set service web listen=127.0.0.1:1",
            "listen= cannot be given by command, as it is a list; change it in the file")
    refused(daemon, "set backend web a backup=true", "backup= cannot be given by command; change")


def test_a_new_term_of_the_same_value_is_a_change(daemon):
    """Whether it ends by itself is told like the value, and is an event."""
    daemon.ctl("set backend web a weight=5 for=1h")
    shorter = daemon.ctl("set backend web a weight=5 for=10m")
    assert "backend a: weight 5 now stands until 20" in shorter and "nothing changed" not in shorter
    assert "weight 5 now stands without an end" in daemon.ctl("set backend web a weight=5")
    assert "nothing changed" in daemon.ctl("set backend web a weight=5")
    events = [row["text"] for row in daemon.ctl_json("show events backend=web/a")["events"]]
    assert len([text for text in events if "now stands" in text]) == 2, events


def test_what_has_no_line_in_a_file_stands_in_show_diff(daemon):
    daemon.ctl("set global health=fail why=flood")
    diff = daemon.ctl("show diff")
    assert "health answers say no" in diff and "flood" in diff and "nothing stands" not in diff
    assert daemon.ctl_json("show diff")["health"] == "fail"
    daemon.ctl("set global health=auto")
    assert "nothing stands" in daemon.ctl("show diff")


def test_a_pool_without_any_backend_is_told_as_that(daemon):
    for name in "ba":
        daemon.ctl(f"remove backend web {name} force")
    texts = [row["text"] for row in daemon.ctl_json("show events")["events"]]
    assert "pool lost: no backend takes new sessions: it has none" in texts
