"""show checks: what is told of each check by itself, as a table and as JSON, while checks come out
differently, through a reload and the monitor's death."""

import re
import socket

import pytest

from sluice import Daemon, Port, pool, service, wait_for

FAST = {"interval": "50ms", "timeout": "5s", "rise": 1, "fall": 1}
CONNECTED = r"^connected in [\d.]+ (us|ms|s)$"


@pytest.fixture
def server(start):
    return start(socket.create_server(("127.0.0.1", 0)))


@pytest.fixture
def status(start):
    """Nobody listens there, until somebody does: as Patroni beside its PostgreSQL."""
    return start(Port())


def config(server, status, titles=("tcp:sessions", "tcp:patroni")):
    """One backend with two checks, of which patroni goes to the status port."""
    checks = {title: {**FAST, **({"port": status.number} if "patroni" in title else {})}
              for title in titles}
    return service("s") + pool("s", [f"127.0.0.1:{server.getsockname()[1]}"], checks)


def row_of(daemon):
    return daemon.ctl_json("show checks")["checks"][0]


def each_of(daemon):
    """What is told of each check, by its name."""
    return {one["check"]: one for one in row_of(daemon)["by_check"]}


def wait_results(daemon, count):
    return wait_for(lambda: (each := each_of(daemon)) and
                    all(one["passed"] + one["failed"] >= count for one in each.values()) and each,
                    what=f"{count} results of each check")


def lines_of(daemon):
    """The table's lines, each a dict by title; no cell but the last has a blank in it."""
    titles, *lines = daemon.ctl("show checks").splitlines()
    names = titles.split()
    return [dict(zip(names, line.split(None, len(names) - 1))) for line in lines if line]


def assert_passing(one):
    assert one["state"] == "up" and one["result"] == "passed", one
    assert re.search(CONNECTED, one["reason"]) and one["failed"] == 0, one
    assert set(one["history"]) == {"+"} and one["streak"] == one["passed"], one
    assert one["latency_us"] is not None and one["last_age_ms"] is not None, one


def assert_failing(one):
    assert one["state"] == "down" and one["result"] == "failed", one
    assert one["reason"] == "connect refused" and one["passed"] == 0, one
    assert set(one["history"]) == {"-"} and one["streak"] == one["failed"], one


def test_one_passes_and_one_fails(start, server, status):
    """Both rows are right; what is told of both together is still there."""
    daemon = start(Daemon(config(server, status)))
    wait_results(daemon, 8)
    row = row_of(daemon)
    assert [one["check"] for one in row["by_check"]] == ["tcp:sessions", "tcp:patroni"]
    assert_passing(row["by_check"][0])
    assert_failing(row["by_check"][1])
    assert all(len(one["history"]) == len(one["history_latency_us"]) == 8
               for one in row["by_check"])
    assert (row["checks"], row["health"]) == ("tcp:sessions,tcp:patroni", "down"), row
    assert row["reason"] == "tcp:patroni: connect refused", row
    assert set(row["history"]) == {"+", "-"} and row["passed"] and row["failed"], row

    sessions, patroni = lines_of(daemon)
    assert (sessions["POOL"], sessions["BACKEND"]) == (patroni["POOL"], patroni["BACKEND"])
    assert (sessions["CHECK"], sessions["STATE"], sessions["RESULT"], sessions["HISTORY"]) == \
        ("tcp:sessions", "up", "passed", "++++++++"), sessions
    assert re.search(CONNECTED, sessions["REASON"]) and sessions["FAILED"] == "0", sessions
    assert (patroni["CHECK"], patroni["STATE"], patroni["RESULT"], patroni["HISTORY"]) == \
        ("tcp:patroni", "down", "failed", "--------"), patroni
    assert patroni["REASON"] == "connect refused" and patroni["PASSED"] == "0", patroni

    with socket.socket() as answering:
        answering.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        answering.bind(("127.0.0.1", status.number))
        answering.listen(4096)
        wait_for(lambda: each_of(daemon)["tcp:patroni"]["state"] == "up", what="patroni to be up")
        wait_for(lambda: daemon.backend("s", "a")["state"] == "up", what="the backend to be up")
        patroni = each_of(daemon)["tcp:patroni"]
        assert "-+" in patroni["history"] or patroni["history"] == "+" * 8, patroni
        assert patroni["result"] == "passed" and patroni["failed"] >= 8, patroni
        assert_passing(each_of(daemon)["tcp:sessions"])


def test_through_reloads(start, server, status):
    """What a check has comes along by its name; another one begins with nothing."""
    daemon = start(Daemon(config(server, status)))
    before = wait_results(daemon, 3)
    daemon.reload(config(server, status, ("tcp:patroni", "tcp:sessions")))
    after = wait_results(daemon, 3)
    assert list(after) == ["tcp:patroni", "tcp:sessions"]
    assert after["tcp:sessions"]["passed"] >= before["tcp:sessions"]["passed"]
    assert_passing(after["tcp:sessions"])
    assert_failing(after["tcp:patroni"])

    before = wait_results(daemon, 8)
    daemon.reload(config(server, status, ("tcp:sessions", "tcp:patroni2")).replace(
        "50ms", "1h", 2))
    after = each_of(daemon)
    assert after["tcp:sessions"]["passed"] >= before["tcp:sessions"]["passed"] >= 8
    wait_for(lambda: each_of(daemon)["tcp:patroni2"]["failed"] == 1, what="the new one's result")
    assert each_of(daemon)["tcp:patroni2"]["history"] == "-"


def test_through_the_death_of_the_monitor(start, server, status):
    daemon = start(Daemon(config(server, status)))
    before = wait_results(daemon, 3)
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    daemon.kill_child(monitor)
    wait_for(lambda: daemon.ctl_json("show info")["monitor_pid"] not in (0, monitor),
             what="a new monitor")
    after = wait_results(daemon, max(one["passed"] + one["failed"] for one in before.values()) + 2)
    assert_passing({**after["tcp:sessions"], "streak": after["tcp:sessions"]["passed"]})
    assert_failing({**after["tcp:patroni"], "streak": after["tcp:patroni"]["failed"]})


def test_a_check_that_says_nothing(start, server):
    """An agent without a word decides nothing, and its row says so."""
    port = server.getsockname()[1]
    text = service("s") + pool("s", [f"127.0.0.1:{port}"], {
        "tcp": FAST, "agent:load": {**FAST, "timeout": "40ms", "port": port}})
    daemon = start(Daemon(text))
    load = wait_for(lambda: (one := each_of(daemon)["agent:load"])["result"] and one,
                    what="the agent's silence")
    assert (load["state"], load["result"]) == ("advisory", "nothing"), load
    assert "no answer" in load["reason"] and load["history"] == "", load
    wait_for(lambda: daemon.backend("s", "a")["health"] == "up", what="the other check's word")
