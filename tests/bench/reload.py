"""Measures how long a reload takes, from the request to the answer that every process works with
the new configuration, and whom it holds up, under light load: 1,000 backends in 50 pools unless
told.

Prints tables in Markdown on stdout, progress on stderr. Exit status: 0 done, whether targets are
met or not; 1 errors occurred, or something could not be measured; 2 usage.
"""

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import health
import machine
import report
import targets
from bench import conduct, now, say, status_of
from health_rows import programs_of
from health_site import Daemon, Origin, Site, await_moment
from procs import BenchError, Cores, before_exec, json_file, write_json
from rows import Metric
from targets import Target

KINDS = {  # kind: changes of the answer, of each pool
    "none": 0, "unchanged": 0, "weights": 1, "backends": 2,
}
HASHING = ("dh", "maglev", "maglev_bounded", "mh", "sh")  # one line more: how much moves
TEXTS = {
    "none": "no reload", "unchanged": "the same file again",
    "weights": "a weight of each pool changed", "backends": "a backend of each pool replaced",
}
METRICS = (Metric("reload", "reload ms", 2, False), Metric("turn", "longest turn ms", 2, False),
           Metric("latency", "longest answer ms", 2, False))
RELOAD_MS, RELOAD_AIM_MS, TURN_MS = 100, 30, 5
LOAD_RATE, LOAD_CONNECTIONS = 500, 20
LEAD_S = 0.4    # of load before a reload
WATCH_S = 1.2   # after it: a worker tells its longest turn twice a second
LOAD_S = 2.0    # LEAD_S, a reload, WATCH_S
LOOK_S = 0.05


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh reload", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    parser.add_argument("--rounds", type=int, default=10, help="default 10")
    parser.add_argument("--pools", type=int, default=50, help="default 50")
    parser.add_argument("--backends", type=int, default=20, help="of each pool; default 20")
    parser.add_argument("--workers", type=int, default=2, help="default 2")
    parser.add_argument("--schedulers", default="wlc,maglev", metavar="LIST",
                        help="of all pools; default wlc,maglev, which has tables to be made")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    options = parser.parse_args()
    options.schedulers = options.schedulers.split(",")
    if options.quick:
        options.rounds = 2
    if min(options.rounds, options.pools, options.backends, options.workers) < 1:
        parser.error("--rounds, --pools, --backends, --workers: at least 1")
    if options.pools > 200 or options.backends > 120:
        parser.error("--pools: at most 200; --backends: at most 120")
    return options


# --- what is reloaded ---


def free_ports(count):
    """So many at once, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Pools(Daemon):
    """sluiced with many services, each with its own pool; the file is written as versions say."""

    def __init__(self, site, options, scheduler, origin_port):
        super().__init__(site, "", options.workers)
        self.ports = free_ports(options.pools)
        self.each, self.scheduler, self.origin_port = options.backends, scheduler, origin_port
        self.weight, self.version = 1, 0

    def sections(self):
        return "".join(self._pool(number, port) for number, port in enumerate(self.ports))

    def _pool(self, number, port):
        """The first backend has a weight that changes, the last one a name and an address. Names
        are the pool's own: pools of the same names and weights would share a hash table."""
        rows = []
        for place in range(self.each):
            last = place == self.each - 1 and self.version % 2
            name = f"b{number}-{place}" + (f".{self.version}" if place == self.each - 1 else "")
            address = f"127.{1 + number}.{1 if last else 0}.{1 + place}:{self.origin_port}"
            weight = self.weight if place == 0 else 1
            rows.append(f'    backend "{name}" {{ address = "{address}"  weight = {weight} }}\n')
        return (f'service "s{number}" {{ listen = {{ "127.0.0.1:{port}" }}  pool = "p{number}" }}\n'
                f'pool "p{number}" {{\n    scheduler = "{self.scheduler}"\n'
                '    check "tcp" { interval = "2s" }\n' + "".join(rows) + "}\n")

    def change(self, kind):
        if kind == "weights":
            self.weight = 3 - self.weight
        elif kind == "backends":
            self.version += 1
        self.write()

    def await_serving(self):
        """All backends up, so that nobody's first results fall into a measurement."""
        count = len(self.ports) * self.each
        await_moment(lambda: count == sum(pool["backends_up"]
                                          for pool in self.ask("show pools")["pools"]),
                     f"{count} backends to be up", LOOK_S)


# --- measuring ---


@contextlib.contextmanager
def load(site, port):
    """Light load for LOAD_S; gives a list that its report is in after the context."""
    words = [site.load, "keepalive", "--target", f"127.0.0.1:{port}", "--connections",
             str(LOAD_CONNECTIONS), "--rate", str(LOAD_RATE), "--duration", f"{LOAD_S}s", "--json"]
    found = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          preexec_fn=before_exec()) as process:
        try:
            yield found
            text, _ = process.communicate(timeout=60)
        except BaseException:
            process.kill()
            raise
    found.append(json.loads(text.decode().strip().splitlines()[-1]))


def longest_turn_us(daemon):
    """Of all workers, as they tell it until WATCH_S have passed."""
    longest, end_s = 0, time.monotonic() + WATCH_S
    while time.monotonic() < end_s:
        longest = max([longest] + [worker["loop_lag_us"]
                                   for worker in daemon.ask("show workers")["workers"]])
        time.sleep(LOOK_S)
    return longest


def measure(daemon, kind, options):
    daemon.change(kind)
    metrics, errors = {}, {}
    with load(daemon.site, daemon.ports[0]) as reports:
        time.sleep(LEAD_S)
        if kind != "none":
            begun_s = time.monotonic()
            answer = daemon.ask("reload")
            metrics["reload"] = 1000 * (time.monotonic() - begun_s)
            changes = KINDS[kind] + (KINDS[kind] > 0 and daemon.scheduler in HASHING)
            wrong = len(answer["changes"]) != changes * options.pools
            errors = {f"changes: {len(answer['changes'])}": 1} if wrong else {}
        metrics["turn"] = longest_turn_us(daemon) / 1000
    metrics["latency"] = reports[0]["latency_us"]["max"] / 1000
    errors |= {what: count for what, count in reports[0]["errors_by_kind"].items() if count}
    return {"metrics": metrics, "errors": errors, "requests": reports[0]["requests"]}


def measure_scheduler(site, origin, options, scheduler, configurations):
    result = {"title": f"Reload of {options.pools * options.backends:,} backends in "
                       f"{options.pools} pools, {scheduler}, {options.workers} workers",
              "samples": {}, "failures": {}, "expected": {}}
    try:
        with Pools(site, options, scheduler, origin.port) as daemon:
            configurations[scheduler] = daemon.configuration[:daemon.configuration.index(
                'service "s1"')] if options.pools > 1 else daemon.configuration
            daemon.await_serving()
            time.sleep(WATCH_S)  # turns of the start are to be forgotten
            for number in range(options.rounds):
                for kind in KINDS:
                    sample = {"round": number, **measure(daemon, kind, options)}
                    result["samples"].setdefault(TEXTS[kind], []).append(sample)
                    result["expected"].setdefault(TEXTS[kind], {})
                    say(f"{scheduler}: round {number + 1} of {options.rounds}: {TEXTS[kind]}: "
                        + ", ".join(f"{key} {value:.4g}"
                                    for key, value in sample["metrics"].items()))
    except (BenchError, OSError) as error:
        say(f"{scheduler}: {error}")
        result["failures"][scheduler] = [str(error)]
    return result


# --- targets ---


def values(result, key, kinds):
    return [report.values_of(result["samples"].get(TEXTS[kind], ()), key) for kind in kinds]


def make_targets(scheduler):
    reloads = [kind for kind in KINDS if kind != "none"]

    def slowest(result):
        found = [statistics.median(taken) for taken in values(result, "reload", reloads) if taken]
        return max(found, default=None)

    def longest(result):
        return max((max(taken) for taken in values(result, "turn", reloads) if taken),
                   default=None)

    return (Target(f"{scheduler}: reload, ms, the slowest kind's median", slowest, RELOAD_MS,
                   RELOAD_AIM_MS, 1),
            Target(f"{scheduler}: a worker's longest turn, ms, of all reloads", longest, TURN_MS,
                   None, 2))


# --- all together ---


def head(facts):
    lines = ["# How long a reload takes, and whom it holds up", "",
             f"{facts['date']}; {facts['rounds']} rounds, interleaved; each cell is the median "
             "(lowest–highest).", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts["machine"].items()]
    lines += [f"- pinning: {facts['pinning']}", f"- network: {facts['network']}", "",
              f"Master, monitor and workers share the balancer's core; checks go to every backend. "
              f"Meanwhile {LOAD_CONNECTIONS} connections ask {LOAD_RATE} times a second. A turn is "
              "what a worker says of itself (loop_lag_us); the longest answer is counted from when "
              "its request was due, and has in it what else the machine did: \"no reload\" says "
              "how much that is.", ""]
    return "\n".join(lines)


def run(options, work):
    programs = programs_of(options.build)
    network, isolated = health.isolate()
    machine.raise_descriptor_limit()
    cores = Cores()
    cores.pin_self()
    facts = {"date": now(), "machine": machine.describe_machine(), "network": network,
             "pinning": str(cores), "rounds": options.rounds, "pools": options.pools,
             "backends": options.backends, "workers": options.workers, "configurations": {},
             "rows": {}, "targets": []}
    print(head(facts), flush=True)
    site = Site(cores, work, *programs, isolated)
    row = SimpleNamespace(metrics=METRICS)
    with Origin(site, "0.0.0.0") as origin:
        for scheduler in options.schedulers:
            result = measure_scheduler(site, origin, options, scheduler, facts["configurations"])
            facts["rows"][scheduler] = result
            print(health.table(row, result), flush=True)
            facts["targets"] += [target.judge(result) for target in make_targets(scheduler)]
    print(health.tail(facts["configurations"]))
    print("## Targets\n\n" + targets.table(facts["targets"]), flush=True)
    write_json(options.json, facts)
    return status_of(facts)


if __name__ == "__main__":
    sys.exit(conduct(parse_arguments(), run))
