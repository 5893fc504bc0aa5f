"""The torture of connection reuse: two processes of clients and two of backends, the daemon between
them, and everything that each of them gets held against what it must get.

    torture = start(Torture("resp", mode="request"))
    torture.run(seconds)

SLUICE_TORTURE_SEED repeats a run: the same clients ask for the same, in the same manner, and
backends do the same deeds for the same requests; only the scheduler is not the same.
SLUICE_TORTURE_SECONDS makes each one last longer.
"""

import collections
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import time

from sluice import QUICK, WAIT, Daemon, descriptors, pool, service, wait_for

PEERS = pathlib.Path(__file__).with_name("torture_peers.py")
IDLE_MAX_SECONDS = 2
RESET_IDLE_MAX_SECONDS = 6  # a reset that is not answered takes 3
PROCESSES = 2  # of each kind


def seed():
    return int(os.environ.get("SLUICE_TORTURE_SEED") or time.time_ns() % 1_000_000_000)


def seconds(full=8, quick=3):
    given = os.environ.get("SLUICE_TORTURE_SECONDS")
    return int(given) if given else quick if QUICK else full


class Peer:
    """A process of torture_peers.py."""

    def __init__(self, kind, **settings):
        self.popen = subprocess.Popen([sys.executable, PEERS, kind, json.dumps(settings)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = None

    def hear(self, timeout=5 * WAIT):
        ready, _, _ = select.select([self.popen.stdout], [], [], timeout)
        assert ready, f"no word from process {self.popen.pid} within {timeout} s"
        line = self.popen.stdout.readline()
        assert line, f"process {self.popen.pid} of the torture has ended"
        return json.loads(line)

    def tell(self, **order):
        self.popen.stdin.write(json.dumps(order) + "\n")
        self.popen.stdin.flush()

    def ask(self, **order):
        self.tell(**order)
        return self.hear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


class Torture:
    """wire: a framing, or "reset": none, and a reset between two sessions. reads: clients ask only
    for what may be asked twice. Else options of the pool, in reuse of its reuse section, in backend
    of each backend."""

    def __init__(self, wire, mode, reads=False, reuse=None, backend=None, **options):
        self.wire, self.mode, self.seed = wire, mode, seed()
        self.begun, self.rounds = time.monotonic(), 0
        self.totals = collections.Counter()
        common = {"wire": wire, "seed": self.seed, "reads": reads}
        self.backends = [Peer("backend", number=n, **common) for n in range(PROCESSES)]
        self.clients, self.daemon = [], None
        try:
            addresses = [peer.hear()["address"] for peer in self.backends]
            backends = {name: {"address": address, **(backend or {})}
                        for name, address in zip("ab", addresses)}
            self.daemon = self._daemon(backends, reuse or {}, options)
            self.pids = self.daemon.workers()
            target = self.daemon.address("t")
            self.clients = [Peer("client", number=n + 1, of=PROCESSES, target=target, **common)
                            for n in range(PROCESSES)]
            for peer in self.clients:
                peer.hear()
            self._warm_up()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def _warm_up(self):
        """Until both workers know the backends well enough to reuse their connections."""
        self.descriptors = [descriptors(pid) for pid in self.pids]
        for _ in range(2):
            before = self.figure("upstreams_reused")
            wait_for(lambda: self.check(self.round(0.1, chaos=False), is_calm=True)
                     or self.figure("upstreams_reused") > before + 100, what="connections' reuse")

    def _daemon(self, backends, reuse, options):
        sys.path.insert(0, str(PEERS.parent))
        from torture_wires import WIRES  # not before: it is for the other processes as well
        idle_max = RESET_IDLE_MAX_SECONDS if self.wire == "reset" else IDLE_MAX_SECONDS
        section = {"mode": self.mode, "idle_max": f"{idle_max}s", "max_idle": 32,
                   **WIRES[self.wire](self.seed).options(), **reuse}
        self.max_idle = section["max_idle"]
        return Daemon(service("t") + pool("t", backends, reuse=section, scheduler="rr", **options))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        print(f"--- torture {self.wire} {self.mode}: SLUICE_TORTURE_SEED={self.seed}, "
              f"{self.rounds} rounds in {time.monotonic() - self.begun:.1f} s, {dict(self.totals)}")
        for peer in self.clients + self.backends:
            peer.__exit__()
        if self.daemon:
            self.daemon.__exit__(*error)

    # --- rounds ---

    def round(self, seconds, chaos, abrupt=True, closes=0, at_once=100, **more):
        """Clients live for so long; returns what became of them. closes: how often a backend closes
        a connection soon after an answer."""
        self.rounds += 1
        second = {name: more.pop(name, None) for name in ("window", "nagle")}
        for peer in self.backends:
            peer.ask(do="behave", chaos=chaos, closes=closes, **second)
        for peer in self.clients:
            peer.tell(seconds=seconds, abrupt=abrupt, at_once=at_once, **more)
        results = [peer.hear(seconds + 3 * WAIT) for peer in self.clients]
        for result in results:
            self.totals.update(result["counts"])
        return results

    def check(self, results, is_calm):
        """No wrong byte; and where nobody misbehaved none too few."""
        wrong = [what for result in results for what in result["wrong"]]
        assert not wrong, self.say("clients got wrong bytes", wrong)
        unfinished = [what for result in results for what in result["unfinished"]]
        assert not (is_calm and unfinished), self.say("clients were cut off", unfinished)

    def say(self, what, list_of_them):
        return f"{what} (SLUICE_TORTURE_SEED={self.seed}):\n" + "\n".join(list_of_them[:40])

    def rest(self):
        """Waits until every client is gone from the daemon's books."""
        wait_for(lambda: self.daemon.service("t")["connections_active"] == 0,
                 what="sessions to end")

    def stray(self):
        """What idle connections say or do must end them, before the next client comes."""
        self.rest()
        before, aged = self.stray_figures()
        results = [peer.ask(do="stray") for peer in self.backends]
        left = sum(result["left"] for result in results)
        assert left == 0, f"{left} connections are kept though something came on them"
        said = sum(result["said"] for result in results)
        found, aged = (now - then for now, then in zip(self.stray_figures(), (before, aged)))
        # One may have ended by its age just then.
        assert found >= 0.9 * said, f"found {found} of {said}; {aged} ended by their age"

    def stray_figures(self):
        return [self.figure(f"upstreams_discarded_by.{name}")
                for name in ("stray_bytes", "idle_max")]

    def run(self, seconds, deeds=()):
        """Rounds with and without misbehaviour, stray bytes on idle connections in between. On a
        machine so busy that one of the deeds was not done yet up to four times as many."""
        rounds, nth = max(2, seconds // 4), 0
        while nth < rounds or (nth < 4 * rounds and not self.have_done(deeds)):
            is_calm = nth % 2 == 0
            self.check(self.round(seconds / rounds, chaos=not is_calm,
                                  closes=0 if is_calm else 0.3), is_calm)
            self.stray()
            nth += 1
        return self.end()

    def have_done(self, deeds):
        reports = self.reports()
        return all(any(report["counts"].get(deed) for report in reports) for deed in deeds)

    # --- the end ---

    def reports(self):
        reports = [peer.ask(do="report") for peer in self.backends]
        wrong = [what for report in reports for what in report["wrong"]]
        assert not wrong, self.say("backends got wrong bytes", wrong)
        return reports

    def end(self):
        """All that must hold when all is over; returns what the backends counted."""
        self.rest()
        reports = self.reports()
        counts = collections.Counter()
        for report in reports:
            counts.update(report["counts"])
        self.totals.update(counts)
        self.check_repeats(reports)
        assert all(self.daemon.backend("t", name)["reuse_trouble"] == "none" for name in "ab")
        assert all(report["open"] <= self.max_idle * len(self.pids) for report in reports), reports
        self.daemon.check_accounts("t")
        wait_for(lambda: all(report["open"] == 0 for report in self.reports()),
                 what="idle connections to be closed")
        self.check_workers()
        return counts

    def check_repeats(self, reports):
        """What must not be asked twice never was, and nothing three times."""
        times = collections.Counter(token for report in reports for token in report["unsafe"])
        twice = [f"{token}: {n} times" for token, n in times.items() if n > 1]
        assert not twice, self.say("requests were repeated that must not be", twice)
        often = [f"{token}: {n} times" for report in reports
                 for token, n in report["often"].items()]
        assert not often, self.say("requests were repeated more than once", often)

    def check_workers(self):
        """No worker died, none has kept anything."""
        assert self.daemon.workers() == self.pids
        rows = self.daemon.ctl_json("show workers")["workers"]
        assert all(row["restarts"] == 0 and row["buffered_bytes"] == 0 for row in rows), rows
        wait_for(lambda: all(descriptors(pid) <= before + 2
                             for pid, before in zip(self.pids, self.descriptors)),
                 what="workers to have as few descriptors as before")

    def figure(self, name):
        """A counter of both backends together, a.b for one within a group."""
        group, _, one = name.rpartition(".")
        rows = [self.daemon.backend("t", backend) for backend in "ab"]
        return sum((row[group] if group else row)[one] for row in rows)


# --- what nobody can prove ---

def show_window(wire, at_once, nagle):
    """How often a client gets what a backend says a second time, up to so long after each of its
    answers: when the connection has been lent again by then, nothing tells that from the answer."""
    print(f"{wire}, {PROCESSES * at_once} clients at once, {'with' if nagle else 'no'} Nagle:"
          " second answers that a client got")
    for ms in (0, 0.3, 1, 5):
        with Torture(wire, "request") as torture:
            results = torture.round(seconds(5, 2), chaos=False, abrupt=False, at_once=at_once,
                                    window=ms / 1000, nagle=nagle)
            sent = sum(peer.ask(do="report")["counts"]["late stray"] for peer in torture.backends)
            got = sum(result["counts"]["got another's"] for result in results)
            caught = torture.figure("upstreams_discarded_by.stray_bytes")
            print(f"  within {ms:3} ms: {got} of {sent}, {100 * got / max(1, sent):.1f} %"
                  f" (found in time: {caught}), {torture.totals['answers']} answers", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["line", "http1", "resp"]:
        for with_nagle in (False, True):
            show_window(name, 100, with_nagle)
            show_window(name, 4, with_nagle)
