"""A thousand edits and reloads, good and bad, under load: nobody on a backend that stays sees an
error, and in the end all that the daemon shows, keeps and does agrees with the test's own model.

SLUICE_STORM_SEED, which a failure tells, draws the same edits again; SLUICE_STORM_EDITS says how
many. (With SLUICE_BUILD at a release build the memory is seen as it is in use.)
"""

import collections
import http.client
import json
import os
import re
import threading

import pytest

import sluice
from peers import Worker
from sluice import (QUICK, SLUICED, Daemon, Load, Origin, Port, amount, descriptors, load, memory,
                    run, split, wait_for)
from storm import takers
from storm_edits import Storm, describe, guest, parse, trim

EDITS = int(os.environ.get("SLUICE_STORM_EDITS") or amount(1000, 150))
COMPARE_EVERY = 10
PROBE_EVERY = 50
GROWTH_MAX = 3 << 20


class Clients:
    """Threads that ask a service for ever, over connections of one to a hundred requests. What failed
    is told by the client's port, so that the session's log says which backend it was."""

    def __init__(self, address, names, count=4):
        self.address, self.names, self.ending = split(address), set(names), threading.Event()
        self.served, self.failures = collections.Counter(), []
        self.workers = [Worker(self._run, nth) for nth in range(count)]

    def _run(self, nth):
        turn = nth
        while not self.ending.is_set():
            turn += 1
            port = 0
            connection = http.client.HTTPConnection(*self.address, timeout=20)
            try:
                connection.connect()
                port = connection.sock.getsockname()[1]
                for _ in range(1 + turn * 37 % 100):
                    connection.request("GET", "/bytes/500")
                    answer = connection.getresponse()
                    assert len(answer.read()) == 500, "a part of an answer"
                    self.served[answer.headers["X-Origin"]] += 1
                    if self.ending.wait(0.01):
                        break
            except (OSError, http.client.HTTPException) as error:
                self.failures.append((port, repr(error)))
            finally:
                connection.close()

    def finish(self):
        self.ending.set()
        for worker in self.workers:
            worker.result()
        return self.served

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()


def sessions(log):
    """The session log: {client's port: [(reason, backend)]}."""
    found = collections.defaultdict(list)
    for line in log.splitlines():
        if 'msg="session ended"' in line or 'msg="session refused"' in line:
            said = dict(re.findall(r"(\w+)=(\S+)", line))
            port = int(said["client"].rpartition(":")[2])
            found[port].append((said.get("ended_by") or said.get("reason"), said.get("backend")))
    return found


def check_failures(failures, log):
    """Each was told by the operator to end, on a backend that did not stay."""
    by_port = sessions(log)
    for port, error in failures:
        assert any(reason in ("operator", "backend_drained") and guest(backend)
                   for reason, backend in by_port[port]), (port, error, by_port[port])
    for found in by_port.values():
        for reason, backend in found:
            assert guest(backend) or reason in ("client_fin", "backend_fin", "client_reset"), \
                (reason, backend)


def pids(daemon):
    info = daemon.ctl_json("show info")
    return {"master": info["pid"], "monitor": info["monitor_pid"],
            **{f"worker {nth}": pid for nth, pid in enumerate(info["worker_pids"])}}


def open_now(daemon):
    return {name: descriptors(pid) for name, pid in pids(daemon).items()}


def probe(daemon, storm, what, count=60):
    """Who answers new clients is who may, and of not too many each one under rr."""
    config = storm.expected.config()
    for name in "firm", "loose":
        pool_name = config["services"][name]["pool"]
        section = config["pools"][pool_name]
        if section.get("paused") == "true":
            continue
        allowed = {section["backends"][one]["address"] for one in takers(config, pool_name)}
        if not allowed - {storm.dead}:  # never of firm, whose own load must not fail
            continue
        asked = load("crc", daemon.address(name), "--requests", count)["origins"]
        came = {storm.addresses[one] for one in asked}
        assert came <= allowed, (what, pool_name, asked)
        if section.get("scheduler") == "rr":
            assert came == allowed - {storm.dead}, (what, pool_name, asked)


def check_state_file(path, storm):
    rows = json.loads(path.read_text())["overrides"]
    kept = {(row["kind"], row.get("service"), row.get("pool"), row.get("backend"),
             row.get("option")) for row in rows}
    said = storm.expected.said()
    assert kept == set(said), describe(dict.fromkeys(kept), dict.fromkeys(said))


def blow(storm, edits, path):
    """So many edits; the memory of the master after each half."""
    grown = []
    for nth in range(1, edits + 1):
        storm.step()
        if nth % COMPARE_EVERY == 0 and not storm.resume_in:
            storm.compare()
            check_state_file(path, storm)
        if nth % PROBE_EVERY == 0:
            probe(storm.daemon, storm, f"edit {nth}")
        if nth in (edits // 2, edits):
            grown.append(memory(storm.daemon.pid))
    while storm.resume_in:
        storm.step()
    return grown


@pytest.fixture
def seed():
    drawn = int(os.environ.get("SLUICE_STORM_SEED") or 21)  # the same each time, unless told
    print(f"SLUICE_STORM_SEED={drawn}")
    return drawn


@pytest.fixture
def storm(start, folder, seed):
    origin = start(Origin(*["http"] * len(Storm.names()), names=Storm.names()))
    held = start(Port())
    held.socket.listen()
    return Storm(folder, origin.addresses, start(Port()).address, held.address, seed)


def begin(storm, path):
    return Daemon(storm.text(storm.main), workers=4, state_file=path, close_over="500ms")


def test_a_storm_of_edits(start, folder, storm, monkeypatch):
    """Also over a restart, and after everything was reset."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")
    path = folder / "state.json"
    with begin(storm, path) as daemon:
        storm.daemon = daemon
        storm.compare()
        probe(daemon, storm, "the start")
        daemon.check_accounts("firm"), daemon.check_accounts("loose")
        before, generation = open_now(daemon), daemon.ctl_json("show info")["generation"]
        address = daemon.address("firm")
        loads = [start(Load(mode, address, "--duration", 600, "--connections", 8, "--rate", rate,
                            "--timeout", "30s", "--path", "/bytes/2000"))
                 for mode, rate in (("crc", 150), ("keepalive", 150))]
        clients = start(Clients(daemon.address("loose"), storm.names()))
        try:
            half, whole = blow(storm, EDITS, path)
        except AssertionError:
            print("the last edits:", *storm.done[-12:], sep="\n")
            raise
        reports = [one.finish() for one in loads]  # fails on any error
        served = clients.finish()
        assert all(report["requests"] > EDITS / 2 for report in reports) and len(served) > 4
        assert storm.refusals > EDITS / 20, storm.refusals
        assert daemon.ctl_json("show info")["generation"] > generation + EDITS / 3
        check_rest(daemon, storm, before, clients.failures)
        print(f"master: {half >> 10} kB after half, {whole >> 10} kB after all; "
              f"{len(clients.failures)} sessions closed by edits, {storm.refusals} refusals")
        assert whole - half < GROWTH_MAX or QUICK, (half, whole)
        if storm.returns is not None:
            storm.command("confirm", storm.expected.confirm)
            storm.returns = None
        daemon.write(storm.text(storm.main))
    restart(storm, path)


def check_rest(daemon, storm, before, failures):
    """Nothing is under way any more: counts, descriptors, the log and every view."""
    for name in "firm", "loose":
        row = daemon.check_accounts(name)
        refused = {reason: n for reason, n in row["refused_by"].items() if n}
        assert not refused, (name, refused, storm.expected.records)
    ended = {reason: n for reason, n in daemon.service("firm")["ended_by"].items() if n}
    assert set(ended) <= {"client_fin", "backend_fin", "client_reset"}, ended
    check_failures(failures, daemon.log())
    rows = daemon.ctl_json("show backends")["backends"]
    assert not any(row["connections_active"] for row in rows), rows
    assert not any(row["admin"] == "removed" for row in rows), rows
    assert all(row["restarts"] == 0 for row in daemon.stats()["workers"])
    storm.compare()
    probe(daemon, storm, "the end")
    daemon.check_accounts("firm")
    wait_for(lambda: all(now <= before[name] for name, now in open_now(daemon).items()), 10,
             f"as many descriptors as at the start: {before}, {open_now(daemon)}")


def restart(storm, path):
    """All stands again; once it is reset, nothing is left of it."""
    with begin(storm, path) as daemon:
        storm.daemon = daemon
        storm.expected.take_file(storm.whole(storm.main))
        storm.compare()
        check_state_file(path, storm)
        probe(daemon, storm, "the restart")
        shown = storm.folder / "shown.conf"
        shown.write_text(daemon.ctl("show config"))
        run([SLUICED, "-t", "-c", shown])
        storm.command("reset all", lambda: storm.expected.reset(lambda key: True, True), True)
        assert not storm.expected.records and "nothing stands" in daemon.ctl("show diff")
        storm.compare()
        check_state_file(path, storm)
        assert parse(daemon.ctl("show config")) == trim(storm.whole(storm.main))
        assert daemon.ctl_json("reload")["changes"] == []
        probe(daemon, storm, "the reset")
