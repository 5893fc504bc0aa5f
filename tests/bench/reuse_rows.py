"""The rows of reuse.py: what connections to the backends that are kept save, beside balancers that
keep none, and what has to come out."""

import os
import statistics
import time
from contextlib import closing

import delay
import generators
from balancers import Direct, HAProxy, Nginx, NginxHTTP, Site, Sluice
from procs import BenchError, Skipped
from report import values_of
from reuse_site import DELAY_MS, RedisInfo, StatusPage, watching
from rows import Metric, Row
from targets import Target, cost_target

CLIENTS = 1000
UPSTREAMS = 16  # of a backend, at most, where clients share them
WARM_MIN = 8
NEW_A_SECOND = 100
ROUND_TRIP_MS = 2 * DELAY_MS

HTTP_REUSE = "option http-keep-alive\n    http-reuse always"
ALWAYS, SAFE, SHARED, WARM = "sluice always", "sluice safe", "sluice reuse", "sluice warm"
HAPROXY_HTTP = "haproxy http"


def metrics_of(operation):
    return (Metric("cpu", f"CPU µs/{operation}", 2, True),
            Metric("open", "open at the origin, most", 0, False),
            Metric("opened", f"opened/{operation}", 4, False),
            Metric("rest", "master, monitor", 3, False))


def open_target(name):
    """In every round."""
    def value(result):
        return max(values_of(result["samples"].get(name, ()), "open"), default=None)
    return Target(f"{name}: open at the origin, most", value, UPSTREAMS)


def errors_target(name):
    def value(result):
        samples = result["samples"].get(name)
        return sum(sum(sample["errors"].values()) for sample in samples) if samples else None
    return Target(f"{name}: errors", value, 0)


def saved_target(name, without, key):
    """Between medians, beside the round trip that there is to save."""
    def value(result):
        found = [values_of(result["samples"].get(one, ()), key) for one in (without, name)]
        return statistics.median(found[0]) - statistics.median(found[1]) if all(found) else None
    return Target(f"{name}: ms saved at {key}", value, 0.9 * ROUND_TRIP_MS, digits=1,
                  at_least=True)


class ReuseRow(Row):
    """Nobody checks health here. The origin is asked what it sees while the load runs."""
    unit, scale, detailed = "requests", 1e6, True
    metrics = metrics_of("request")
    targets = ()

    def sluice(self, name="sluice", pool_more="", backend_more=""):
        return Sluice(self.bench.tools.sluiced, name, pool_more, backend_more)

    def shared(self, framing):
        """Sluice with few connections for many clients."""
        return self.sluice(SHARED, f'queue = {2 * CLIENTS}\n    queue_timeout = "0s"\n    reuse '
                           f'{{ mode = "request"  framing = "{framing}"  max_idle = {UPSTREAMS} }}',
                           f"max_connections = {UPSTREAMS} ")

    def origin_port(self):
        return self.bench.origins.http_port

    def site(self):
        return Site(self.bench.cores, [f"127.0.0.1:{self.origin_port()}"], None,
                    self.bench.sessions)

    def counter(self):
        return StatusPage(self.origin_port())

    def generate(self, port, seconds):
        raise NotImplementedError

    def load(self, port, seconds):
        with closing(self.counter()) as counter:
            return self.watched(counter, port, seconds)

    def watched(self, counter, port, seconds):
        with watching(counter) as seen:
            outcome = self.generate(port, seconds)
        outcome.origin = seen
        return outcome

    def values(self, outcome, spent, running):
        return {**super().values(outcome, spent, running), "open": outcome.origin["open"],
                "opened": outcome.origin["opened"] / max(1, outcome.operations)}


class CloseReuse(ReuseRow):
    name = group = "crc-reuse"
    unit, metrics = "connections", metrics_of("connection")
    title = ("Connect, one request, close: ab, 64 clients, 100-byte body; HTTP understood and "
             "backend connections kept, or not")
    targets = tuple(target for name in (ALWAYS, SAFE) for target in (
        cost_target(name, ("haproxy", "nginx"), 0.65, 0.50),
        cost_target(name, (HAPROXY_HTTP,), 1.0), errors_target(name)))

    def _contenders(self):
        yield Direct()
        yield self.sluice()
        for name, policy in ((ALWAYS, "always"), (SAFE, "safe")):
            yield self.sluice(name, f'reuse {{ mode = "request"  framing = "http1"  policy = '
                              f'"{policy}" }}')
        yield HAProxy()
        yield HAProxy(HAPROXY_HTTP, HTTP_REUSE, "http")
        yield Nginx()
        yield NginxHTTP()

    def generate(self, port, seconds):
        return generators.ab(port, seconds)


class KeepaliveReuse(ReuseRow):
    name = group = "keepalive-reuse"
    title = (f"Keep-alive requests of {CLIENTS:,} clients over {UPSTREAMS} backend connections: "
             "wrk, 100-byte body")
    targets = (open_target(SHARED), errors_target(SHARED))

    def _contenders(self):
        yield Direct()
        yield self.shared("http1")
        yield HAProxy(HAPROXY_HTTP, HTTP_REUSE, "http", f" maxconn {UPSTREAMS}")

    def generate(self, port, seconds):
        return generators.wrk(port, seconds, CLIENTS)


class RedisReuse(ReuseRow):
    name = group = "redis-reuse"
    title = (f"Redis: {CLIENTS:,} clients over {UPSTREAMS} backend connections, or over one each: "
             "redis-benchmark, SET then GET, 100 bytes")
    targets = (open_target(SHARED), errors_target(SHARED))
    calibration = 20000
    rate = 0  # requests a second without a balancer

    def _contenders(self):
        yield Direct()
        yield self.sluice()
        yield self.shared("resp")
        yield HAProxy()

    def origin_port(self):
        return self.bench.origins.redis_port

    def origin_pids(self):
        return self.bench.origins.redis_pids

    def counter(self):
        return RedisInfo(self.origin_port())

    def prepare(self):
        outcome = generators.redis_benchmark(self.origin_port(), self.calibration, CLIENTS)
        self.rate = outcome.operations / outcome.seconds

    def generate(self, port, seconds):
        """By a count: redis-benchmark knows no other end."""
        return generators.redis_benchmark(port, int(self.rate * seconds / 2), CLIENTS)

    def watched(self, counter, port, seconds):
        """Redis knows whether all of them arrived, once."""
        calls, error_replies = counter.commands()
        outcome = super().watched(counter, port, seconds)
        calls_after, error_replies_after = counter.commands()
        outcome.errors = generators.nonzero({
            "lost or doubled": abs(calls_after - calls - outcome.operations),
            "error replies": error_replies_after - error_replies})
        return outcome


class Warm(ReuseRow):
    name = group = "warm"
    title = (f"First byte on new connections, {NEW_A_SECOND} a second, counted from when each was "
             f"due; backend {ROUND_TRIP_MS} ms away: sluice-load crc, 100-byte body")
    unit, detailed = "connections", False
    metrics = (Metric("p50", "p50 ms", 2, False), Metric("p99", "p99 ms", 2, False),
               Metric("connect", "connect p50 ms", 2, False))
    targets = (saved_target(WARM, "sluice", "p50"), saved_target(WARM, "sluice", "p99"),
               errors_target(WARM))

    def _contenders(self):
        yield Direct()
        yield self.sluice()
        yield self.sluice(WARM, f'reuse {{ mode = "warm"  warm_min = {WARM_MIN} }}')
        yield HAProxy()

    def prepare(self):
        if not self.bench.isolated:
            raise Skipped("no right to a network namespace")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise Skipped("no /dev/net/tun")
        self.bench.origins.start_path()

    def site(self):
        site = super().site()
        site.backends = [f"{delay.FAR}:{self.origin_port()}"]
        return site

    def measure(self, running):
        def load(seconds):
            return generators.load(self.bench.tools, running.port, seconds, "--rate",
                                   str(NEW_A_SECOND), mode="crc",
                                   address="127.0.0.1" if running.traffic else delay.FAR)
        load(1)  # warm
        start = time.monotonic()
        outcome = load(self.bench.seconds)
        if not outcome.operations:
            raise BenchError(f"nothing was done; errors: {outcome.errors}")
        return {"metrics": {"p50": outcome.latency_us["p50"] / 1000,
                            "p99": outcome.latency_us["p99"] / 1000,
                            "connect": outcome.connect_us["p50"] / 1000},
                "operations": outcome.operations, "seconds": time.monotonic() - start,
                "errors": outcome.errors}


ROWS = (CloseReuse, KeepaliveReuse, RedisReuse, Warm)
GROUPS = tuple(row.group for row in ROWS)
