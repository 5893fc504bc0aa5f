"""A worker or monitor that hangs is replaced; a machine that was paused harms nobody."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from sluice import Daemon, Load, Origin, connect, family, is_alive, pool, service, wait_for


@pytest.fixture
def daemon(start):
    echo = start(Origin("echo", "echo"))
    return start(Daemon(service("echo") + pool("echo", echo.addresses,
                                               checks={"tcp": {"interval": "200ms"}}), 2))


def echoes(address):
    with connect(address) as sock:
        sock.sendall(b"ping")
        return sock.recv(10) == b"ping"


def test_hung_worker_is_replaced(daemon):
    victim, other = daemon.workers()
    daemon.kill_child(victim, signal.SIGSTOP)

    def replaced():
        rows = daemon.ctl_json("show workers")["workers"]
        return rows[0]["pid"] not in (0, victim) and rows[0]["state"] == "running"
    wait_for(replaced, 30, "the successor of the worker that hangs")
    assert not is_alive(victim) and is_alive(other)
    assert daemon.workers()[1] == other
    assert all(echoes(daemon.address("echo")) for _ in range(10))
    events = daemon.ctl_json("show events")["events"]
    assert any("hangs" in event["text"] for event in events)


def test_hung_monitor_is_replaced(daemon):
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    daemon.kill_child(monitor, signal.SIGSTOP)
    wait_for(lambda: daemon.ctl_json("show info")["monitor_pid"] not in (0, monitor), 30,
             "the successor of the monitor that hangs")
    assert not is_alive(monitor)
    assert daemon.backend("echo", "a")["health"] == "up"


def test_paused_machine_harms_nobody(daemon):
    """Everything stopped for longer than the limit, master too, then all go on."""
    before = daemon.workers()
    pids = [daemon.pid, *sorted(set(family(daemon.pid)) - {daemon.pid})]
    turn = daemon.stats()["uptime_seconds"]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(state(pid) == "T" for pid in pids), 10, "all to be stopped")
        time.sleep(3)  # the one time that is meant: how long the machine is paused
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: daemon.stats()["uptime_seconds"] >= turn + 7, 30, "some turns of the watchdog")
    assert daemon.workers() == before
    assert echoes(daemon.address("echo"))
    assert not any("hangs" in event["text"]
                   for event in daemon.ctl_json("show events")["events"])


def autogroup(pid):
    """Sessions share a processor evenly where there is this file (sched(7)); so much for niceness
    without it."""
    return pathlib.Path(f"/proc/{pid}/autogroup")


@pytest.mark.skipif(not autogroup(os.getpid()).exists(), reason="no autogroup scheduling")
def test_starved_worker_is_left_alone(start):
    """Who has work and gets no processor does not hang, however late it is."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("web") + pool("web", origin.addresses), 1))
    [worker] = before = daemon.workers()
    cpu, busy = min(os.sched_getaffinity(0)), []
    with Load("keepalive", daemon.address("web"), "--connections", "400", "--duration", "60",
              "--timeout", "60"):
        wait_for(lambda: daemon.service("web")["connections_active"] >= 400, what="the load")
        autogroup(worker).write_text("19", encoding="ascii")
        os.sched_setaffinity(worker, {cpu})
        os.sched_setscheduler(worker, os.SCHED_IDLE, os.sched_param(0))
        began = daemon.stats()["uptime_seconds"]
        try:
            busy += [subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c",
                                       "while :; do :; done"], start_new_session=True)
                     for _ in range(12)]
            wait_for(lambda: daemon.stats()["uptime_seconds"] >= began + 6, 60,
                     "some turns of the watchdog")
        finally:
            os.sched_setscheduler(worker, os.SCHED_OTHER, os.sched_param(0))
            for process in busy:
                process.kill()
                process.wait()
        assert not any("hangs" in event["text"]
                       for event in daemon.ctl_json("show events")["events"])
        assert daemon.workers() == before


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_stop_does_not_wait_for_a_hung_monitor(daemon):
    daemon.kill_child(daemon.ctl_json("show info")["monitor_pid"], signal.SIGSTOP)
    daemon.ctl("stop within=0s")
    wait_for(lambda: not is_alive(daemon.pid), 30, "the end")
