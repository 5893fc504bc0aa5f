"""The rows of health.py: what is done to a daemon, when it noticed, and what it should have taken.

A sample has "metrics" and "errors". A Line is one line of a row's table, measured for itself.
"""

import os
import random
import socket
import time
from collections import namedtuple
from contextlib import ExitStack

from health_site import (Daemon, Origin, await_moment, clients, first_moment, last_pick, picks)
from procs import BenchError, cpu_ns, pss_bytes

# key in "metrics"; heading; digits behind the point.
Metric = namedtuple("Metric", "key heading digits")

SEED = 1             # of where in an interval a server goes away
JITTER = 0.05        # of an interval, as src/check/pace.c has it
SLACK_MS = 25        # either way: the monitor's timers (4 ms), turns of its loop, our looking
FLAP_INTERVALS = 10  # whoever goes down again before that needs more passes the next time
AFTER_S = 0.3        # watched for, so that a last client is the last
BACKENDS = 3
CLIENTS_A_SECOND = 600


def is_down(row):
    return row["state"] == "down"


def is_up(row):
    return row["state"] == "up"


class Line:
    """name: what stands in front of the table's line; bounds: (lowest, highest) of what a metric
    may be, by its key; rounds: of these, how many."""
    name = ""
    bounds = {}

    def __init__(self, site, options):
        self.site, self.options = site, options
        self.configuration = ""

    def rounds(self):
        return self.options.rounds

    def measure(self):
        """Gives one sample a round."""
        raise NotImplementedError


class Row:
    """One table. lines: made by make_rows()."""

    def __init__(self, name, title, metrics, lines):
        self.name, self.title, self.metrics, self.lines = name, title, metrics, lines


def names_of(origins):
    return "".join(f'    backend "b{i}" {{ address = "{origin.address}" }}\n'
                   for i, origin in enumerate(origins))


# --- servers that go away and come back ---

class Detection(Line):
    """One of three servers is killed, or hangs, and comes back, each anywhere in an interval, while
    clients come."""

    def __init__(self, site, options, kind, times, hangs):
        super().__init__(site, options)
        self.kind, self.hangs = kind, hangs
        self.interval_ms, self.timeout_ms, self.defaults = times
        fall, rise = 3, 2
        self.name = (f"{kind} every {self.interval_ms} ms{', the default' * self.defaults}"
                     + (f", timeout {self.timeout_ms} ms: server hangs" if hangs
                        else ": server refuses"))
        self.bounds = {"down": self._expect(fall, self.timeout_ms if hangs else 0),
                       "up": self._expect(rise, 0)}
        if hangs:  # a check that waits when it goes on is answered at once
            self.bounds["up"] = (0, self.bounds["up"][1])
        self.bounds["last"] = (0, self.bounds["down"][1])

    def _expect(self, times, more_ms):
        return ((times - 1) * self.interval_ms * (1 - JITTER) + more_ms - SLACK_MS,
                times * self.interval_ms * (1 + JITTER) + more_ms + SLACK_MS)

    def rounds(self):
        return self.options.slow_rounds if self.defaults else self.options.rounds

    def _pool(self, origins):
        times = "" if self.defaults else (
            f'interval = "{self.interval_ms}ms"  timeout = "{self.timeout_ms}ms"  fall = 3  '
            'rise = 2')
        return f'    scheduler = "rr"\n    check "{self.kind}" {{ {times} }}\n{names_of(origins)}'

    def measure(self):
        luck = random.Random(SEED)
        calm_s = FLAP_INTERVALS * self.interval_ms / 1000 * (1 + JITTER)
        with ExitStack() as stack:
            origins = [stack.enter_context(Origin(self.site)) for _ in range(BACKENDS)]
            daemon = stack.enter_context(Daemon(self.site, self._pool(origins), 2))
            self.configuration = daemon.configuration
            daemon.await_up(BACKENDS)
            stack.enter_context(clients(self.site, daemon.port, CLIENTS_A_SECOND))
            risen_s = [0.0] * BACKENDS
            for number in range(self.rounds()):
                i = number % BACKENDS
                time.sleep(max(0.0, risen_s[i] + calm_s - time.monotonic()))
                waits_s = [luck.random() * self.interval_ms / 1000 for _ in range(2)]
                sample = self._go_and_come(daemon, origins[i], f"b{i}", waits_s)
                risen_s[i] = time.monotonic()
                yield sample

    def _go_and_come(self, daemon, origin, name, waits_s):
        time.sleep(waits_s[0])
        before = picks(daemon.backends()[name])
        gone_s = origin.freeze() if self.hangs else origin.end()
        samples = daemon.watch(name, is_down, AFTER_S + waits_s[1])
        down_s = first_moment(samples, is_down)
        last_s = last_pick(samples, before, gone_s)
        there_s = origin.thaw() if self.hangs else origin.start()
        before = picks(samples[-1][1])
        samples = daemon.watch(name, is_up, AFTER_S)
        up_s = first_moment(samples, is_up)
        first_s = next((moment for moment, row in samples if picks(row) != before), None)
        metrics = {"down": down_s - gone_s, "last": last_s - gone_s, "up": up_s - there_s,
                   "look": (samples[-1][0] - samples[0][0]) / (len(samples) - 1)}
        if first_s is not None:
            metrics["first"] = first_s - there_s
        return {"metrics": {key: 1000 * value for key, value in metrics.items()},
                "errors": {} if first_s is not None else {"no client comes back": 1}}


# --- what clients meet ---

class Ejection(Line):
    """A server without checks is killed; the fifth client in a row that meets nobody ejects it."""
    name = "4 workers, 1,500 clients a second"
    failures = 5
    bounds = {"last": (0, 100), "seen": (0, 100)}
    rate = 1500

    def measure(self):
        luck = random.Random(SEED)
        with ExitStack() as stack:
            origins = [stack.enter_context(Origin(self.site)) for _ in range(BACKENDS)]
            pool = ('    scheduler = "rr"\n    outlier { on = { "connect" }  '
                    f'consecutive_failures = {self.failures}  eject_time = "1s" }}\n'
                    + names_of(origins))
            daemon = stack.enter_context(Daemon(self.site, pool, 4))
            self.configuration = daemon.configuration
            daemon.await_up(BACKENDS)
            stack.enter_context(clients(self.site, daemon.port, self.rate))
            for number in range(self.rounds()):
                daemon.await_up(BACKENDS)
                time.sleep(0.2 + luck.random() / 10)
                yield self._eject(daemon, origins[number % BACKENDS], f"b{number % BACKENDS}")

    def _eject(self, daemon, origin, name):
        def is_fifth(row):
            return row["connect_failures"] >= before["connect_failures"] + self.failures

        def is_ejected(row):
            return row["state"] == "ejected"
        before = daemon.backends()[name]
        origin.end()
        samples = daemon.watch(name, is_ejected, AFTER_S)
        origin.start()
        fifth_s = first_moment(samples, is_fifth)
        last_s = last_pick(samples, picks(before), fifth_s)
        over = samples[-1][1]["connect_failures"] - before["connect_failures"] - self.failures
        return {"metrics": {"seen": 1000 * max(0, first_moment(samples, is_ejected) - fifth_s),
                            "last": 1000 * (last_s - fifth_s), "over": over,
                            "look": 1000 * (samples[-1][0] - samples[0][0]) / (len(samples) - 1)},
                "errors": {}}


# --- many backends ---

def many_backends(count, port):
    """Each its own address of the loopback device; one origin has them all."""
    return "".join(f'    backend "b{i}" {{ address = "127.1.{i // 250}.{1 + i % 250}:{port}" }}\n'
                   for i in range(count))


class Many(Line):
    """Base of what needs thousands of addresses."""

    def __init__(self, site, options, kind, count):
        super().__init__(site, options)
        self.kind, self.count = kind, count
        self.name = kind

    def rounds(self):
        return self.options.slow_rounds

    def _daemon(self, port):
        check = f'    check "{self.kind}" {{ interval = "2s" }}\n'
        return Daemon(self.site, check + many_backends(self.count, port), 2)

    def measure(self):
        if not self.site.isolated:
            raise BenchError("needs the right to a network namespace of its own, whose 127.0.0.0/8 "
                             "one origin can listen on")
        with Origin(self.site, "0.0.0.0") as origin:
            for _ in range(self.rounds()):
                with self._daemon(origin.port) as daemon:
                    first = "".join(daemon.configuration.partition('"b0"')[:2])
                    self.configuration = f"{first} … and so on, {self.count} of them\n}}"
                    yield self._look(daemon)

    def _look(self, daemon):
        raise NotImplementedError


class Cost(Many):
    """What the monitor takes while all is well."""
    bounds = {"cpu": (0, 15)}

    def _counts(self, daemon):
        rows = daemon.backends().values()
        return [sum(row[key] for row in rows) for key in ("checks_passed", "checks_failed")]

    def _look(self, daemon):
        daemon.await_up(self.count)
        time.sleep(2)  # a whole interval: by then they are spread evenly
        monitor = daemon.monitor_pid()
        passed, failed = self._counts(daemon)
        cpu_s, wall_s = cpu_ns([monitor]) / 1e9, time.monotonic()
        time.sleep(self.options.seconds)
        cpu_s, wall_s = cpu_ns([monitor]) / 1e9 - cpu_s, time.monotonic() - wall_s
        more_passed, more_failed = self._counts(daemon)
        checks = (more_passed - passed) / wall_s
        errors = {"checks failed": more_failed - failed} if more_failed > failed else {}
        if monitor != daemon.monitor_pid():
            errors["monitor was replaced"] = 1
        if abs(checks - self.count / 2) > self.count / 20:
            errors["checks a second, not those that are due"] = round(checks)
        return {"metrics": {"cpu": 100 * cpu_s / wall_s, "each": 1e6 * cpu_s / (checks * wall_s),
                            "checks": checks, "pss": pss_bytes([monitor]) / 1e6},
                "errors": errors}


class Sweep(Many):
    """From the start of the daemon until clients can come, and until all backends are known."""

    def __init__(self, site, options, kind, count):
        super().__init__(site, options, kind, count)
        self.bounds = {}

    def rounds(self):
        return self.options.rounds

    def _look(self, daemon):
        """Clients are let in before any check has passed, and wait; so the first is asked first."""
        moments = {}

        def connects():
            daemon.process.check()
            found = socket.socket()
            found.settimeout(10)
            if found.connect_ex(("127.0.0.1", daemon.port)) != 0:
                found.close()
                return False
            moments["listens"] = time.monotonic()
            with found:
                found.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if found.recv(1):
                    moments["answers"] = time.monotonic()
            return True
        await_moment(connects, "listener")
        moments["known"] = daemon.await_up(self.count)
        errors = {} if "answers" in moments else {"no answer": 1}
        return {"metrics": {key: 1000 * (moment - daemon.started_s)
                            for key, moment in moments.items()}, "errors": errors}


# --- all together ---

def make_rows(site, options):
    """Each row once, by name."""
    def detection(*words):
        return Detection(site, options, *words)
    rows = [
        Row("detection", f"A server goes and comes back: {BACKENDS} backends, fall 3, rise 2, "
            f"{CLIENTS_A_SECOND} clients a second; ms from its end and from its return",
            [Metric("down", "until it is down", 0), Metric("last", "until the last client", 0),
             Metric("up", "until it is up", 0), Metric("first", "until the first client", 0),
             Metric("look", "a look every", 1)],
            [detection("tcp", (200, 1000, False), False),
             detection("tcp", (2000, 1000, True), False),
             detection("http", (200, 200, False), True)]),
        Row("ejection", f"A server without checks goes: {BACKENDS} backends, outlier on connect, "
            f"{Ejection.failures} consecutive failures; ms from the fifth",
            [Metric("last", "until the last client", 1), Metric("seen", "until it shows", 1),
             Metric("over", "clients after the fifth", 0), Metric("look", "a look every", 1)],
            [Ejection(site, options)]),
        Row("cost", f"The monitor with {options.backends:,} backends, each checked every 2 s, over "
            f"{options.seconds} s",
            [Metric("cpu", "CPU % of a core", 1), Metric("each", "CPU µs/check", 1),
             Metric("checks", "checks/s", 0), Metric("pss", "PSS MB", 1)],
            [Cost(site, options, kind, options.backends) for kind in ("tcp", "http")]),
        Row("sweep", f"Start with {options.backends // 5:,} backends; ms from starting the daemon",
            [Metric("listens", "until a client is let in", 0),
             Metric("answers", "until it has its answer", 0),
             Metric("known", "until all backends are up", 0)],
            [Sweep(site, options, kind, options.backends // 5) for kind in ("tcp", "http")]),
    ]
    return {row.name: row for row in rows}


def programs_of(build):
    """sluiced, sluice-origin and sluice-load of a finished build."""
    found = [os.path.join(os.path.abspath(build), "src", *words)
             for words in (("sluiced",), ("tools", "sluice-origin"), ("tools", "sluice-load"))]
    for path in found:
        if not os.access(path, os.X_OK):
            raise BenchError(f"no program {path}; is {build} a finished build?")
    return found
