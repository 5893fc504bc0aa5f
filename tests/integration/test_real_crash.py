"""A worker is killed under load: its own sessions are lost, and nothing else."""

import os
import re
import select
import signal

from sluice import (Daemon, Load, Origin, amount, connect, is_alive, load, pool, run,
                    service, wait_for)

WORKERS = 4


def start_echo(start, **options):
    echo = start(Origin("echo", "echo"))
    return start(Daemon(service("echo", **options) + pool("echo", echo.addresses), WORKERS))


def open_session(address, word=b"hello"):
    sock = connect(address)
    sock.sendall(word)
    assert sock.recv(100) == word
    return sock


def works(sock):
    """Whether an idle session still echoes; False when it was reset or ended."""
    try:
        sock.sendall(b"still there")
        return sock.recv(100) == b"still there"
    except ConnectionError:
        return False


def wait_replaced(daemon, nth, old):
    """The pid of the worker that took the place of old."""
    def replaced():
        row = daemon.ctl_json("show workers")["workers"][nth]
        return row if row["pid"] not in (0, old) and row["state"] == "running" else None
    row = wait_for(replaced, 10, "the worker's successor")
    assert row["restarts"] == 1 and is_alive(row["pid"]) and not is_alive(old)
    return row["pid"]


def test_only_its_own_sessions_are_lost(start):
    daemon = start_echo(start)
    address = daemon.address("echo")
    socks = [start(open_session(address)) for _ in range(60)]
    wait_for(lambda: daemon.stats()["connections_active"] == 60, what="every session")
    rows = daemon.ctl_json("show workers")["workers"]
    active = [row["connections_active"] for row in rows]
    assert sum(active) == 60 and all(active), rows
    old = daemon.workers()

    daemon.kill_child(old[1])
    wait_replaced(daemon, 1, old[1])
    assert [pid for nth, pid in enumerate(daemon.workers()) if nth != 1] == old[:1] + old[2:]
    kept = [sock for sock in socks if works(sock)]
    assert len(kept) == 60 - active[1]

    stats = daemon.stats()
    assert stats["connections_active"] == len(kept)
    backends = stats["pools"][0]["backends"]
    assert sum(backend["connections_active"] for backend in backends) == len(kept)
    assert daemon.service("echo")["ended_by"]["worker_died"] == active[1]
    for sock in socks:
        sock.close()
    assert daemon.check_accounts("echo")["connections_total"] == 60
    backends = daemon.stats()["pools"][0]["backends"]
    assert all(backend["connections_active"] == 0 for backend in backends), backends


def test_under_load(start):
    """Each worker in turn, under new connections: only those that it had can fail."""
    origin = start(Origin("http", "http", names=["a", "b"]))
    daemon = start(Daemon(service("web") + pool("web", origin.addresses), WORKERS))
    address = daemon.address("web")
    client = start(Load("crc", address, "--duration", 600, "--connections", 16,
                        "--path", "/bytes/2000"))
    before = daemon.workers()
    for nth, pid in enumerate(before):
        seen = daemon.service("web")["connections_total"]
        wait_for(lambda: daemon.service("web")["connections_total"] > seen + 200,
                 what="the load to go on")
        daemon.kill_child(pid)
        wait_replaced(daemon, nth, pid)
    assert not set(before) & set(daemon.workers())
    report = client.finish(check=False)
    kinds = {kind for kind, count in report["errors_by_kind"].items() if count}
    assert kinds <= {"reset", "eof_early"}, report

    assert load("crc", address, "--requests", amount(1000, 200))["errors"] == 0
    # A worker may die between the two counts of an end, or between accept() and its first one.
    row = daemon.check_accounts("web", slack=WORKERS)
    died = row["ended_by"]["worker_died"]
    assert row["connections_refused"] == 0 and died <= WORKERS * 16
    assert report["errors"] <= died + WORKERS
    stats = daemon.stats()
    rows = [stats, *stats["workers"], *stats["services"], *stats["pools"][0]["backends"]]
    assert all(row["connections_active"] == 0 for row in rows), rows


def test_its_queue_is_served_by_its_successor(start):
    """Clients that the kernel had given to the dead worker's socket wait, and are not reset."""
    daemon = start_echo(start)
    address, old = daemon.address("echo"), daemon.workers()
    os.kill(old[2], signal.SIGSTOP)
    socks = [start(connect(address)) for _ in range(60)]
    for sock in socks:
        sock.sendall(b"hello")
    def accepted():
        return daemon.service("echo")["connections_total"]
    # The stopped worker has taken none: what the others have not taken is in its queue.
    wait_for(lambda: accepted() == sum(map(readable, socks)) > 0 and queue_of(address) > 0
             and accepted() + queue_of(address) == 60, what="the other workers to answer theirs")
    queued = 60 - accepted()

    daemon.kill_child(old[2])
    wait_replaced(daemon, 2, old[2])
    assert all(sock.recv(100) == b"hello" for sock in socks)
    row = daemon.service("echo")
    assert row["connections_active"] == row["connections_total"] == 60
    assert row["ended_by"]["worker_died"] == 0
    assert daemon.ctl_json("show workers")["workers"][2]["connections_total"] >= queued


def test_unix_listener_outlives_a_worker(start, folder):
    """There all workers share one socket."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("web", listen=[f"unix:{folder}/web"])
                          + pool("web", origin.addresses)))
    client = start(Load("crc", daemon.address("web"), "--duration", 600, "--connections", 8))
    old = daemon.workers()[0]
    wait_for(lambda: daemon.service("web")["connections_total"] > 100, what="some load")
    daemon.kill_child(old)
    wait_replaced(daemon, 0, old)
    client.finish(check=False)
    assert load("crc", daemon.address("web"), "--requests", 200)["errors"] == 0
    daemon.check_accounts("web", slack=1)


def readable(sock):
    return bool(select.select([sock], [], [], 0)[0])


def queue_of(address):
    """Connections that wait to be accepted, over all listening sockets of the address."""
    rows = run(["ss", "-Htnl", "src", address]).stdout.splitlines()
    assert len(rows) == WORKERS, rows
    return sum(int(row.split()[1]) for row in rows)


def test_monitor_is_replaced(start):
    """Health stays as it was last known, and is watched again afterwards."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("web") + pool("web", origin.addresses, checks={
        "tcp": {"interval": "100ms", "rise": 1, "fall": 1}})))
    wait_for(lambda: daemon.backend("web", "a")["health"] == "up", what="the first result")
    old = daemon.ctl_json("show info")["monitor_pid"]
    daemon.kill_child(old)
    assert load("crc", daemon.address("web"), "--requests", 10)["errors"] == 0
    wait_for(lambda: daemon.ctl_json("show info")["monitor_pid"] not in (0, old, None),
             what="the monitor's successor")
    assert daemon.backend("web", "a")["health"] == "up"
    assert origin.stop() == 0
    wait_for(lambda: daemon.backend("web", "a")["health"] == "down", what="the end to be seen")


def test_one_that_keeps_dying(start):
    """Its successors come after growing pauses; each death is one line, which tells the pause."""
    daemon = start_echo(start)
    kills = {"worker 0": 0, "monitor": 0}

    def row():
        info, worker = daemon.ctl_json("show info"), daemon.ctl_json("show workers")["workers"][0]
        return {"monitor": (info["monitor_pid"], info["monitor_restarts"]),
                "worker 0": (worker["pid"], worker["restarts"])}

    def pauses(name):
        """{deaths in a row: pause}, of those that had one."""
        return {int(nth): int(ms) for nth, ms in
                re.findall(rf'{name} \(pid .*death (\d+) in a row, the next one starts in (\d+) ms',
                           daemon.log())}
    for name in kills:
        def kill_next():
            pid, restarts = row()[name]
            if pid and restarts == kills[name]:
                daemon.kill_child(pid)
                kills[name] += 1
                wait_for(lambda: row()[name][1] == kills[name], what="the death to be counted")
            return max(pauses(name), default=0) >= 5
        wait_for(kill_next, what="five deaths in a row")
        assert pauses(name) == {nth: 50 << nth - 2 for nth in pauses(name)}
        assert daemon.log().count(f"{name} (pid ") == kills[name]
    wait_for(lambda: all(pid for pid, _ in row().values()), what="both to be there again")
