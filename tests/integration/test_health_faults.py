"""Checks of backends that are killed, stopped, full, slow or hostile at every step: what is said of
each; that the monitor stays bounded and clients notice nothing; reloads and the monitor's death in
the middle of checks; and the time between an order to stop and the drain."""

import contextlib
import os
import re
import signal
import socket
import time

from choosing import Backend, Client, ask
from hostile import Hostile, says, silent
from hostile_cast import EXPECT, HEAD, LATE, PROGRAMS, Cast, backend
from leftovers import children, cpu_seconds, own_bytes, programs, settled_descriptors
from software import Nginx, Redis
from sluice import (Daemon, Load, Origin, Process, SLUICECTL, amount, connect, descriptors, family,
                    is_alive, pool, run, service, split, wait_for)

FAST = {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}


# --- what is said ---

def rows(daemon, what):
    return {(row["pool"], row["backend" if what == "checks" else "name"]): row
            for row in daemon.ctl_json(f"show {what}")[what]}


def complaints(daemon, expected):
    """What is not as expected: {(pool, backend): (state, expression that is the whole reason)}."""
    checks, backends = rows(daemon, "checks"), rows(daemon, "backends")
    wrong = []
    for key, (state, reason) in expected.items():
        check, backend = checks[key], backends[key]
        health = "down" if state == "down" else "up"
        if (backend["state"], backend["health"], check["health"]) != (state, health, health) or \
                not all(re.fullmatch(reason, row["reason"]) for row in (check, backend)):
            wrong.append(f"{key}: {backend['state']}, {check['health']}, {check['reason']!r}, "
                         f"{backend['reason']!r} instead of {state}, {reason!r}")
    return wrong


def wait_said(daemon, expected):
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not complaints(daemon, expected))
    assert not complaints(daemon, expected)


def wait_all(daemon, pool_name, state, reason):
    names = [key for key in rows(daemon, "backends") if key[0] == pool_name]
    wait_said(daemon, dict.fromkeys(names, (state, reason)))


def health_events(daemon):
    return [event for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == "health"]


def monitor_of(daemon):
    return daemon.ctl_json("show info")["monitor_pid"]


def test_the_cause_is_told(start, folder):
    """Of every manner to every kind; and tcp checks see none of it."""
    cast = Cast(start, folder)
    timing = {"interval": "500ms", "timeout": "1s", "rise": 1, "fall": 1}
    daemon = start(Daemon(service("s", pool="http") + cast.pools(**timing)))
    wait_said(daemon, cast.said())
    # An endless stream is read as far as a check looks, and what fits into buffers on the way.
    for name, (*_, server, _) in cast.plays.items():
        assert max(server.most.values()) < 2 << 20, (name, server.most)
    assert cast.plays["http"][2].most["gigabyte"] > 100

    connected = "".join(pool(name, server.addresses(), {"tcp": timing})
                        for name, (*_, server, _) in cast.plays.items())
    daemon.reload(service("s", pool="http") + connected)
    wait_said(daemon, {(name, backend): ("up", r"connected in \d+ us")
                       for name, (*_, server, _) in cast.plays.items() for backend in server.met})
    wait_for(lambda: not children(monitor_of(daemon)) and not programs(cast.exec_pool),
             what="the end of all programs")
    assert daemon.ctl_json("show info")["monitor_restarts"] == 0


# --- real servers, and one that is full ---

def test_nginx_stopped_and_killed(start):
    """Workers that stand still: http sees it, tcp cannot. Dead: both do. There again: both do."""
    server = start(Nginx({"x": b""}))
    daemon = start(Daemon(service("http") + pool("http", [server.address],
                                                 {"http": {**FAST, "path": "/x"}})
                          + pool("tcp", [server.address], {"tcp": FAST})))
    up = {("http", "a"): ("up", "HTTP 200 in .*"), ("tcp", "a"): ("up", r"connected in \d+ us")}
    refused = dict.fromkeys(up, ("down", "connect refused"))
    wait_said(daemon, up)
    workers = [pid for pid in family(server.pid) if pid != server.pid]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    wait_said(daemon, {**up, ("http", "a"): ("down", LATE)})
    assert daemon.backend("tcp", "a")["checks_failed"] == 0
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    wait_said(daemon, up)
    for pid in [server.pid, *workers]:
        os.kill(pid, signal.SIGKILL)
    wait_said(daemon, refused)
    start(Process(server.popen.args, server.folder))
    wait_said(daemon, up)
    assert ask_http(daemon.address("http")) == b"HTTP/1.1 200"


def ask_http(address):
    with connect(address) as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        return sock.recv(12)


def test_redis_killed(start):
    """On its port and on its socket: each has its own words for it."""
    server = start(Redis())
    addresses = {"port": server.address, "socket": server.unix_address}
    daemon = start(Daemon(service("s") + pool("s", addresses, {"redis": FAST})))
    wait_all(daemon, "s", "up", "answered in .*")
    server.signal(signal.SIGKILL)
    wait_all(daemon, "s", "down", "connect refused")
    os.unlink(server.unix_address.removeprefix("unix:"))
    wait_said(daemon, {("s", "port"): ("down", "connect refused"),
                       ("s", "socket"): ("down", "no such socket")})
    start(Process(server.popen.args, server.folder))
    wait_all(daemon, "s", "up", "answered in .*")


class Full:
    """A listener that accepts nobody, and whose backlog is full until make_room()."""

    def __init__(self, path=None):
        kind = socket.AF_UNIX if path else socket.AF_INET
        self.listener = socket.socket(kind)
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        if path:
            path.chmod(0o777)
        self.listener.listen(1)
        self.listener.setblocking(False)
        self.fillers = [socket.socket(kind) for _ in range(4)]
        for filler in self.fillers:
            filler.setblocking(False)
            filler.connect_ex(self.listener.getsockname())
        self.address = f"unix:{path}" if path else "%s:%d" % self.listener.getsockname()

    def make_room(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.listener, *self.fillers:
            sock.close()


def test_backlog_full(start, folder):
    """Its kernel answers no SYN any more: so even tcp sees it. A Unix socket says so at once."""
    tcp, local = start(Full()), start(Full(folder / "full"))
    timing = {**FAST, "timeout": "300ms"}
    kinds = {"tcp": {}, "http": {}, "redis": {}, "mysql": {}, "expect": {"steps": ["expect x"]}}
    daemon = start(Daemon(service("tcp") + "".join(
        pool(kind, [tcp.address, local.address], {kind: {**timing, **options}})
        for kind, options in kinds.items())))
    said = {(kind, "b"): ("down", "backlog full") for kind in kinds}
    said.update({(kind, "a"): ("down", "no connection within 300 ms") for kind in kinds})
    said["tcp", "a"] = "down", "no answer within 300 ms"
    wait_said(daemon, said)

    def has_room():
        tcp.make_room()
        local.make_room()
        return not complaints(daemon, {("tcp", "a"): ("up", "connected in .*"),
                                       ("tcp", "b"): ("up", "connected in .*")})
    wait_for(has_room, what="both to be up again")


# --- the monitor meanwhile ---

def spend(daemon, rounds, server):
    """Waits for so many rounds: checks that its slowest player has met."""
    begun = min(server.met.values())
    wait_for(lambda: min(server.met.values()) >= begun + rounds, what=f"{rounds} rounds")


def test_hostile_for_long(start, folder, monkeypatch):
    """Descriptors, memory and processes stay bounded, and nobody else notices."""
    # Otherwise memory that was freed counts until there are 256 MiB of it.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
                       ":thread_local_quarantine_size_kb=64")
    cast, origin = Cast(start, folder), start(Origin("http", "http"))
    good = service("good") + pool("good", origin.addresses, {
        "http": {**FAST, "timeout": "20s", "path": "/healthz"}, "tcp": FAST})
    daemon = start(Daemon(service("good") + pool("good", origin.addresses)))
    monitor = monitor_of(daemon)
    before = settled_descriptors([monitor])[0]
    daemon.reload(good + cast.pools(interval="200ms", timeout="150ms", rise=1, fall=1))
    n_checks = len(rows(daemon, "checks"))
    rounds = amount(20, 8)
    with Load("crc", daemon.address("good"), "--connections", 4, "--rate", "50/s",
              "--duration", "10m") as clients:
        spend(daemon, rounds, cast.plays["http"][2])
        grown, most, processes = own_bytes(monitor), 0, 0
        for _ in range(2 * rounds):
            spend(daemon, 1, cast.plays["http"][2])
            most = max(most, descriptors(monitor))
            processes = max(processes, len(children(monitor)))
        grown = own_bytes(monitor) - grown
        report = clients.finish()
    # Each check has one at most, each program three.
    assert most <= before + n_checks + 3 * len(PROGRAMS) + 10, (before, most)
    assert processes <= len(PROGRAMS) + 1, processes
    assert grown < 3 << 20, grown
    print(f"of {n_checks} checks: {before} to {most} descriptors, {processes} processes, "
          f"{grown} bytes more", report)
    assert report["requests"] > 0 and report["latency_us"]["max"] < 5e6, report
    for row in rows(daemon, "backends").values():
        assert row["pool"] != "good" or (row["state"], row["checks_failed"]) == ("up", 0), row

    daemon.reload(service("good") + pool("good", origin.addresses))
    wait_for(lambda: descriptors(monitor) == before and not children(monitor)
             and not programs(cast.exec_pool), what="the monitor to be as it was")
    assert daemon.ctl_json("show info")["monitor_restarts"] == 0


def test_programs_disturb_no_other_check(start):
    """A program that is about to begin has the monitor's connections too, for a moment: what
    becomes of those must not be taken for news of others."""
    full = [start(Full()) for _ in range(15)]
    origin = start(Origin(*["echo"] * 15))
    timing = {"interval": "10ms", "rise": 1, "fall": 1}
    daemon = start(Daemon(
        service("s", pool="good")
        + pool("full", {f"f{nth}": one.address for nth, one in enumerate(full)},
               {"tcp": {**timing, "timeout": "30ms"}})
        + pool("good", {f"g{nth}": address for nth, address in enumerate(origin.addresses)},
               {"tcp": {**timing, "timeout": "20s"}})
        + pool("exec", ["127.0.0.1:1", "127.0.0.1:2"],
               {"exec": {**timing, "timeout": "20s", "command": ["/bin/true"]}})))

    def sums():
        found = {}
        for (of, _), row in rows(daemon, "checks").items():
            passed, failed = found.get(of, (0, 0))
            found[of] = passed + row["passed"], failed + row["failed"]
        return found
    wait_for(lambda: sums()["exec"][0] > amount(300, 100), what="programs to be run")
    found = sums()
    assert found["full"][0] == found["good"][1] == found["exec"][1] == 0, found
    assert found["full"][1] > 0 and found["good"][0] > 0, found


def test_stopped_in_the_middle(start, folder):
    """Whatever is under way then, nothing leaks (which the sanitizer sees), and nothing stays."""
    cast = Cast(start, folder)
    for nth in range(amount(10, 5)):
        daemon = start(Daemon(service("s", pool="http")
                              + cast.pools(interval="20ms", timeout="200ms", rise=1, fall=1)))
        # Not always at the same point.
        wait_for(lambda: len(health_events(daemon)) > nth % 5 * 15, what="results")
        daemon.stop()
        wait_for(lambda: not programs(cast.exec_pool), what="the end of all programs")


def test_waiting_costs_nothing(start, folder):
    """With every kind of unfinished talk at hand the monitor sleeps."""
    cast = Cast(start, folder)
    daemon = start(Daemon(service("s", pool="http")
                          + cast.pools(interval="1h", timeout="1h")))
    monitor = monitor_of(daemon)
    kinds = [server for *_, server, _ in cast.plays.values()]
    wait_for(lambda: all(min(server.met.values()) > 0 for server in kinds), what="all to be met")
    wait_for(lambda: len(children(monitor)) == 4, what="all programs to end but those that hang")
    spent, began = cpu_seconds(monitor), time.monotonic()
    time.sleep(1)  # that is what is measured
    spent = cpu_seconds(monitor) - spent
    assert spent < (time.monotonic() - began) / 5, spent


# --- reloads in the middle of checks ---

KINDS = {
    "tcp": {},
    "http": {"path": "/healthz"},
    "http:body": {"path": "/bytes/100", "status": "200"},
    "expect": {"steps": ["send GET / HTTP/1.0\\\\r\\\\n\\\\r\\\\n", "expect HTTP/1.1 200"]},
    "exec": {"command": ["/bin/sh", "-c", "sleep 0.02"]},
    "exec:other": {"command": ["/bin/sh", "-c", "sleep 0.03 & wait"]},
    "agent": {},
}


def passed_of(daemon, pool_name):
    return {name: row["passed"] for (of, name), row in rows(daemon, "checks").items()
            if of == pool_name}


class Storm:
    """Configurations by number: each differs from the one before in what it checks, and how."""

    def __init__(self, origin, agent, cast):
        self.origin, self.agent_port, self.cast = origin, split(agent["up"])[1], cast

    def _check(self, kind, **options):
        port = {"port": self.agent_port} if kind == "agent" else {}
        return {kind: {"interval": "50ms", "timeout": "10s", **KINDS[kind], **port, **options}}

    def text(self, number):
        steady, varied = pool("steady", {})[:-2], pool("varied", {})[:-2]
        for nth, address in enumerate(self.origin.addresses):
            kinds = list(KINDS)
            steady += backend(f"s{nth}", address, self._check(kinds[nth]))
            kind = kinds[(nth + number) % len(KINDS)]
            checks = self._check(kind, interval=f"{20 + 10 * (number % 3)}ms", rise=1 + number % 2)
            if number % 3 == 0:
                checks.update(self._check(kinds[(nth + number + 1) % len(KINDS)]))
            varied += backend(f"v{nth}", address, checks)
            if number % 2:
                varied += backend(f"guest{nth}", address, self._check(kinds[nth - 3]))
        text = service("steady") + service("varied") + steady + "}\n" + varied + "}\n"
        hostile = {"interval": f"{150 + number % 2}ms", "timeout": f"{100 + number % 5}ms"}
        return text + (self.cast.pools(**hostile) if number % 4 else "")


def test_reload_storm(start, folder):
    """Who is up and stays in the file never leaves that state, whatever is checked instead."""
    origin = start(Origin(*["http"] * len(KINDS)))
    agent = start(Hostile({"up": says(b"up\n", "end", True)}))
    cast = Cast(start, folder)
    storm = Storm(origin, agent, cast)
    bare = service("steady") + pool("steady", origin.addresses)
    daemon = start(Daemon(bare))
    pids = [daemon.pid, monitor_of(daemon), *daemon.workers()]
    daemon.reload(bare)
    before = settled_descriptors(pids)
    daemon.reload(storm.text(0))
    wait_all(daemon, "steady", "up", ".*")
    wait_all(daemon, "varied", "up", ".*")
    last = max(event["id"] for event in daemon.ctl_json("show events")["events"])
    count, begun = amount(100, 30), passed_of(daemon, "steady")
    with Load("crc", daemon.address("varied"), "--connections", 4, "--rate", "50/s",
              "--duration", "10m") as clients:
        for number in range(1, count + 1):
            daemon.reload(storm.text(number))
            events = daemon.ctl_json("show events limit=1000")["events"]
            assert events[0]["id"] <= last + 1  # none was missed
            changes = [event for event in events if event["id"] > last
                       and event["kind"] == "health" and event["backend"][0] in "sv"
                       and event["pool"] in ("steady", "varied")]
            assert not changes, (number, changes)
            for (of, name), row in rows(daemon, "backends").items():
                if of in ("steady", "varied") and name[0] in "sv":
                    assert row["state"] == "up", (number, row)
            last = events[-1]["id"]
        clients.finish()

    # Those that stayed the same went on at their pace, and all go on now.
    seen = passed_of(daemon, "steady")
    assert all(seen[name] - begun[name] > count / 10 for name in seen), (begun, seen)
    seen.update(passed_of(daemon, "varied"))
    wait_for(lambda: all(passed > seen[name] + 2 for of in ("steady", "varied")
                         for name, passed in passed_of(daemon, of).items()), what="more checks")
    daemon.reload(bare)
    wait_for(lambda: [descriptors(pid) for pid in pids] == before, what="descriptors as before")
    wait_for(lambda: not children(pids[1]) and not programs(cast.exec_pool),
             what="the end of all programs")
    assert monitor_of(daemon) == pids[1]


# --- the monitor's death in the middle of checks ---

def test_monitor_killed(start, folder):
    """What was known stands, also what an agent asked for; what it ran dies with it; and then all
    is looked at again."""
    program = folder / "hangs"
    program.write_text("#!/bin/sh\ntrap '' HUP TERM\ntimeout 100 sleep 100 & sleep 100\n")
    program.chmod(0o755)
    answer = HEAD + b"all well"
    server = start(Hostile({
        "good": says(answer), "bad": says(b"", "reset"), "half": says(b"50%\n", "end", True),
        "pong": says(b"+PONG\r\n")}))
    echo, exec_pool = start(Origin("echo")), f"exec-{folder.name}"
    text = pool("http", [server["good"], server["bad"]], {"http": {**FAST, "body": "well"}})
    text += pool("expect", [server["pong"], server["bad"]], {"expect": {**FAST, **EXPECT}})
    text += pool("agent", echo.addresses, {
        "tcp": FAST, "agent": {**FAST, "port": split(server["half"])[1]}})
    text += pool(exec_pool, echo.addresses, {"exec": {
        **FAST, "timeout": "1m", "command": [str(program)]}}, start="up")
    daemon = start(Daemon(service("s", pool="agent") + text))
    known = {("http", "a"): "up", ("http", "b"): "down", ("expect", "a"): "up",
             ("expect", "b"): "down", ("agent", "a"): "up", (exec_pool, "a"): "up"}

    def states():
        now = {key: row["state"] for key, row in rows(daemon, "backends").items()}
        return now, daemon.backend("agent", "a")["effective_weight_permille"]
    wait_for(lambda: states() == (known, 500), what="all to be known")
    events = health_events(daemon)
    for _ in range(3):
        old = monitor_of(daemon)
        wait_for(lambda: len(programs(exec_pool)) == 4, what="the program to have its children")
        left = programs(exec_pool)
        daemon.kill_child(old)

        def is_replaced():
            assert states() == (known, 500)
            assert ask_echo(daemon.address("s"))
            return monitor_of(daemon) not in (0, old, None)
        wait_for(is_replaced, what="the monitor's successor")
        wait_for(lambda: not any(map(is_alive, left)), 30, "the end of what the dead one ran")
        met = dict(server.met)
        wait_for(lambda: all(server.met[name] > met[name] + 2 for name in met), what="more checks")
        assert states() == (known, 500)
    assert health_events(daemon) == events
    assert daemon.ctl_json("show info")["monitor_restarts"] == 3

    server.manners.update(good=silent, bad=says(answer), half=says(b"100%\n", "end", True))
    wait_said(daemon, {("http", "a"): ("down", LATE), ("http", "b"): ("up", "HTTP 200 in .*")})
    wait_for(lambda: states()[1] == 1000, what="the whole weight")


def ask_echo(address):
    with connect(address) as sock:
        sock.sendall(b"hello")
        return sock.recv(10) == b"hello"


# --- between an order to stop and the drain ---

def healthy(daemon):
    """Exit status and first line of sluicectl health."""
    result = run([SLUICECTL, "-s", daemon.control, "health", "--exit-code"], check=False)
    return result.returncode, result.stdout


def test_stop_delay(start):
    """Health says no at once, clients are still served and checks go on; then the drain; then the
    end."""
    a = start(Backend("a"))
    daemon = start(Daemon(service("s") + pool("s", [a.address], {"tcp": FAST}),
                          stop_delay="2s", drain_timeout="10m"))
    wait_for(lambda: healthy(daemon)[0] == 0, what="it to be healthy")
    address = daemon.address("s")
    client = start(Client(address))
    assert client.name() == "a"
    daemon.signal(signal.SIGTERM)
    began, served, passed = time.monotonic(), 0, daemon.backend("s", "a")["checks_passed"]
    wait_for(lambda: healthy(daemon)[0] == 1, what="it to say no")
    assert "clients are accepted for" in healthy(daemon)[1]
    while ask(address) == "a":
        served += 1
        assert healthy(daemon)[0] == 1
        last_passed = daemon.backend("s", "a")["checks_passed"]
    assert time.monotonic() - began > 1.9 and served > 2
    assert last_passed > passed
    assert healthy(daemon)[0] == 1 and "stopping" in healthy(daemon)[1]
    assert client.again() == "a"
    client.close()
    assert daemon.wait() == 0


def test_stop_delay_cut_short(start):
    """By a second order."""
    a = start(Backend("a"))
    daemon = start(Daemon(service("s") + pool("s", [a.address]), stop_delay="10m",
                          drain_timeout="10m"))
    client = start(Client(daemon.address("s")))
    assert client.name() == "a"
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: healthy(daemon)[0] == 1, what="it to say no")
    assert ask(daemon.address("s")) == "a"
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert client.was_reset()
