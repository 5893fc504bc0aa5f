"""Checks of backends behind a firewall, in a network namespace of the test's own: rejected in every
way, dropped, cut off in the middle of an answer, without a route. What each kind of check says, and
that all are up again once the rule is gone."""

import contextlib
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from hostile import Hostile, says  # noqa: E402
from sluice import Daemon, Origin, connect, pool, run, service, split, wait_for  # noqa: E402
from test_namespace import namespace, nft, nft_clear, start  # noqa: E402, F401: fixtures too

# --- a backend for each kind of check ---

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n"
BODY = b"x" * 39997 + b"end"


def in_two_parts(peer):
    """An answer whose body is a packet of its own."""
    yield from peer.hear()
    yield from peer.say(HEAD)
    yield from peer.pause(0.02)
    yield from peer.say(BODY)
    yield from peer.end()


TIMING = {"interval": "50ms", "timeout": "300ms", "rise": 1, "fall": 1}
KINDS = {
    "tcp": {},
    "http": {"body": "end$"},
    "expect": {"steps": ["send PING\\\\r\\\\n", "expect +PONG"]},
    "redis": {},
    "agent": {},
}
ANSWERS = {
    "tcp": says(b""),
    "http": in_two_parts,
    "expect": says(b"+PONG\r\n"),
    "redis": says(b"+PONG\r\n"),
    "agent": says(b"up\n", "end", True),
}
UP = {"tcp": "connected in .*", "http": "HTTP 200 in .*", "expect": "2 steps in .*",
      "redis": "answered in .*", "agent": "agent says up"}


def start_all(start, host="127.0.0.1"):
    """The daemon, all of whose checks pass, and the server that they ask: a pool for each kind."""
    server = start(Hostile(ANSWERS, host))
    text = ""
    for kind, options in KINDS.items():
        port = {"port": split(server[kind])[1]} if kind == "agent" else {}
        text += pool(kind, [server[kind]], {kind: {**TIMING, **options, **port}})
    daemon = start(Daemon(service("tcp") + text))
    wait_said(daemon, {kind: ("up", reason) for kind, reason in UP.items()})
    return daemon, server


def wait_said(daemon, expected):
    """{"http": ("down", expression that is the whole reason)}"""
    def differences():
        return {kind: (row["state"], row["reason"])
                for kind, row in ((kind, daemon.backend(kind, "a")) for kind in expected)
                if row["state"] != expected[kind][0]
                or not re.fullmatch(expected[kind][1], row["reason"])}
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not differences(), 30)
    assert not differences()


def all_down(reason, **others):
    """What an agent that does not answer has said before stays."""
    said = {kind: ("down", others.get(kind, reason)) for kind in KINDS if kind != "agent"}
    return {**said, "agent": ("up", others.get("agent", f"the agent does not answer: {reason}"))}


def ports(server):
    return "tcp dport { %s }" % ", ".join(str(split(server[kind])[1]) for kind in KINDS)


NO_CONNECTION = {"tcp": "no answer within 300 ms", "agent": "no answer within 300 ms"}
V4 = [
    ("reject with tcp reset", "connect refused", {}),
    ("reject with icmp type port-unreachable", "connect refused", {}),
    ("reject with icmp type host-unreachable", "no route to host", {}),
    ("reject with icmp type net-unreachable", "network unreachable", {}),
    ("reject with icmp type admin-prohibited", "no route to host", {}),
    ("drop", "no connection within 300 ms", NO_CONNECTION),
]
V6 = [V4[0], V4[-1]]  # what nft rejects by ICMPv6 on loopback is not told to those who sent it


@pytest.mark.parametrize("host,verdicts", [("127.0.0.1", V4), ("::1", V6)], ids=["ipv4", "ipv6"])
def test_no_connection(start, host, verdicts):
    """Each verdict has its own words, and is forgotten with its rule."""
    daemon, server = start_all(start, host)
    for verdict, reason, others in verdicts:
        nft(f"{ports(server)} {verdict}")
        wait_said(daemon, all_down(reason, **others))
        nft_clear()
        wait_said(daemon, {kind: ("up", reason) for kind, reason in UP.items()})
    assert daemon.ctl_json("show info")["monitor_restarts"] == 0


def test_nothing_after_the_handshake(start):
    """Connections are made, and then nothing arrives: who only connects does not see it."""
    daemon, server = start_all(start)
    late = "no answer within 300 ms"
    nft(f"{ports(server)} tcp flags & (syn | rst) == 0 drop")
    wait_said(daemon, {
        "tcp": ("up", UP["tcp"]), "http": ("down", late), "redis": ("down", late),
        "expect": ("down", f"expect step 2: expected .*, {late}"), "agent": ("up", late)})
    nft_clear()
    wait_said(daemon, {kind: ("up", reason) for kind, reason in UP.items()})


def test_reset_after_the_handshake(start):
    """Where a firewall has forgotten its sessions."""
    daemon, server = start_all(start)
    nft(f"{ports(server)} tcp flags & (syn | rst) == 0 reject with tcp reset")
    wait_said(daemon, {
        "tcp": ("up", UP["tcp"]), "http": ("down", "connection reset"),
        "expect": ("down", "(expect step [12]: .*)?connection reset"),
        "redis": ("down", "connection reset"),
        "agent": ("up", "the agent does not answer: connection reset")})
    nft_clear()
    wait_said(daemon, {kind: ("up", reason) for kind, reason in UP.items()})


def test_cut_off_in_the_answer(start):
    """The beginning comes through, and the rest never: of one the body is too long."""
    daemon, server = start_all(start)
    nft(f"tcp sport {split(server['http'])[1]} meta length > 10000 drop")
    wait_said(daemon, {
        "tcp": ("up", UP["tcp"]), "redis": ("up", UP["redis"]),
        "http": ("down", "no whole answer within 300 ms: its body goes on")})
    nft_clear()
    wait_said(daemon, {"http": ("up", UP["http"])})


# --- routes ---

@pytest.mark.parametrize("listen,net", [("0.0.0.0", "192.0.2."), ("[::]", "2001:db8::")],
                         ids=["ipv4", "ipv6"])
def test_no_route(start, listen, net):
    """The kernel knows at once. A new route is as good as a new server."""
    port = split(start(Origin(f"echo@{listen}:0")).addresses[0])[1]
    hosts = {"nowhere": f"{net}1", "unreachable": f"{net}2", "prohibited": f"{net}3"}
    backends = {name: f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                for name, host in hosts.items()}
    said = {"nowhere": "network unreachable", "unreachable": "no route to host",
            "prohibited": "permission denied"}
    routes = [["unreachable", hosts["unreachable"]], ["prohibit", hosts["prohibited"]]]
    for route in routes:
        run(["ip", "route", "add", *route])
    kinds = {"tcp": {}, "expect": {"steps": ["send PING", "expect PING"]}}
    daemon = start(Daemon(service("tcp") + "".join(
        pool(kind, backends, {kind: {**TIMING, **options}}) for kind, options in kinds.items())))

    def wait_state(state):
        return {(kind, name): wait_for(
            lambda: (row := daemon.backend(kind, name))["state"] == state and row["reason"],
            what=f"{name} to be {state}") for kind in kinds for name in hosts}
    assert wait_state("down") == {(kind, name): said[name] for kind in kinds for name in hosts}
    for route in routes:
        run(["ip", "route", "del", *route])
    for host in hosts.values():
        run(["ip", "address", "add", host, "dev", "lo"])
    wait_state("up")
    with connect(daemon.address("tcp")) as sock:
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
