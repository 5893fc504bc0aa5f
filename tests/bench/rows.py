"""The rows of the benchmark: what each one does to a contender, and what it computes from that.

A sample is a dictionary: "metrics", "operations", "seconds", "errors", and the shares of a core
(1.0: all of it) that balancer, generator, origin, and others on the balancer's core took.
"""

import os
import statistics
import time
from collections import namedtuple

import generators
import report
from balancers import Direct, HAProxy, Nginx, Site, Sluice, fill
from procs import BenchError, Process, Snapshot, children, free_port, pss_bytes, wait_listening
from targets import Target, cost_target, median_of, ratio_target

# key in "metrics"; heading; digits behind the point; whether Sluice is compared with its peers.
Metric = namedtuple("Metric", "key heading digits compared")

PER_TARGET = 6000  # held connections to one address: well under half of the port range
SETTLE_S = 1.0


class Origins:
    """nginx with a small answer, and an iperf3 server; both for the whole run, on our own core."""

    def __init__(self, work, descriptors):
        self.processes = []
        self.work = work
        self.http_port, self.bulk_port = free_port(), free_port()
        self.configuration = fill("origin.conf", work=work, port=self.http_port,
                                  descriptors=descriptors, body="x" * 100)
        self.http_pids = self.bulk_pids = []

    def __enter__(self):
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def _start(self):
        self._start_http()
        iperf3 = self._add(["iperf3", "-s", "-B", "127.0.0.1", "-p", str(self.bulk_port)],
                           self.bulk_port)
        self.bulk_pids = [iperf3.pid]
        return self

    def _start_http(self):
        self.http_pids = self._start_nginx("origin.conf", self.configuration, self.http_port)

    def _start_nginx(self, name, configuration, port):
        """Returns its processes."""
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as text:
            text.write(configuration)
        nginx = self._add(["nginx", "-e", "stderr", "-c", path], port)
        return [nginx.pid, *children(nginx.pid)]

    def _add(self, words, port):
        process = Process(words, os.path.join(self.work, "origins.log"))
        self.processes.append(process)
        wait_listening(process, port)
        return process

    def __exit__(self, *_):
        for process in self.processes:
            process.stop()


class Row:
    """One table. bench: what main() made; see bench.py."""
    name = group = title = ""
    metrics = ()
    detailed = False  # whether --strace and --perf count here
    unit = "operations"
    scale = 1.0

    def __init__(self, bench):
        self.bench = bench
        self.contenders = [*self._contenders()]

    def _contenders(self):
        yield Direct()
        yield Sluice(self.bench.tools.sluiced)
        yield HAProxy()
        yield Nginx()

    def prepare(self):
        """Once, before the first round."""

    def site(self):
        port = self.bench.origins.http_port
        return Site(self.bench.cores, [f"127.0.0.1:{port}"], port, self.bench.sessions)

    def origin_pids(self):
        return self.bench.origins.http_pids

    def load(self, port, seconds):
        raise NotImplementedError

    def values(self, outcome, spent, running):
        """The metrics of one outcome; spent: seconds of each clock."""
        if not running.traffic:
            return {}
        return {"cpu": spent["traffic_s"] * self.scale / outcome.operations,
                "rest": spent["rest_s"] * self.scale / outcome.operations}

    def measure(self, running):
        return self.timed(running, self.load)

    def timed(self, running, load):
        """A sample of one load(port, seconds)."""
        load(running.port, 1)  # warm
        clocks = (self.bench.cores, running.traffic, running.rest, self.origin_pids())
        before = Snapshot(*clocks)
        outcome = load(running.port, self.bench.seconds)
        spent = Snapshot(*clocks).since(before)
        if not outcome.operations:
            raise BenchError(f"nothing was done; errors: {outcome.errors}")
        wall = outcome.seconds or spent["wall_s"]
        own = spent["traffic_s"] + spent["rest_s"]
        return {"metrics": self.values(outcome, spent, running), "operations": outcome.operations,
                "seconds": wall, "errors": outcome.errors, "balancer": spent["traffic_s"] / wall,
                "generator": spent["generator_s"] / wall, "origin": spent["origin_s"] / wall,
                "foreign": max(0.0, spent["core_s"] - own) / spent["wall_s"] if running.traffic
                           else 0.0}

    def finish_round(self, samples):
        """samples: of this round, by contender; for what needs more than one of them."""

    def order(self, number):
        """The contenders as this round takes them."""
        return self.contenders

    def ratios(self, samples):
        return report.ratios(self, samples)

    def parameters(self):
        """What else a reader of the figures has to know; goes to the file."""
        return {}


class Keepalive(Row):
    name = group = "keepalive"
    title = "Keep-alive request: wrk, 100 connections, 100-byte body"
    unit, scale, detailed = "requests", 1e6, True
    metrics = (Metric("cpu", "CPU µs/request", 2, True),
               Metric("rest", "master, monitor", 3, False))

    def _contenders(self):
        yield from super()._contenders()
        reuse = Sluice(self.bench.tools.sluiced, "sluice reuse",
                       'reuse { mode = "request"  framing = "http1" }')
        if reuse.usable():
            yield reuse

    def load(self, port, seconds):
        return generators.wrk(port, seconds)


class ConnectRequestClose(Keepalive):
    name = group = "crc"
    title = "Connect, one request, close: ab, 64 clients, 100-byte body"
    unit = "connections"
    metrics = (Metric("cpu", "CPU µs/connection", 1, True),
               Metric("rest", "master, monitor", 2, False))

    def load(self, port, seconds):
        return generators.ab(port, seconds)


class SessionLog(ConnectRequestClose):
    """Beside the same without a line; the log is a file."""
    name = group = "log"
    title = ("Session log, to a file: connect, one request, close: ab, 64 clients, 100-byte body")

    def _contenders(self):
        quiet = Sluice(self.bench.tools.sluiced)
        quiet.peer = True
        yield quiet
        for which in ("errors", "all"):
            yield Sluice(self.bench.tools.sluiced, f"log {which}", session_log=which)


class BulkUp(Row):
    name, group = "bulk-up", "bulk"
    title = "Bulk, client to origin: iperf3, one stream"
    unit, detailed = "GB", True
    metrics = (Metric("cpu", "CPU s/GB", 3, True), Metric("rest", "master, monitor", 4, False))
    reverse = False

    def _contenders(self):
        yield from super()._contenders()
        yield HAProxy("haproxy splice-auto", "option splice-auto")
        # splice-auto may find no occasion to splice; these two always do.
        yield HAProxy("haproxy splice",
                      "option splice-request\n    option splice-response")

    def site(self):
        # The checks go to the other origin: iperf3 would take each one for a client.
        site = super().site()
        site.backends = [f"127.0.0.1:{self.bench.origins.bulk_port}"]
        return site

    def origin_pids(self):
        return self.bench.origins.bulk_pids

    def load(self, port, seconds):
        return generators.iperf3(port, seconds, self.reverse)


class BulkDown(BulkUp):
    name = "bulk-down"
    title = "Bulk, origin to client: iperf3 -R, one stream"
    reverse = True


class Idle(Row):
    name = group = "idle"
    unit = "connections held"
    metrics = (Metric("bytes", "bytes/connection", 0, True), Metric("base", "MB before", 1, False))

    @property
    def title(self):
        return (f"Idle memory: {self.bench.held} connections held after one request each, growth "
                "of PSS over all processes")

    def _contenders(self):
        return (one for one in super()._contenders() if one.name != "direct")

    def addresses(self):
        return [f"127.0.0.{1 + i}" for i in range(-(-self.bench.held // PER_TARGET))]

    def site(self):
        site = super().site()
        site.backends = [f"{address}:{site.check_port}" for address in self.addresses()]
        return site

    def parameters(self):
        return {"held": self.bench.held}

    def measure(self, running):
        pids = running.traffic + running.rest
        generators.load(self.bench.tools, running.port, 1, "--requests", "100", connections=10)
        time.sleep(SETTLE_S)
        before = pss_bytes(pids)
        start = time.monotonic()
        with generators.holding(self.bench.tools, running.port, self.bench.held,
                                self.addresses()) as outcomes:
            time.sleep(SETTLE_S)
            growth = pss_bytes(pids) - before
        outcome, = outcomes
        return {"metrics": {"bytes": growth / self.bench.held, "base": before / 1e6},
                "operations": outcome.operations, "seconds": time.monotonic() - start,
                "errors": outcome.errors}


class Latency(Row):
    """Two balancers are compared by the whole p99, not by what each adds to the direct path's: at a
    rate that fills the other core the direct path, whose ends share it alone, may be the slowest.
    Who has the lower one adds less, too."""
    name = group = "latency"
    unit, scale = "requests", 1e6
    metrics = (Metric("p50", "p50 µs", 0, False), Metric("p99", "p99 µs", 0, True),
               Metric("added_p50", "p50 added", 0, True), Metric("added_p99", "p99 added", 0, False),
               Metric("cpu", "CPU µs/request", 2, True))
    part, part_name = 2, "half"
    rate = peak = 0

    @property
    def title(self):
        return (f"Latency at {self.rate} requests/s, {self.part_name} of HAProxy's peak "
                f"({self.peak}/s): sluice-load keepalive, 100 connections, counted from when each "
                "was due")

    def prepare(self):
        rates = []
        for _ in range(min(3, self.bench.rounds)):
            with HAProxy().running(self.site()) as running:
                start = time.monotonic()
                outcome = generators.load(self.bench.tools, running.port, self.bench.seconds)
                rates.append(outcome.operations / (time.monotonic() - start))
        self.peak = int(statistics.median(rates))
        self.rate = max(100, self.peak // self.part)

    def load(self, port, seconds):
        return generators.load(self.bench.tools, port, seconds, "--rate", str(self.rate))

    def parameters(self):
        return {"rate": self.rate, "haproxy_peak": self.peak}

    def values(self, outcome, spent, running):
        return {**super().values(outcome, spent, running),
                "p50": outcome.latency_us["p50"], "p99": outcome.latency_us["p99"]}

    def finish_round(self, samples):
        direct = samples.pop("direct", None)
        for sample in samples.values() if direct else ():
            for key in ("p50", "p99"):
                sample["metrics"][f"added_{key}"] = (sample["metrics"][key]
                                                     - direct["metrics"][key])


class LatencyBelow(Latency):
    """Where neither core is full."""
    name = "latency-quarter"
    part, part_name = 4, "a quarter"


TARGETS = (  # row, what has to come out of it
    ("keepalive", cost_target("sluice", ("haproxy", "nginx"), 0.95, 0.90,
                              "keep-alive request: ")),
    ("crc", cost_target("sluice", ("haproxy", "nginx"), 0.92, 0.85, "connect, request, close: ")),
    ("log", cost_target("log all", ("sluice",), 1.05)),
    ("bulk-up", cost_target("sluice", ("haproxy", "nginx", "haproxy splice-auto"), 0.85, 0.80,
                            "bulk, client to origin: ")),
    ("bulk-down", cost_target("sluice", ("haproxy", "nginx", "haproxy splice-auto"), 0.85, 0.80,
                              "bulk, origin to client: ")),
    ("idle", Target("user memory of an idle connection, bytes",
                    lambda result: median_of(result, "sluice", "bytes"), 700, 550)),
    ("latency", ratio_target("p99 latency at half of HAProxy's peak: sluice / haproxy",
                             "p99", "sluice", "haproxy", 1.0, 0.8)),
    ("latency-quarter", ratio_target("the same at a quarter", "p99", "sluice", "haproxy", 1.0, 0.8)),
)
ROWS = (Keepalive, ConnectRequestClose, SessionLog, BulkUp, BulkDown, Idle, Latency, LatencyBelow)
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))
ASKED_FOR = ("log",)  # groups that are measured only when they are named
