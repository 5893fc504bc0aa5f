"""Health by tcp checks: who goes down and comes up when, who waits for it, and who is asked."""

import contextlib
import os
import signal
import socket
import time

from peers import Worker
from sluice import Daemon, Origin, Port, connect, pool, service, wait_for

FAST = {"interval": "50ms", "timeout": "1s"}


class Switch:
    """A backend that can be off: connecting is then refused, and nobody else gets its port.

    Its clients are answered with its letter. Counts who connected: those who said nothing were
    checks. (Only on a path: over TCP a check is over before accept() would return.)
    """

    def __init__(self, letter="a", on=True, path=None):
        self.letter = letter.encode()
        self.path = path
        self.port = Port()
        self.address = f"unix:{path}" if path else self.port.address
        self.listener = None
        self.checks = self.clients = 0
        self.worker = None
        if on:
            self.on()

    def on(self):
        self.listener = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.path:
            self.listener.bind(str(self.path))
            self.path.chmod(0o777)
        else:
            self.listener.bind((self.port.host, self.port.number))
        self.listener.listen(1024)
        self.worker = Worker(self._serve, self.listener)

    def off(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.worker.join()
        self.listener.close()
        self.listener = None

    def _serve(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(30)
                try:
                    word = sock.recv(1)
                except ConnectionResetError:
                    word = b""
                if word:
                    self.clients += 1
                    sock.sendall(self.letter)
                else:
                    self.checks += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.listener:
            self.off()
        self.port.__exit__()


def ask(address):
    """Whose letter a new client gets; "" when it is reset."""
    try:
        with connect(address) as sock:
            sock.sendall(b"x")
            return sock.recv(1).decode()
    except ConnectionError:
        return ""


def letters(daemon, count=10, name="s"):
    return {ask(daemon.address(name)) for _ in range(count)}


def wait_state(daemon, name, state, pool_name="s"):
    return wait_for(lambda: (row := daemon.backend(pool_name, name))["state"] == state and row,
                    what=f"backend {name} to be {state}")


def transitions(daemon, backend="s/a"):
    """The events of its health, oldest first: "up -> down: connect refused"."""
    events = daemon.ctl_json(f"show events backend={backend}")["events"]
    return [event for event in events if event["kind"] == "health"]


def steps(daemon, backend="s/a"):
    return [event["text"].split(":")[0] for event in transitions(daemon, backend)]


# --- down and up ---

def test_clients_move(start):
    """Off: clients go to the other one, without a failure once it is down. On: they come back."""
    a, b = start(Switch("a")), start(Switch("b"))
    daemon = start(Daemon(service("s") + pool("s", [a.address, b.address], checks={"tcp": FAST},
                                              scheduler="rr")))
    for name in "ab":
        wait_state(daemon, name, "up")
    assert letters(daemon) == {"a", "b"}
    a.off()
    row = wait_state(daemon, "a", "down")
    assert row["health"] == "down" and "refused" in row["reason"].lower(), row["reason"]
    failures = row["connect_failures"]
    assert letters(daemon) == {"b"}
    assert daemon.backend("s", "a")["connect_failures"] == failures
    a.on()
    wait_state(daemon, "a", "up")
    assert letters(daemon) == {"a", "b"}
    assert daemon.check_accounts("s")["connections_refused"] == 0

    wait_for(lambda: len(transitions(daemon)) == 3, what="the events")
    assert steps(daemon) == ["unknown -> up", "up -> down", "down -> up"]
    assert all(event["by"] == "monitor" for event in transitions(daemon))
    assert "refused" in transitions(daemon)[1]["text"].lower()
    assert steps(daemon, "s/b") == ["unknown -> up"]
    assert daemon.log().count('msg="health changed"') == 4


def test_fall_and_rise_count_checks(start):
    """Not before so many checks in a row; the first result of all decides at once."""
    a = start(Switch())
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks={
        "tcp": {**FAST, "interval": "100ms", "fall": 4, "rise": 5}})))
    row = wait_state(daemon, "a", "up")
    assert row["checks_passed"] >= 1 and row["checks_failed"] == 0
    passed = row["checks_passed"]
    assert passed < 5  # rise does not count for the first
    a.off()
    seen = set()

    def is_down():
        now = daemon.backend("s", "a")
        seen.add((now["health"], min(now["checks_failed"], 5)))
        return now["health"] == "down"
    wait_for(is_down, what="down")
    # Looked at in the middle of a change, count and health may be one apart.
    assert all(failed <= 4 for health, failed in seen if health == "up"), seen
    assert all(failed >= 4 for health, failed in seen if health == "down"), seen
    before = daemon.backend("s", "a")["checks_passed"]
    a.on()
    wait_state(daemon, "a", "up")
    assert daemon.backend("s", "a")["checks_passed"] >= before + 5


def test_intervals(start):
    """fast_interval while a change is being confirmed, down_interval while it is down."""
    a = start(Switch())
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks={"tcp": {
        "interval": "400ms", "fast_interval": "10ms", "down_interval": "40ms", "fall": 20,
        "rise": 20}})))
    wait_state(daemon, "a", "up")
    a.off()
    wait_for(lambda: daemon.backend("s", "a")["checks_failed"] > 0, what="the first failure")
    began = time.monotonic()
    wait_state(daemon, "a", "down")
    fell = time.monotonic() - began
    assert fell < 20 * 0.4 / 2, fell  # by interval it would take 8 s
    failed = daemon.backend("s", "a")["checks_failed"]
    began = time.monotonic()
    wait_for(lambda: daemon.backend("s", "a")["checks_failed"] >= failed + 10, what="ten more")
    assert 0.1 < time.monotonic() - began < 10 * 0.4 / 2
    a.on()
    began = time.monotonic()
    wait_state(daemon, "a", "up")
    assert time.monotonic() - began < 20 * 0.4 / 2


def test_check_of_another_port(start):
    """port: the health of one socket decides about another."""
    a, probe = start(Switch("a")), start(Switch("p"))
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks={
        "tcp": {**FAST, "port": probe.port.number}})))
    wait_state(daemon, "a", "up")
    assert letters(daemon, 2) == {"a"}
    probe.off()
    wait_state(daemon, "a", "down")
    assert letters(daemon, 2) == {""}
    assert daemon.backend("s", "a")["connect_failures"] == 0


def test_sessions_of_a_backend_that_goes_down_go_on(start):
    """Its listener is gone, but what it has is not closed."""
    origin = start(Origin("echo"))
    port = start(Port())
    gate = socket.socket()
    with gate:
        gate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        gate.bind((port.host, port.number))
        gate.listen(100)
        daemon = start(Daemon(service("s") + pool("s", origin.addresses, checks={
            "tcp": {**FAST, "port": port.number}})))
        wait_state(daemon, "a", "up")
        sock = start(connect(daemon.address("s")))
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
    wait_state(daemon, "a", "down")
    sock.sendall(b"two")
    assert sock.recv(10) == b"two"


# --- start ---

class Silent:
    """A port on which connecting neither succeeds nor fails, until answer()."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.fillers = [socket.socket() for _ in range(3)]
        for filler in self.fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))

    def checks(self):
        return {"tcp": {"interval": "50ms", "timeout": "60s", "port": self.port}}

    def answer(self):
        """Makes room in the queue."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.listener, *self.fillers:
            sock.close()


def waiting(daemon):
    """Clients that wait for a backend."""
    return sum(row["waiting"] for row in daemon.ctl_json("show workers")["workers"])


def test_start_unknown_clients_wait_for_the_first_result(start):
    a, silent = start(Switch()), start(Silent())
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks=silent.checks())))
    row = daemon.backend("s", "a")
    assert (row["state"], row["health"]) == ("starting", "unknown")
    client = Worker(ask, daemon.address("s"))
    wait_for(lambda: waiting(daemon) == 1, what="the client to wait")
    assert a.clients == 0

    def answered():
        silent.answer()
        return daemon.backend("s", "a")["health"] == "up"
    wait_for(answered, what="the first result")
    assert client.result() == "a"
    assert daemon.check_accounts("s")["connections_refused"] == waiting(daemon) == 0


def test_start_unknown_clients_wait_at_most_three_seconds(start):
    """Who waited in vain is out of the list: the result that comes later finds nobody."""
    a, silent = start(Switch()), start(Silent())
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks=silent.checks())))
    address, began = daemon.address("s"), time.monotonic()
    assert ask(address) == ""
    assert 2.7 < time.monotonic() - began < 30
    row = daemon.check_accounts("s")
    assert row["refused_by"]["start_timeout"] == row["connections_total"] == 1
    assert a.clients == waiting(daemon) == 0

    def answered():
        silent.answer()
        return daemon.backend("s", "a")["health"] == "up"
    wait_for(answered, what="the first result")
    assert letters(daemon, 3) == {"a"}
    assert daemon.check_accounts("s")["connections_refused"] == 1


def test_start_unknown_does_not_wait_where_another_is_up(start):
    a, b = start(Switch("a")), start(Switch("b"))
    daemon = start(Daemon(service("s") + pool("s", {
        "a": a.address, "b": {"address": b.address, "checks": "none"}},
        checks=start(Silent()).checks())))
    assert letters(daemon) == {"b"}
    assert daemon.backend("s", "a")["state"] == "starting"


def test_start_unknown_first_result_is_down(start):
    """Waiting clients are told at once."""
    port = start(Port())
    daemon = start(Daemon(service("s") + pool("s", [port.address], checks={
        "tcp": {**FAST, "fall": 50}})))
    wait_state(daemon, "a", "down")
    assert daemon.backend("s", "a")["checks_failed"] < 50
    assert letters(daemon, 1) == {""}
    assert daemon.check_accounts("s")["refused_by"]["no_backend"] == 1


def test_start_up_serves_at_once(start):
    """And rise and fall hold from the first check on."""
    a = start(Switch())
    daemon = start(Daemon(service("s") + pool("s", [a.address], start="up",
                                              checks=start(Silent()).checks())))
    row = daemon.backend("s", "a")
    assert (row["state"], row["health"], row["checks_passed"]) == ("up", "up", 0)
    assert letters(daemon, 3) == {"a"}


def test_start_up_falls_like_any_other(start):
    port = start(Port())
    daemon = start(Daemon(service("s") + pool("s", [port.address], start="up", checks={
        "tcp": {**FAST, "fall": 5}})))
    row = wait_state(daemon, "a", "down")
    assert row["checks_failed"] >= 5
    wait_for(lambda: steps(daemon) == ["up -> down"], what="the event")


def test_start_down_has_to_rise(start):
    a = start(Switch())
    daemon = start(Daemon(service("s") + pool("s", [a.address], start="down", checks={
        "tcp": {**FAST, "interval": "200ms", "rise": 4}})))
    assert daemon.backend("s", "a")["health"] == "down"
    assert letters(daemon, 1) == {""}
    row = wait_state(daemon, "a", "up")
    assert row["checks_passed"] >= 4
    wait_for(lambda: steps(daemon) == ["down -> up"], what="the event")


# --- who is checked ---

def test_one_probe_for_each_address(start, folder):
    """However many pools share an address, it is asked once an interval."""
    a = start(Switch(path=folder / "a.sock"))
    checks = {"tcp": {"interval": "100ms"}}
    daemon = start(Daemon("".join(service(name) + pool(name, [a.address], checks=checks)
                                  for name in ("s", "t", "u"))))
    for name in ("s", "t", "u"):
        wait_state(daemon, "a", "up", name)
    before, began = a.checks, time.monotonic()
    wait_for(lambda: a.checks >= before + 10, what="ten checks")
    took = time.monotonic() - began
    # Ten of one probe take a second, jitter and all; of three they would take a third of one.
    assert took > 0.6, took
    a.off()
    for name in ("s", "t", "u"):
        wait_state(daemon, "a", "down", name)
        wait_for(lambda: steps(daemon, f"{name}/a") == ["unknown -> up", "up -> down"],
                 what="the events of each pool")


def test_checks_none(start, folder):
    """Without checks of its own a backend counts as up, and nobody asks it."""
    a, port = start(Switch("a", path=folder / "a.sock")), start(Port())
    daemon = start(Daemon(service("s") + pool("s", {
        "a": {"address": a.address, "checks": "none"},
        "b": {"address": port.address, "checks": "none"},
        "c": port.address}, checks={"tcp": FAST}, scheduler="rr")))
    wait_state(daemon, "c", "down")
    assert daemon.backend("s", "a")["state"] == daemon.backend("s", "b")["state"] == "up"
    assert letters(daemon) == {"a"}
    row = daemon.backend("s", "b")
    assert row["connect_failures"] > 0 and row["checks_passed"] + row["checks_failed"] == 0
    assert a.checks == 0
    shown = {row["backend"] for row in daemon.ctl_json("show checks s")["checks"]}
    assert shown == {"c"}


def test_pool_without_checks(start):
    port = start(Port())
    daemon = start(Daemon(service("s") + pool("s", [port.address])))
    wait_state(daemon, "a", "up")
    assert letters(daemon, 1) == {""}
    assert daemon.service("s")["refused_by"]["connect_failed"] == 1
    assert daemon.backend("s", "a")["state"] == "up"


# --- reload ---

def test_health_survives_a_reload(start):
    """By address: neither down nor up is forgotten, also under another name and other numbers."""
    a, down = start(Switch("a")), start(Port())

    def config(names, **check):
        return service("s") + pool("s", dict(zip(names, (a.address, down.address))),
                                   checks={"tcp": {**FAST, **check}}, start="unknown")
    daemon = start(Daemon(config("ab")))
    wait_state(daemon, "a", "up")
    wait_state(daemon, "b", "down")
    for nth, new in enumerate((config("ab"), config("xy"), config("xy", fall=7),
                               config("xy", interval="60ms"), config("ab"))):
        daemon.reload(new)
        names = "ab" if nth in (0, 4) else "xy"
        states = [daemon.backend("s", name)["health"] for name in names]
        assert states == ["up", "down"], nth
        assert letters(daemon, 3) == {"a"}
    assert daemon.check_accounts("s")["connections_refused"] == 0
    events = daemon.ctl_json("show events")["events"]
    assert sum(event["kind"] == "health" for event in events) == 2, events


def test_new_address_starts_anew(start):
    a, b = start(Switch("a")), start(Switch("b"))

    def config(address):
        return service("s") + pool("s", {"a": address}, checks={"tcp": FAST})
    daemon = start(Daemon(config(a.address)))
    wait_state(daemon, "a", "up")
    daemon.reload(config(b.address))
    assert ask(daemon.address("s")) == "b"  # waits for the first result
    assert daemon.check_accounts("s")["connections_refused"] == 0


def test_check_added_and_removed_by_reload(start):
    port = start(Port())

    def config(checks):
        return service("s") + pool("s", [port.address], checks=checks)
    daemon = start(Daemon(config({})))
    wait_state(daemon, "a", "up")
    daemon.reload(config({"tcp": FAST}))
    wait_state(daemon, "a", "down")
    daemon.reload(config({}))
    wait_state(daemon, "a", "up")


# --- the monitor's death ---

def test_monitor_killed(start):
    """Health stays frozen until the new one has looked, and is then watched again."""
    a, b = start(Switch("a")), start(Switch("b", on=False))
    daemon = start(Daemon(service("s") + pool("s", [a.address, b.address], checks={"tcp": FAST})))
    wait_state(daemon, "a", "up")
    wait_state(daemon, "b", "down")
    for _ in range(3):
        old = daemon.ctl_json("show info")["monitor_pid"]
        daemon.kill_child(old)
        # Nobody is ever seen in another state, and no client is refused, before, at or after it.
        def replaced():
            for name, health in ("a", "up"), ("b", "down"):
                assert daemon.backend("s", name)["health"] == health
            assert ask(daemon.address("s")) == "a"
            return daemon.ctl_json("show info")["monitor_pid"] not in (0, old, None)
        wait_for(replaced, what="the monitor's successor")
    info = daemon.ctl_json("show info")
    assert info["monitor_restarts"] == 3
    assert any(event["kind"] == "worker" and "monitor" in event["text"]
               for event in daemon.ctl_json("show events")["events"])
    b.on()
    a.off()
    wait_state(daemon, "b", "up")
    wait_state(daemon, "a", "down")
    assert letters(daemon, 3) == {"b"}


def test_health_is_frozen_while_the_monitor_is_stopped(start):
    a = start(Switch())
    daemon = start(Daemon(service("s") + pool("s", [a.address], checks={"tcp": FAST})))
    wait_state(daemon, "a", "up")
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    os.kill(monitor, signal.SIGSTOP)
    try:
        a.off()
        end = time.monotonic() + 0.5  # ten intervals, where three failures would do
        while time.monotonic() < end:
            assert daemon.backend("s", "a")["health"] == "up"
            assert letters(daemon, 1) == {""}
    finally:
        os.kill(monitor, signal.SIGCONT)
    wait_state(daemon, "a", "down")
    assert daemon.service("s")["refused_by"]["connect_failed"] > 0
