"""What checks ask for on behalf of a backend: since when, and that it outlives another name."""

import contextlib
import time

import pytest

from peers import Server
from sluice import Daemon, Origin, pool, service, wait_for

FAST = {"interval": "50ms", "timeout": "10s", "rise": 1, "fall": 1}


class Agent(Server):
    """Says its line to whoever connects."""

    def __init__(self, line):
        super().__init__(self._say)
        self.line = line
        self.port = int(self.address.rsplit(":", 1)[1])

    def _say(self, sock):
        with contextlib.suppress(OSError):  # the one who asked has been ended meanwhile
            sock.sendall(self.line)


@pytest.fixture
def agent(start):
    return start(Agent(b"up\n"))


@pytest.fixture
def origin(start):
    return start(Origin("echo"))


def config(origin, agent, name="a", **times):
    return service("s") + pool("s", {name: origin.addresses[0]}, {
        "tcp": {**FAST, **times}, "agent": {**FAST, **times, "port": agent.port}})


def wait_state(daemon, state, name="a"):
    return wait_for(lambda: (row := daemon.backend("s", name))["state"] == state and row,
                    what=f"{name} to be {state}")


def wait_old(daemon, seconds):
    """Until the present state is that old."""
    wait_for(lambda: daemon.backend("s", "a")["since_seconds"] >= seconds,
             what="the state to grow old")


def test_since_when_it_is_asked(start, origin, agent):
    """Not since its health is what it is; and a second word for the same is no new beginning."""
    daemon = start(Daemon(config(origin, agent)))
    wait_state(daemon, "up")
    for line, state in ((b"drain\n", "draining"), (b"maint\n", "maintenance"),
                        (b"ready\n", "up"), (b"0%\n", "draining")):
        wait_old(daemon, 1)
        agent.line, from_s = line, time.monotonic()
        since_s = wait_state(daemon, state)["since_seconds"]
        assert since_s <= time.monotonic() - from_s, (line, since_s)
    wait_old(daemon, 1)
    agent.line = b"0% drain\n"
    wait_for(lambda: daemon.ctl_json("show checks")["checks"][0]["asks"] == "weight 0 %, drain",
             what="the second word")
    assert daemon.backend("s", "a")["since_seconds"] >= 1
    assert daemon.backend("s", "a")["health"] == "up"


def test_under_another_name_it_is_still_asked(start, origin, agent):
    """Its slot is a new one and so are its checks, which the agent has nothing to say to."""
    daemon = start(Daemon(config(origin, agent)))
    agent.line = b"30% drain maxconn:7\n"
    wait_state(daemon, "draining")
    wait_for(lambda: daemon.backend("s", "a")["health"] == "up", what="a result")
    agent.line = b""
    daemon.reload(config(origin, agent, "z", interval="60ms"))
    wait_for(lambda: daemon.backend("s", "z")["checks_passed"] >= 3, what="checks")
    row = daemon.backend("s", "z")
    assert row["state"] == "draining" and "drain asked for by check agent" in row["reason"]
    assert daemon.ctl_json("show checks")["checks"][0]["asks"] == \
        "weight 30 %, drain, at most 7 connections"
    agent.line = b"ready 100% maxconn:0\n"
    wait_state(daemon, "up", "z")


def asked_events(daemon):
    return [event["text"] for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == "asked"]


def test_what_is_asked_is_an_event(start, origin, agent):
    """Where the state is another by it; a weight that goes up and down is none."""
    daemon = start(Daemon(config(origin, agent)))
    wait_state(daemon, "up")
    for line, state in ((b"70%\n", None), (b"30%\n", None), (b"drain\n", "draining"),
                        (b"maint\n", "maintenance"), (b"ready\n", "up"), (b"0%\n", "draining"),
                        (b"60%\n", "up")):
        agent.line = line
        if state:
            wait_state(daemon, state)
        else:
            wait_for(lambda weight=line[:2].decode(): f"weight {weight} %" in
                     daemon.ctl_json("show checks")["checks"][0]["asks"], what="the weight")
    wait_for(lambda: len(asked_events(daemon)) >= 5, what="all events")
    assert asked_events(daemon) == [
        "ready -> drain: its checks ask for weight 30%, drain",
        "drain -> maintenance: its checks ask for weight 30%, maintenance",
        "maintenance -> ready: its checks ask for weight 30%, ready",
        "ready -> drain: its checks ask for weight 0%, ready",
        "drain -> ready: its checks ask for weight 60%, ready"]
