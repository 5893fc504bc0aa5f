"""Ports to connect to backends from run out, in a network namespace of the test's own with few of
them: source_addresses give more, all are used, and what is beyond is refused at once."""

import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from sluice import Daemon, Origin, pool, run, service, split, wait_for  # noqa: E402
from test_namespace import client, namespace, start  # noqa: E402, F401: fixtures too

RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
LISTEN = "127.0.0.1:8080"
PORTS = 16
SOURCES = ["127.0.0.2", "127.0.0.10-127.0.0.11"]
ALL = PORTS * 3


def start_daemon(start, backends, sources=SOURCES, workers=2, extra="", **options):
    RANGE.write_text(f"40000 {40000 + PORTS - 1}\n")
    options = {"source_addresses": sources, **options} if sources else options
    text = pool("s", backends, **options).removesuffix("}\n") + extra + "}\n"
    return start(Daemon(service("s", listen=[LISTEN]) + text, workers, max_connections=1000))


def ports(daemon, words=""):
    rows = daemon.ctl_json(f"show source-ports {words}")["source_ports"]
    return {(row["backend"], row["source"]): row for row in rows}


def in_use(daemon):
    return [row["in_use"] for row in ports(daemon).values()]


def cpu_ticks(pid):
    return sum(int(ticks) for ticks in pathlib.Path(f"/proc/{pid}/stat").read_text()
               .rpartition(")")[2].split()[11:13])


def test_all_ports_of_all_sources(start):
    """Every port of every source is used, evenly on the way; the next client is refused by a reason
    of its own, quickly and without any search, and there is no failure of the backend; what is closed
    can be used again."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses)
    kept = []
    for number in range(ALL):
        kept.append(start(client(LISTEN, number)))
        used = in_use(daemon)
        # Each of the two workers takes them in turn.
        assert sum(used) == len(kept) and max(used) - min(used) <= 2, used
    assert in_use(daemon) == [PORTS] * 3

    before = sum(cpu_ticks(pid) for pid in daemon.workers())
    began = time.monotonic()
    for number in range(200):
        assert client(LISTEN, 100 + number) is None
    took = time.monotonic() - began
    spent = sum(cpu_ticks(pid) for pid in daemon.workers()) - before
    assert took < 30 and spent < 300, (took, spent)  # of which most is a sanitizer's

    wait_for(lambda: {key: count for key, count in daemon.service("s")["refused_by"].items()
                      if count} == {"source_ports": 200}, what="every refusal to be counted")
    backend = daemon.backend("s", "a")
    assert (backend["connect_failures"], backend["state"]) == (0, "up")
    assert (backend["source_ports_used"], backend["source_ports_limit"]) == (ALL, ALL)
    assert backend["source_ports_out"] == 200
    told = daemon.ctl_json("explain s 127.0.0.1")
    assert told["backend"] is None and "no source port is left" in told["rule"], told
    assert told["others"] == [{"name": "a", "pool": "s", "why_not": "no source port towards it is "
                               f"left: {ALL} of {ALL} in use"}]
    assert all(row["headroom"] == 0 and row["failures"] == 0 and row["fullest_percent"] == 100
               for row in ports(daemon).values())

    event = wait_for(lambda: [one for one in daemon.ctl_json("show events")["events"]
                              if one["kind"] == "ports"], what="an event")
    assert len(event) == 1 and "add source_addresses" in event[0]["text"]
    assert daemon.log().count("no port was left") == 1

    kept.pop().close()
    wait_for(lambda: sum(in_use(daemon)) == ALL - 1, what="the port to be free")
    # The client ended first, so the kernel keeps that port for a moment more.
    numbers = iter(range(400, 5000))
    assert start(wait_for(lambda: client(LISTEN, next(numbers)), what="the port to be of use"))
    assert in_use(daemon) == [PORTS] * 3


def test_another_backend_is_tried(start):
    """Without source_addresses: a pair for each backend. Both are filled before anyone is refused."""
    echo = start(Origin("echo", "echo"))
    daemon = start_daemon(start, {"a": {"address": echo.addresses[0], "weight": 100},
                                  "b": {"address": echo.addresses[1], "weight": 1}}, None)
    for number in range(2 * PORTS):
        told = daemon.ctl_json("explain s 127.0.0.1")
        start(client(LISTEN, number))
        if number == PORTS:
            assert told["backend"] == "b" and "no source port" in told["others"][0]["why_not"], told
    assert {key: row["in_use"] for key, row in ports(daemon).items()} == {
        ("a", "any"): PORTS, ("b", "any"): PORTS}
    assert daemon.ctl_json("explain s 127.0.0.1")["backend"] is None
    assert client(LISTEN, 100) is None
    wait_for(lambda: daemon.service("s")["refused_by"]["source_ports"] == 1, what="a refusal")
    assert daemon.service("s")["refused_by"]["connect_failed"] == 0


def test_ports_of_others(start):
    """Ports that somebody else uses are not in our count: the kernel's word is taken, the next
    source is tried, and the backend is not blamed."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses, ["127.0.0.2", "127.0.0.3"])
    for number in range(PORTS):
        sock = start(socket.socket())
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind(("127.0.0.2", 0))
        sock.connect(split(echo.addresses[0]))
    kept = [start(client(LISTEN, number)) for number in range(PORTS)]
    assert all(kept)
    shown = ports(daemon)
    assert shown["a", "127.0.0.3"]["in_use"] == PORTS
    assert shown["a", "127.0.0.2"]["in_use"] == 0
    assert shown["a", "127.0.0.2"]["failures"] >= 1
    for number in range(50):
        assert client(LISTEN, 100 + number) is None
    # Asked for at most once a second, and not by every client.
    assert ports(daemon)["a", "127.0.0.2"]["failures"] <= 50
    wait_for(lambda: daemon.service("s")["refused_by"]["source_ports"] == 50, what="refusals")
    assert daemon.backend("s", "a")["connect_failures"] == 0
    assert ports(daemon)["a", "127.0.0.2"]["state"] == "held by others"
    assert ports(daemon)["a", "127.0.0.3"]["state"] == "full"
    told = wait_for(lambda: [one["text"] for one in daemon.ctl_json("show events")["events"]
                             if one["kind"] == "ports"], what="an event")
    assert len(told) == 1 and "the kernel found no port to connect to backend a from" in told[0]
    assert "some at 1 of 2 addresses: other programs have them" in told[0]


def test_a_narrower_range(start):
    """More are in use than may be: that is full, and no fuller."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses, ["127.0.0.2"])
    kept = [start(client(LISTEN, number)) for number in range(PORTS)]
    assert all(kept)
    RANGE.write_text(f"40000 {40000 + PORTS // 4 - 1}\n")
    daemon.ctl("reload")
    row = ports(daemon)["a", "127.0.0.2"]
    assert (row["in_use"], row["limit"], row["headroom"]) == (PORTS, PORTS // 4, 0)
    assert (row["fullest_percent"], row["state"]) == (100, "full")


def test_absent_address(start):
    """A source that this machine does not have costs nobody anything while there is another."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses, ["203.0.113.7", "127.0.0.2"])
    assert "this machine does not have 203.0.113.7 now" in daemon.log()
    assert all([start(client(LISTEN, number)) for number in range(8)])
    assert ports(daemon)["a", "127.0.0.2"]["in_use"] == 8
    assert ports(daemon)["a", "203.0.113.7"]["failures"] >= 1
    assert daemon.backend("s", "a")["connect_failures"] == 0


def test_warm_connections_leave_ports(start):
    """What is opened ahead stops while a quarter of the ports is left; sessions get those."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses, ["127.0.0.2"], workers=1,
                          extra='    reuse { mode = "warm"  warm_min = 6  idle_max = "0s" }\n')
    wait_for(lambda: in_use(daemon) == [6], what="warm connections")
    kept = [start(client(LISTEN, number)) for number in range(PORTS)]
    assert all(kept)
    assert in_use(daemon) == [PORTS]
    assert client(LISTEN, 100) is None
    wait_for(lambda: daemon.service("s")["refused_by"]["source_ports"] == 1, what="a refusal")
    for sock in kept:
        sock.close()
    wait_for(lambda: in_use(daemon) == [6], what="warm connections again")


def leave_no_way_from(*sources):
    """The rules of routing refuse whatever comes from there, on this machine too."""
    for source in sources:
        run(["ip", "rule", "add", "pref", "10", "from", source, "unreachable"])
    run(["ip", "rule", "add", "pref", "20", "lookup", "local"])
    run(["ip", "rule", "del", "pref", "0"])


def test_no_way_from_an_address(start):
    """An address from which the backend cannot be reached costs nobody anything while there is
    another, is told for what it is, and is used again when there is a way."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses)
    leave_no_way_from("127.0.0.10")
    assert all([start(client(LISTEN, number)) for number in range(24)])
    shown = ports(daemon)
    assert shown["a", "127.0.0.2"]["in_use"] + shown["a", "127.0.0.11"]["in_use"] == 24
    assert shown["a", "127.0.0.10"]["in_use"] == 0 and shown["a", "127.0.0.10"]["failures"] >= 1
    assert "unreachable" in shown["a", "127.0.0.10"]["state"]
    assert daemon.backend("s", "a")["connect_failures"] == 0
    wait_for(lambda: "source address 127.0.0.10 cannot be used" in daemon.log(), what="a warning")

    run(["ip", "rule", "del", "pref", "10"])
    numbers = iter(range(100, 5000))

    def is_used_again():
        sock = client(LISTEN, next(numbers))
        assert sock
        used = ports(daemon)["a", "127.0.0.10"]["in_use"]
        sock.close()
        return used
    wait_for(is_used_again, what="the address to be of use again")
    assert ports(daemon)["a", "127.0.0.10"]["state"] == "ok"


def test_no_way_from_any_address(start):
    """Then it is the backend that cannot be reached, and no address is to blame."""
    echo = start(Origin("echo"))
    daemon = start_daemon(start, echo.addresses, workers=1)
    leave_no_way_from("127.0.0.2", "127.0.0.10", "127.0.0.11")
    assert client(LISTEN, 0) is None
    wait_for(lambda: daemon.service("s")["refused_by"]["connect_failed"] == 1, what="a refusal")
    assert daemon.backend("s", "a")["connect_failures"] >= 1
    assert {row["state"] for row in ports(daemon).values()} == {"ok"}
    for _ in SOURCES + ["the third"]:
        run(["ip", "rule", "del", "pref", "10"])
    kept = [start(client(LISTEN, number)) for number in range(1, 4)]
    assert all(kept) and in_use(daemon) == [1, 1, 1]


def test_those_who_wait_want_ports_too(start):
    """One backend is full by its limit, the other by our ports: who waits for a place gets the next
    of either, and the workers have nothing to do meanwhile."""
    echo = start(Origin("echo", "echo"))
    daemon = start_daemon(start, {"a": {"address": echo.addresses[0], "max_connections": 4,
                                        "resume_connections": 4},
                                  "b": {"address": echo.addresses[1]}}, ["127.0.0.2"],
                          queue=50, queue_timeout="1m")
    kept = {"a": [], "b": []}

    def sessions(name):
        return daemon.backend("s", name)["connections_active"]
    for number in range(4 + PORTS):
        used = {name: sessions(name) for name in kept}
        sock = start(client(LISTEN, number))
        [name] = [name for name in kept if sessions(name) > used[name]]
        kept[name].append(sock)
    assert {name: len(socks) for name, socks in kept.items()} == {"a": 4, "b": PORTS}

    waiting = []
    for number in range(20):
        sock = start(socket.create_connection(split(LISTEN),
                                              source_address=("127.0.0.1", 51000 + number)))
        sock.setblocking(False)
        sock.send(b"x")
        waiting.append(sock)
    wait_for(lambda: sum(row["waiting"] for row in daemon.ctl_json("show workers")["workers"])
             == len(waiting), what="clients that wait")

    def answered():
        count = 0
        for sock in waiting:
            try:
                count += sock.recv(1, socket.MSG_PEEK) == b"x"
            except BlockingIOError:
                pass
        return count

    for number, name in enumerate(["b", "a", "b", "a", "b"], 1):
        kept[name].pop().close()
        wait_for(lambda: answered() == number, what=f"the place at {name} to be taken")
    # Each tries what is free now and then, some at a time: not all of them, all the time.
    assert daemon.backend("s", "b")["source_ports_out"] < 2000
