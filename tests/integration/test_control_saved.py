"""Saved and kept configurations with names as addresses and with a file of backends."""

import json
import re

import pytest

from sluice import (SLUICECTL, SLUICED, CtlError, Daemon, Origin, connect, pool, run, service,
                    wait_for)


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", names=list("abc")))


@pytest.fixture
def path(folder):
    return folder / "backends"


@pytest.fixture
def text(origin, path):
    """n is a name, f and g come from the file; o is there so that others may go."""
    port = [address.rpartition(":")[2] for address in origin.addresses]
    path.write_text(f"f {origin.addresses[1]} weight=2\ng localhost:{port[2]}\n")
    def make(retries=1, more="", **options):
        return service("web") + pool(
            "web", {"n": f"localhost:{port[0]}", "o": {"address": origin.addresses[0]}},
            backends_file=path, retries=retries, **options) + more
    return make


def rows(daemon):
    return {row["name"]: row for row in daemon.stats()["pools"][0]["backends"]}


def names(daemon):
    return set(rows(daemon))


def events(daemon, words=""):
    return "\n".join(row["text"] for row in daemon.ctl_json(f"show events {words}")["events"])


def save(daemon, target):
    return run([SLUICECTL, "-s", daemon.control, "save", target])


ALL = {"n@127.0.0.1", "o", "f", "g@127.0.0.1"}


def test_saved_it_stays_alive(start, text, folder, path, origin):
    daemon = start(Daemon(text()))
    for words in ("set backend web n weight=3", "set backend web n@127.0.0.1 weight=4",
                  "set backend web f weight=5", "drain backend web g", "remove backend web o",
                  f"add backend web x localhost:{origin.addresses[2].rpartition(':')[2]}"):
        daemon.ctl(words)
    saved = folder / "saved.conf"
    save(daemon, saved)
    said = saved.read_text()
    assert re.search(r'backend "n" \{\s+address = "localhost:\d+"\s+weight = 3\s+'
                     r'# now 127.0.0.1:\d+', said), said
    assert 'backend "x" {' in said and f'backends_file = "{path}"' in said
    assert re.search(r"# override that is not below, for it is about one address of a name: "
                     r"pool web, backend n@127.0.0.1: weight = 4", said), said
    for name in "f", "g":
        assert f"for it is about a backend of a backends_file: pool web, backend {name}: " in said
        assert f'# from backends_file: backend "{name}"' in said
    assert not re.search(r'^\s*backend "([fgo]|.*@.*)"', said, re.M), said
    assert said == daemon.ctl("show config")
    diff = daemon.ctl("show diff")
    assert '# backend "f": weight = 5, of its line in backends_file' in diff
    with Daemon(re.sub(r"^global \{.*?^\}\n", "", said, flags=re.M | re.S)) as other:
        assert names(other) == ALL - {"o"} | {"x@127.0.0.1"}
        assert {name: row["weight"] for name, row in rows(other).items()} == {
            "n@127.0.0.1": 3, "f": 2, "g@127.0.0.1": 1, "x@127.0.0.1": 1}
        path.write_text("h 127.0.0.1:9\n")
        wait_for(lambda: "h" in names(other) and "f" not in names(other), what="the file anew")
    again = run([SLUICED, "-c", saved, "-T"]).stdout  # the same of what would be in force
    assert '# from backends_file: backend "h"' in again and '# now 127.0.0.1:' in again
    saved.write_text(again)
    assert run([SLUICED, "-c", saved, "-T"]).stdout == again


def test_a_rollback_reads_the_file_anew(start, text, path, origin):
    daemon = start(Daemon(text()))
    assert names(daemon) == ALL
    kept = daemon.ctl("show configs 1")
    assert 'address = "localhost:' in kept and 'backend "f"' not in kept
    daemon.ctl("set backend web f weight=7")
    daemon.reload(text(2))
    path.write_text(f"f {origin.addresses[1]} weight=2 max_connections=9\nh {origin.addresses[2]}\n")
    wait_for(lambda: "h" in names(daemon), what="h")
    daemon.ctl("rollback")
    assert names(daemon) == {"n@127.0.0.1", "o", "f", "h"}
    assert rows(daemon)["f"]["weight"] == 7 and "retries = 2" not in daemon.ctl("show config")
    generation = daemon.ctl_json("show info")["generation"]
    for damage, needle in ((lambda: path.write_text("f\n"), f"{path}:1: .*no address"),
                           (path.unlink, "backends_file: .*No such file")):
        damage()
        with pytest.raises(CtlError, match=needle):
            daemon.ctl("rollback")
        assert names(daemon) == {"n@127.0.0.1", "o", "f", "h"}
        assert daemon.ctl_json("show info")["generation"] == generation
    path.write_text(f"i {origin.addresses[2]}\n")
    daemon.ctl("rollback")
    assert names(daemon) == {"n@127.0.0.1", "o", "i"}


def test_what_is_not_confirmed_goes_with_the_file_as_it_is(start, text, path, origin):
    daemon = start(Daemon(text()))
    daemon.write(text(2))
    daemon.ctl("reload confirm=1s")
    path.write_text(f"h {origin.addresses[2]}\n")
    wait_for(lambda: "not confirmed in time" in json.dumps(daemon.ctl_json("show events")),
             what="the return")
    assert names(daemon) == {"n@127.0.0.1", "o", "h"}
    daemon.ctl("reload confirm=1s")
    path.unlink()
    told = wait_for(lambda: events(daemon, "kind=refused"), what="the refusal")
    assert "was to return" in told and "No such file" in told
    assert names(daemon) == {"n@127.0.0.1", "o", "h"}
    assert daemon.ctl_json("show configs")["returns"] is not None


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_a_start_brings_it_back_with_the_file_as_it_is(text, path, origin, folder, gone):
    state = folder / "state.json"
    plain = service("web") + pool("web", {"o": origin.addresses[0]})
    with Daemon(text(), state_file=state) as daemon:
        daemon.write(plain)
        daemon.ctl("reload confirm=1h")
        assert names(daemon) == {"o"}
    path.write_text(f"h {origin.addresses[2]}\n")
    if gone:
        path.unlink()
    with Daemon(plain, state_file=state) as daemon:
        if gone:
            assert names(daemon) == {"o"} and "No such file" in events(daemon)
        else:
            assert names(daemon) == {"n@127.0.0.1", "o", "h"}


def test_a_name_is_all_its_addresses(start, text):
    daemon = start(Daemon(text()))
    daemon.ctl("drain backend web o")
    daemon.ctl("drain backend web f")
    daemon.ctl("drain backend web g")
    with connect(daemon.address("web")) as client:
        def there():
            return [row["backend"] for row in
                    daemon.ctl_json("show sessions backend=web/n")["sessions"]]
        wait_for(lambda: there() == ["n@127.0.0.1"], what="the session")
        assert not daemon.ctl_json("show sessions backend=web/g")["sessions"]
        assert "no session matches" in daemon.ctl("close sessions backend=web/g")
        daemon.ctl("drain backend web n within=1h why=moving force")
        row = daemon.ctl_json("show backends")["backends"][0]
        assert row["closed_in_seconds"] > 3000 and "moving" in row["reason"], row
        assert "n@127.0.0.1: admin ready -> drain" in events(daemon, "backend=web/n")
        assert "pool web, backend n: closing 1 session" in daemon.ctl("close sessions backend=web/n")
        assert client.recv(1) == b""
    daemon.ctl("set backend web g admin=ready")
    assert "closing 1" in events(daemon, "backend=web/n") and "g@" not in events(
        daemon, "backend=web/n")
    with pytest.raises(CtlError, match="n@127.0.0.2"):
        daemon.ctl("close sessions backend=web/n@127.0.0.2")
