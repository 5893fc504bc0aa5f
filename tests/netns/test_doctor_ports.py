"""Few ports to connect from, in a network namespace of the test's own: the daemon's limit, its
warnings and doctor know, and what is not to be seen from within a namespace is told as unknown."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from sluice import SLUICECTL, Daemon, Origin, pool, run, service, wait_for  # noqa: E402
from test_namespace import client, enter_new_namespace, namespace, start  # noqa: E402, F401: fixtures too

RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED = pathlib.Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
LISTEN = "127.0.0.1:8080"


def info(daemon):
    return daemon.ctl_json("show info")


def doctor(daemon, *words):
    return run([SLUICECTL, "doctor", "-c", daemon.config_path, *words], check=False)


def row(daemon, setting, *words):
    rows = json.loads(doctor(daemon, "--json", *words).stdout)["rows"]
    return next(row for row in rows if row["setting"] == setting)


def test_ports_decide(start):
    """As many clients as the limit says are served, and the next is refused by the limit rather than
    for want of a port."""
    echo = start(Origin("echo", "echo"))
    RANGE.write_text("40000 40005\n")
    RESERVED.write_text("40002,40004-40005\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", echo.addresses, scheduler="rr"), 1))
    told = info(daemon)
    assert (told["connections_limit"], told["connections_limited_by"]) == (6, "ports")
    assert told["connections_by"]["ports"] == 6
    assert re.search(r"msg=ready .* connections_limit=6 connections_limited_by=ports", daemon.log())
    assert all([start(client(LISTEN, number)) for number in range(6)])
    assert client(LISTEN, 10) is None
    assert daemon.service("s")["refused_by"]["daemon_limit"] == 1
    assert daemon.service("s")["refused_by"]["connect_failed"] == 0


def kernel():
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))


UNUSED = {"weight 0": 'backend "b" { address = "127.0.0.2:9" weight = 0 }',
          "backup": 'backend "b" { address = "127.0.0.2:9" backup = true }',
          "Unix backup": 'backend "b" { address = "unix:/run/none.sock" backup = true }'}


@pytest.mark.parametrize("beside", UNUSED.values(), ids=UNUSED)
def test_what_gets_no_load_does_not_count(start, beside):
    """The limit is what is really there: each client within it is served."""
    echo = start(Origin("echo", "echo"))
    RANGE.write_text("40000 40003\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + f'''
        pool "s" {{ backend "a" {{ address = "{echo.addresses[0]}" }}  {beside} }}\n''', 1))
    assert info(daemon)["connections_limit"] == 4
    assert all([start(client(LISTEN, number)) for number in range(4)])
    assert client(LISTEN, 10) is None
    assert daemon.service("s")["refused_by"]["daemon_limit"] == 1


def test_nobody_waits_for_a_port(start):
    """A pool's queue adds nothing to the limit where ports end, and not max_connections."""
    echo = start(Origin("echo", "echo"))
    RANGE.write_text("40000 40003\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + f'''
        pool "s" {{ queue = 300  backend "a" {{ address = "{echo.addresses[0]}" max_connections = 1000 }} }}\n''', 1))
    assert info(daemon)["connections_limit"] == 4
    assert row(daemon, "net.ipv4.ip_local_port_range", "--connections", "5")["state"] == "too low"
    assert all([start(client(LISTEN, number)) for number in range(4)])
    assert client(LISTEN, 10) is None
    assert daemon.service("s")["refused_by"]["daemon_limit"] == 1


def test_drained_sessions_leave_the_others_their_places(start):
    """What a backend still has after its weight became 0 does not use up the limit."""
    echo = start(Origin("echo", "echo"))
    RANGE.write_text("40000 40003\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", echo.addresses, scheduler="rr"), 1))
    assert all([start(client(LISTEN, number)) for number in range(4)])
    daemon.ctl("set backend s b weight=0")
    assert info(daemon)["connections_limit"] == 4 + 2
    assert all([start(client(LISTEN, number)) for number in range(4, 6)])


def test_doctor_sees_the_range(start):
    RANGE.write_text("40000 40003\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", ["127.0.0.1:9"]), 1,
                          max_connections=100))
    log = wait_for(lambda: re.search(r"max_connections = 100 cannot be reached.*", daemon.log()),
                   what="a warning")[0]
    assert "ports allow 4; 4 for each pair of a source and a backend address, here 1: sysctl -w " in log
    assert "allows 62496 in all" in log

    result = doctor(daemon)
    assert result.returncode == 1
    assert re.search(r"^net.ipv4.ip_local_port_range +4 ports +100 ports +too low +40000 to 40003,",
                     result.stdout, re.MULTILINE)
    assert "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"" in result.stdout
    # In that range the service's port would be one of them.
    assert "sysctl -w net.ipv4.ip_local_reserved_ports=\"8080\"" in result.stdout

    # What it says is taken by the kernel, and good.
    for line in doctor(daemon, "--sysctl").stdout.splitlines():
        if line.startswith(("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports")):
            key, value = line.split(" = ")
            pathlib.Path("/proc/sys", *key.split(".")).write_text(value)
    assert row(daemon, "net.ipv4.ip_local_port_range")["state"] == "ok"
    assert "ip_local_reserved_ports" not in doctor(daemon).stdout
    assert "cannot be reached: ports" not in daemon.ctl("reload")
    assert info(daemon)["connections_by"]["ports"] == 64511 - 64511 // 32


def test_what_is_advised_takes_effect(start):
    """Settings of the kernel are looked at again while the daemon runs, both ways."""
    echo = start(Origin("echo", "echo"))
    RANGE.write_text("40000 40003\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", [echo.addresses[0]]), 1))
    assert info(daemon)["connections_limit"] == 4
    generation = info(daemon)["generation"]

    def wait_for_ports(ports):
        wait_for(lambda: info(daemon)["connections_by"]["ports"] == ports, what=f"{ports} ports")

    RANGE.write_text("40000 40007\n")
    wait_for_ports(8)
    assert info(daemon)["connections_limit"] == 8
    assert info(daemon)["generation"] == generation + 1
    assert all([start(client(LISTEN, number)) for number in range(8)])
    assert client(LISTEN, 10) is None
    RESERVED.write_text("40001-40002\n")
    wait_for_ports(6)
    told = [one["text"] for one in daemon.ctl_json("show events kind=limit")["events"]]
    assert told == ["settings of the kernel were changed: the limit is 8 connections now, by ports; "
                    "it was 4, by ports",
                    "settings of the kernel were changed: the limit is 6 connections now, by ports; "
                    "it was 8, by ports"]
    assert told[1] in daemon.log()

    # A number of the file's own stays, and what is possible beside it is known.
    daemon.options["max_connections"] = 5
    daemon.reload(service("s", listen=[LISTEN]) + pool("s", [echo.addresses[0]]))
    generation = info(daemon)["generation"]
    RESERVED.write_text("\n")
    wait_for_ports(8)
    assert (info(daemon)["connections_limit"], info(daemon)["generation"]) == (5, generation)
    assert len(daemon.ctl_json("show events kind=limit")["events"]) == 2


def test_more_than_half_is_advised_against(start):
    RANGE.write_text("40000 40099\n")
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", ["127.0.0.1:9"]), 1))
    states = [row(daemon, "net.ipv4.ip_local_port_range", "--connections", n)["state"]
              for n in (50, 51, 97, 98)]  # the last 32nd is left alone
    beyond = "advice" if kernel() < (6, 3) else "ok"  # since then the whole range is as fast
    assert states == ["ok", beyond, beyond, "too low"]


def test_what_cannot_be_seen_is_unknown(start):
    """Some settings belong to the first namespace: no failure."""
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", ["127.0.0.1:9"]), 1,
                          max_connections=10))
    if pathlib.Path("/proc/sys/net/ipv4/tcp_mem").exists():
        pytest.skip("this kernel shows tcp_mem in every namespace")
    unknown = row(daemon, "net.ipv4.tcp_mem")
    assert (unknown["state"], unknown["now"], unknown["command"]) == ("unknown", "unknown", None)
    result = doctor(daemon)
    assert result.returncode == 0
    assert re.search(r"^verdict: ready, .*\d+ unknown$", result.stdout, re.MULTILINE)
    assert "tcp_mem" not in doctor(daemon, "--sysctl").stdout


def test_doctor_goes_to_the_daemon(start):
    """Its network namespace is not that of whoever asks; without the right to go there, what is read
    here is not told as the daemon's."""
    RANGE.write_text("40000 40003\n")
    subprocess.run("ip address add 192.0.2.7/32 dev lo", shell=True, check=True)
    daemon = start(Daemon(service("s", listen=[LISTEN]) +
                          pool("s", ["127.0.0.1:9"], source_addresses=["192.0.2.7"]), 1))
    assert enter_new_namespace() is None
    assert RANGE.read_text().split() != ["40000", "40003"]

    there = doctor(daemon, "--json")
    told = json.loads(there.stdout)
    assert told["connections_by"]["ports"] == 4
    assert there.stderr == ""
    assert row(daemon, "source addresses")["now"] == "1 here"
    assert "network namespace of its own: settings" in told["note"]
    assert "a network namespace of its own" in doctor(daemon).stdout

    shut = run(["setpriv", "--bounding-set", "-sys_admin", SLUICECTL, "doctor", "--json", "-c",
                daemon.config_path], check=False)
    told = json.loads(shut.stdout)
    rows = {row["setting"]: row["state"] for row in told["rows"]}
    assert told["connections_by"]["ports"] is None
    assert rows["net.ipv4.ip_local_port_range"] == rows["net.core.somaxconn"] == "unknown"
    assert rows["source addresses"] == "unknown" and "192.0.2.7" not in shut.stderr
    assert "cannot be entered (Operation not permitted)" in told["note"]


TRACK = "table inet t { chain c { type filter hook input priority 0; ct state invalid drop; }; }"
EXEMPT = """table inet e {
    chain in { type filter hook prerouting priority raw; tcp dport 8080 notrack; }
    chain out { type filter hook output priority raw; tcp sport 8080 notrack; }
}"""


def test_doctor_tells_what_is_tracked(start):
    """By the rules of the daemon's namespace."""
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", ["127.0.0.1:9"]), 1,
                          max_connections=10))

    def tracked():
        return row(daemon, "net.netfilter.nf_conntrack_max")
    if tracked()["needed"] == "-":
        pytest.skip("this kernel has no connection tracking loaded")
    assert "no rule has connections tracked here" in tracked()["why"]
    run(["nft", TRACK])
    assert tracked()["why"].startswith("2 for each session,") and tracked()["needed"] == "20"
    run(["nft", EXEMPT])
    assert "rules exempt the services' ports" in tracked()["why"] and tracked()["needed"] == "10"


def test_doctor_without_the_right_to_see_rules(start):
    """What nft complains of is told in the row, in doctor's own words."""
    daemon = start(Daemon(service("s", listen=[LISTEN]) + pool("s", ["127.0.0.1:9"]), 1))
    shut = run(["setpriv", "--bounding-set", "-net_admin", SLUICECTL, "doctor", "--json", "-c",
                daemon.config_path], check=False)
    assert shut.stderr == ""
    rows = {row["setting"]: row for row in json.loads(shut.stdout)["rows"]}
    tracked = rows["net.netfilter.nf_conntrack_max"]
    if tracked["needed"] == "-":
        pytest.skip("this kernel has no connection tracking loaded")
    assert "does not answer this user (ask as root)" in tracked["why"]
