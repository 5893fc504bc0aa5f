"""What becomes known of health when much happens at once, or to those who tell of it: none of it is
lost while the monitor dies, or while master does not listen; and a pool's loss is told first."""

import signal

import pytest

from peers import Server
from sluice import Daemon, Port, connect, make_folder, pool, remove_folder, service, wait_for

FAST = {"interval": "100ms", "timeout": "5s", "rise": 1, "fall": 1}


@pytest.fixture
def folder():
    made = make_folder("news")
    made.chmod(0o777)  # the monitor may not be who we are
    yield made
    remove_folder(made)


def program(folder, text):
    """A notify program; told() has what it wrote to $told."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\ntold={folder}/told\n{text}\n")
    path.chmod(0o755)
    return str(path)


def told(folder):
    path = folder / "told"
    return path.read_text().splitlines() if path.exists() else []


TELL = 'echo "$SLUICE_EVENT $SLUICE_BACKEND" >> $told'


def crowd(address, number):
    """Backends of one address."""
    return {f"b{i}": address for i in range(number)}


def states(daemon):
    return {row["state"] for row in daemon.ctl_json("show backends")["backends"]}


def events(daemon, kind):
    found = daemon.ctl_json("show events limit=2000")["events"]
    return [event for event in found if event["kind"] == kind]


def test_notices_outlive_a_monitor(start, folder):
    """Those whose program it ran (all eight, the pool's among them), and those that wait."""
    begun = folder / "begun"
    wait = f"[ -e {folder}/go ] || {{ echo >> {begun}; exec sleep 100; }}"
    port = start(Port())
    with Server(lambda sock: None) as server:
        backends = {**crowd(port.address, 20), "last": server.address}
        daemon = start(Daemon(service("s") + pool("s", backends, {"tcp": FAST},
                                                  notify=program(folder, f"{wait}\n{TELL}"))))
        wait_for(lambda: begun.exists() and begun.read_text().count("\n") == 7, what="7 programs")
    wait_for(lambda: states(daemon) == {"down"}, what="all to be down")
    wait_for(lambda: begun.read_text().count("\n") == 8, what="the pool's program")
    (folder / "go").touch()
    daemon.kill_child(daemon.ctl_json("show info")["monitor_pid"])
    expected = sorted([*(f"down {name}" for name in backends), "pool_lost "])
    wait_for(lambda: len(told(folder)) >= len(expected), what="all to be told")
    assert sorted(told(folder)) == expected
    assert "dropped" not in daemon.log()


def test_a_loss_is_told_among_a_thousand(start, folder):
    """More fail than may wait: the pool's loss, which is seen last, is among the first told."""
    with Server(lambda sock: None) as server:
        daemon = start(Daemon(service("s") + pool("s", crowd(server.address, 1000), {"tcp": FAST},
                                                  notify=program(folder, TELL))))
        wait_for(lambda: states(daemon) == {"up"}, what="all to be up")
    wait_for(lambda: "pool_lost " in told(folder), what="the loss to be told")
    assert len(told(folder)) < 500
    wait_for(lambda: "notices" in daemon.log(), what="the dropped ones in the log")
    assert states(daemon) == {"down"}


def test_a_master_that_does_not_listen_misses_nothing(start):
    """All the monitor has seen meanwhile is told afterwards, in order."""
    with Server(lambda sock: None) as server:
        daemon = start(Daemon(service("s") + pool("s", crowd(server.address, 1000),
                                                  {"tcp": FAST})))
        wait_for(lambda: states(daemon) == {"up"}, what="all to be up")
        daemon.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: daemon.log().count("to=down") == 1000, what="all to be found down")
    finally:
        daemon.signal(signal.SIGCONT)
    wait_for(lambda: sum("up -> down" in event["text"] for event in events(daemon, "health"))
             == 1000, what="all events")
    assert not events(daemon, "lost")


def test_an_ejected_one_is_called_back(start):
    """It was ejected, is well again, and then checks find the other one down: the pool has it at
    once, not after the rest of its time."""
    a, a_check = start(Port()), start(Server(lambda sock: None))
    with Server(lambda sock: sock.sendall(b"b")) as b:
        text = service("s") + pool("s", {
            "a": {"address": a.address, "check_address": a_check.address}, "b": b.address},
            {"tcp": FAST}, scheduler="rr")
        daemon = start(Daemon(text.rsplit("}", 1)[0] +
                              '    outlier { consecutive_failures = 3 eject_time = "10m" }\n}\n'))
        wait_for(lambda: states(daemon) == {"up"}, what="both to be up")
        while daemon.backend("s", "a")["state"] != "ejected":
            with connect(daemon.address("s")) as sock:
                assert sock.recv(1) == b"b"
        a.socket.listen(10)
    wait_for(lambda: daemon.backend("s", "a")["state"] == "up", what="it to be back")
    last = events(daemon, "ejection")[-1]
    assert last["backend"] == "a"
    assert last["text"].startswith("back: nobody else of its pool serves; 10m early") or \
        last["text"].startswith("back: nobody else of its pool serves; 59")
    with connect(daemon.address("s")) as sock:
        sock.sendall(b"x")
        a.socket.settimeout(10)
        peer, _ = a.socket.accept()
        with peer:
            assert peer.recv(1) == b"x"
