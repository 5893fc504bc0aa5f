"""The rows of growth.py: what an operation costs while idle connections are held, among more
backends, with more workers. A contender of these rows is a balancer at one place of the axis."""

import contextlib
import dataclasses
import itertools
import os
import re
import time
from types import SimpleNamespace

import generators
import report
from balancers import Direct, HAProxy, Nginx, Site, Sluice, fill
from million_memory import GIB, Floor, Plan, meminfo
from procs import Skipped, Snapshot, free_port
from rows import Metric, Origins, Row
from targets import ratio_target

IDLE_OF_TARGET = 10000
IDLE_NEARLY = 9000  # where descriptors allow no more to one process
CPU_MUST, CPU_AIM = 1.10, 1.03  # with so many held, beside none
# Of a process: descriptors that are neither a session's nor a listener's, and sessions for traffic.
DESCRIPTORS_BESIDE = 300
SESSIONS_BESIDE = 350
PER_ADDRESS = 2000      # held connections towards one backend: few of the ports there are
PER_SOURCE = 5000       # held connections of one client address
PER_ORIGIN = 15000      # of one nginx, which closes idle ones when 15/16 of its places are taken
HELD_BYTES = 4 * 4300   # four sockets, and what the programs have beside them
CALM_S = 4.0            # more than connect_timeout: timers of what has just begun have run out
QUIET_S = 2.0
LINES_SHOWN = 4


class GrowthOrigins(Origins):
    """nginx, and more of the same where many connections are to stand there; no bulk."""

    def __init__(self, work, descriptors):
        super().__init__(work, descriptors)
        self.descriptors = descriptors
        self.ports = [self.http_port]

    def _start(self):
        self._start_http()
        return self

    def grow(self, count):
        """From now on there are so many."""
        while len(self.ports) < count:
            port = free_port()
            folder = os.path.join(self.work, f"origin{len(self.ports)}")
            os.mkdir(folder)
            configuration = fill("origin.conf", work=folder, port=port, body="x" * 100,
                                 descriptors=self.descriptors)
            self.http_pids += self._start_nginx(os.path.join(folder, "origin.conf"),
                                                configuration, port)
            self.ports.append(port)


def shortened(configuration):
    """Without most of the lines that differ in a backend's name and address only."""
    lines = []
    for _, alike in itertools.groupby(configuration.splitlines(True),
                                      lambda line: re.sub(r"[\d.:]+", "", line)):
        alike = list(alike)
        lines += alike if len(alike) <= LINES_SHOWN else [
            *alike[:LINES_SHOWN - 1], f"    # … {len(alike) - LINES_SHOWN + 1} more like these\n"]
    return "".join(lines)


class Point:
    """A contender at one place: as itself, with some of the site, and so many held beside."""
    peer = ours = False

    def __init__(self, contender, series, x, held=0, **changes):
        self.contender, self.series, self.x = contender, series, x
        self.held, self.changes = held, changes
        self.name = f"{series}: {x:,}"
        self.shown = True  # whether its configuration is: one of a series tells enough

    @contextlib.contextmanager
    def running(self, site):
        with self.contender.running(dataclasses.replace(site, **self.changes)) as running:
            running.held = self.held
            running.configuration = shortened(running.configuration) if self.shown else ""
            yield running


class GrowthRow(Row):
    """Nobody checks health here, so that what grows is not the checks' work."""
    unit, scale = "requests", 1e6
    axis = ""  # what x is
    logarithmic = True
    cpu = Metric("cpu", "CPU µs/request", 2, True)
    crc = Metric("crc", "CPU µs/connection", 1, True)
    metrics = (cpu, crc)

    def _contenders(self):
        yield Point(Direct(), "direct", self.places()[0])
        series = set()
        for one in self.points():
            one.shown = one.series not in series
            series.add(one.series)
            yield one

    def places(self):
        """Of x, the first being what the others are compared with."""
        raise NotImplementedError

    def points(self):
        raise NotImplementedError

    def site(self):
        port = self.bench.origins.http_port
        return Site(self.bench.cores, [f"127.0.0.1:{port}"], None, self.bench.sessions)

    def order(self, number):
        """There and back: what one leaves behind, such as TIME_WAIT, meets all of them."""
        return self.contenders[::-1] if number % 2 else self.contenders

    def sluice(self, **settings):
        return Sluice(self.bench.tools.sluiced, **settings)

    def both(self, running):
        """One sample of keep-alive requests, and then of connections."""
        found = self.timed(running, generators.wrk)
        more = self.timed(running, generators.ab)
        if running.traffic:
            found["metrics"]["crc"] = more["metrics"]["cpu"]
        found["connections"] = {key: more[key] for key in ("operations", "seconds")}
        found["errors"] = {kind: found["errors"].get(kind, 0) + more["errors"].get(kind, 0)
                           for kind in {**found["errors"], **more["errors"]}}
        found["foreign"] = max(found["foreign"], more["foreign"])
        return found

    def measure(self, running):
        return self.both(running)

    def parameters(self):
        return {"axis": self.axis, "logarithmic": self.logarithmic,
                "metrics": {metric.key: metric.heading for metric in self.metrics
                            if metric.compared},
                "points": {one.name: {"series": one.series, "x": one.x}
                           for one in self.contenders}}

    def ratios(self, samples):
        """Each place of a series over its first one."""
        found = {}
        for metric in (metric for metric in self.metrics if metric.compared):
            column, first = report.Column(samples, metric.key), {}
            for one in self.contenders:
                base = first.setdefault(one.series, one.name)
                if one.name != base and {one.name, base} <= column.middle.keys():
                    found.setdefault(metric.key, {})[one.name] = [column.ratio(one.name, base)]
        return found

    def targets(self):
        return ()


class IdleGrowth(GrowthRow):
    name = group = "idle"
    axis = "idle connections held"
    metrics = (GrowthRow.cpu, GrowthRow.crc, Metric("quiet", "CPU ms/s, silence", 2, False))

    @property
    def title(self):
        return ("Idle connections held, after one request each: wrk, 100 connections, then ab, 64 "
                "clients; and two seconds of silence")

    def places(self):
        return self.bench.idle

    def alone(self):
        """The places for one process: as many as it may have descriptors for."""
        return sorted({min(x, self.bench.room) for x in self.places()})

    def crowd(self):
        """How many workers share the most that are held."""
        return Plan(self.places()[-1] + SESSIONS_BESIDE).workers

    def _point(self, contender, series, x):
        most = self.places()[-1]
        one = contender.more.get("workers", 1) == 1
        held = min(most, self.bench.room) if one else most
        ports = self.bench.origins.ports[:1 if one else None]
        backends = [f"127.0.0.{1 + n}:{ports[n % len(ports)]}"
                    for n in range(max(1, -(-held // PER_ADDRESS)))]
        return Point(contender, series, x, held=x, backends=backends,
                     sessions=held + SESSIONS_BESIDE)

    def points(self):
        places = self.alone()
        for x in places:
            yield self._point(self.sluice(), "sluice, 1 worker", x)
        if places[-1] < self.places()[-1]:
            many = self.crowd()
            self.bench.origins.grow(-(-self.places()[-1] // PER_ORIGIN))
            for x in self.places():
                yield self._point(self.sluice(workers=many), f"sluice, {many} workers", x)
        for peer in (HAProxy(), Nginx()):
            for x in sorted({0, max(x for x in places if x <= IDLE_OF_TARGET)}):
                yield self._point(peer, peer.name, x)

    def prepare(self):
        need = HELD_BYTES * self.places()[-1] + Floor.BYTES
        if meminfo()["MemAvailable"] < need:
            raise Skipped(f"{self.places()[-1]:,} idle connections take {need / GIB:.1f} GiB of "
                          "memory: --idle tells fewer")

    def holding(self, running):
        count = running.held
        return generators.holding(
            self.bench.tools, running.port, count,
            [f"127.0.1.{1 + n}" for n in range(-(-count // PER_SOURCE))],
            -(-count // self.bench.room))

    def measure(self, running):
        if not running.held:
            return self._measure(running)
        with self.holding(running) as outcomes:
            found = self._measure(running)
        for kind, count in outcomes[0].errors.items():
            found["errors"][f"held: {kind}"] = count
        return found

    def _measure(self, running):
        time.sleep(CALM_S)
        clocks = (self.bench.cores, running.traffic, running.rest, self.origin_pids())
        before = Snapshot(*clocks)
        time.sleep(QUIET_S)
        silence = Snapshot(*clocks).since(before)
        found = self.both(running)
        if running.traffic:
            found["metrics"]["quiet"] = 1e3 * silence["traffic_s"] / silence["wall_s"]
        return found

    def targets(self):
        for series in dict.fromkeys(one.series for one in self.contenders):
            if not series.startswith("sluice"):
                continue
            places = [one for one in self.contenders if one.series == series]
            most = max((one for one in places if one.x <= IDLE_OF_TARGET), key=lambda one: one.x)
            if most.x >= IDLE_NEARLY:
                yield ratio_target(f"{series}: CPU per request with {most.x:,} idle held / with "
                                   f"{places[0].x:,}", "cpu", most.name, places[0].name, CPU_MUST,
                                   CPU_AIM)


class BackendsGrowth(GrowthRow):
    name = group = "backends"
    axis, unit = "backends", "connections"
    title = "Backends in the pool: connect, one request, close: ab, 64 clients"
    metrics = (GrowthRow.crc,)

    def places(self):
        return self.bench.backends

    def points(self):
        for scheduler in self.bench.schedulers:
            for count in self.places():
                yield Point(self.sluice(scheduler=scheduler), f"sluice, {scheduler}", count,
                            backends=self.addresses(count))

    def addresses(self, count):
        """All of them are the one origin."""
        return [f"127.1.{n // 250}.{1 + n % 250}:{self.bench.origins.http_port}"
                for n in range(count)]

    def measure(self, running):
        found = self.timed(running, generators.ab)
        found["metrics"] = {"crc": found["metrics"]["cpu"]} if running.traffic else {}
        return found


class WorkersGrowth(GrowthRow):
    name = group = "workers"
    axis, logarithmic = "workers, all on one core", False
    title = ("Workers that share one core, so that this is what more of them cost, not what they "
             "bring: wrk, 100 connections, then ab, 64 clients")

    def places(self):
        return self.bench.workers

    def points(self):
        for count in self.places():
            yield Point(self.sluice(workers=count), "sluice", count)


def room_of(descriptors):
    """How many idle connections one process can hold beside the traffic."""
    return (descriptors - DESCRIPTORS_BESIDE) // 2 - SESSIONS_BESIDE


def extend(bench, options, descriptors):
    """What these rows want to know beside the others."""
    return SimpleNamespace(**{**vars(bench), "room": room_of(descriptors), "idle": options.idle,
                              "backends": options.backends, "workers": options.workers,
                              "schedulers": options.schedulers})


ROWS = (IdleGrowth, BackendsGrowth, WorkersGrowth)
GROUPS = tuple(row.group for row in ROWS)
