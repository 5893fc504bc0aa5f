"""Agents and the health of their backends: who says nothing of it has no part in it, whatever the
slot was before the monitor's death or a reload; and what an agent says itself holds at once."""

import contextlib
import socket

import pytest

from peers import Server
from sluice import Daemon, Origin, pool, service, wait_for

FAST = {"interval": "50ms", "timeout": "10s", "rise": 2, "fall": 2}


class Agent(Server):
    """Says its line to whoever connects, and counts them."""

    def __init__(self, line):
        super().__init__(self._say)
        self.line = line
        self.asked = 0
        self.port = int(self.address.rsplit(":", 1)[1])

    def _say(self, sock):
        self.asked += 1
        with contextlib.suppress(OSError):  # the one who asked has been ended meanwhile
            sock.sendall(self.line)


class Socket:
    """A backend that tcp checks reach while it listens. It keeps its port all the time."""

    def __init__(self):
        self.keeper = self._bind()
        self.address = "%s:%d" % self.keeper.getsockname()
        self.listener = None

    def _bind(self, port=0):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def listen(self):
        self.listener = self._bind(self.keeper.getsockname()[1])
        self.listener.listen(1024)

    def refuse(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.keeper.close()
        if self.listener:
            self.listener.close()


@pytest.fixture
def agent(start):
    return start(Agent(b"75%\n"))


@pytest.fixture
def backend(start):
    return start(Socket())


def config(address, agent=None, require="all", **times):
    checks = {"tcp": FAST}
    if agent:
        checks["agent"] = {**FAST, **times, "port": agent.port}
    return service("s") + pool("s", {"a": address}, checks, require=require)


def row(daemon):
    return daemon.backend("s", "a")


def wait_row(daemon, **wanted):
    return wait_for(lambda: (now := row(daemon)).items() >= wanted.items() and now,
                    what=f"a to be {wanted}")


def wait_asked(agent, times):
    seen = agent.asked
    wait_for(lambda: agent.asked >= seen + times, what="the agent to be asked")


def kill_monitor(daemon):
    old = daemon.ctl_json("show info")["monitor_pid"]
    daemon.kill_child(old)
    wait_for(lambda: daemon.ctl_json("show info")["monitor_pid"] not in (0, None, old),
             what="another monitor")


def health_events(daemon):
    return [event for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == "health"]


@pytest.mark.parametrize("line, state", [(b"75%\n", "up"), (b"drain\n", "draining"),
                                         (b"ready 100%\n", "up"), (b"", "up"),
                                         (b"no agent at all\n", "up")],
                         ids=["weight", "drain", "ready", "silent", "strange"])
def test_back_under_another_monitor(start, backend, agent, line, state):
    """The backend was down when the monitor died: its tcp check is enough to bring it back, also
    where the agent has said nothing to either of them."""
    agent.line = line
    backend.listen()
    daemon = start(Daemon(config(backend.address, agent)))
    wait_row(daemon, state=state, health="up")
    backend.refuse()
    wait_row(daemon, health="down")
    asks = daemon.ctl_json("show checks")["checks"][0]["asks"]
    kill_monitor(daemon)
    wait_asked(agent, 3)
    assert row(daemon)["health"] == "down"
    assert daemon.ctl_json("show checks")["checks"][0]["asks"] == asks
    backend.listen()
    wait_row(daemon, state=state, health="up")


def test_no_pass_under_another_monitor(start, backend, agent):
    """An agent without a word of health is none of those any of which will do."""
    backend.listen()
    daemon = start(Daemon(config(backend.address, agent, "any")))
    wait_row(daemon, health="up")
    kill_monitor(daemon)
    wait_asked(agent, 3)
    backend.refuse()
    wait_row(daemon, health="down")


def test_down_under_another_monitor(start, backend, agent):
    """What the agent says itself is not lost, not even for a moment."""
    agent.line = b"down # full disk\n"
    backend.listen()
    daemon = start(Daemon(config(backend.address, agent)))
    wait_row(daemon, health="down")
    events = len(health_events(daemon))
    kill_monitor(daemon)
    wait_asked(agent, 5)
    assert len(health_events(daemon)) == events
    agent.line = b"up\n"
    wait_row(daemon, health="up")


def test_added_while_down(start, backend, agent):
    daemon = start(Daemon(config(backend.address)))
    wait_row(daemon, health="down")
    daemon.reload(config(backend.address, agent))
    wait_asked(agent, 2)
    backend.listen()
    wait_row(daemon, health="up", effective_weight_permille=750)


def hear(sock):
    with contextlib.suppress(OSError):  # the one who asked has gone, as ended checks do
        sock.recv(1)


def test_a_number_changes(start, backend, agent):
    """Nobody notices, also where the agent's next answer never comes."""
    backend.listen()
    daemon = start(Daemon(config(backend.address, agent)))
    wait_row(daemon, health="up")
    wait_asked(agent, 2)
    events = len(health_events(daemon))
    daemon.reload(config(backend.address, agent, interval="60ms"))
    wait_asked(agent, 2)
    with Server(hear) as silent:
        silent.port = int(silent.address.rsplit(":", 1)[1])
        for times in ({"timeout": "20s"}, {"timeout": "21s"}, {"interval": "1h"}):
            daemon.reload(config(backend.address, silent, **times))
            passed = row(daemon)["checks_passed"]
            wait_for(lambda: row(daemon)["checks_passed"] >= passed + 2, what="tcp checks")
        assert row(daemon)["health"] == "up"
        assert len(health_events(daemon)) == events
        daemon.stop()


def test_strange_words_pass_away(start, agent):
    """A traceback instead of a weight takes nobody down, neither now nor for good."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(config(origin.addresses[0], agent)))
    wait_row(daemon, health="up", effective_weight_permille=750)
    events = len(health_events(daemon))
    agent.line = b"Traceback (most recent call last):\n"
    wait_asked(agent, 5)
    agent.line = b"60%\n"
    wait_row(daemon, health="up", effective_weight_permille=600)
    assert len(health_events(daemon)) == events


def test_a_planned_stop_is_no_flapping(start, agent):
    origin = start(Origin("echo"))
    daemon = start(Daemon(config(origin.addresses[0], agent)))
    wait_row(daemon, health="up")
    for _ in range(4):
        agent.line = b"stopped # new version\n"
        wait_row(daemon, health="down")
        agent.line = b"up\n"
        wait_row(daemon, health="up")
    assert "flapping" not in str(health_events(daemon))


def test_no_limit_is_told_as_such(start, agent):
    origin = start(Origin("echo"))
    daemon = start(Daemon(config(origin.addresses[0], agent)))
    agent.line = b"100% maxconn:0\n"
    wait_for(lambda: daemon.ctl_json("show checks")["checks"][0]["asks"] == "weight 100 %, no limit",
             what="no limit")
