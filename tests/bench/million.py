"""Holds many client connections through Sluice, a million unless told, and measures them.

Establishes them all, leaves them alone for a while, has some ask something, closes them, and
compares what Sluice, its clients and its backends have counted. Prints tables in Markdown on
stdout, progress on stderr. Exit status: 0 done without any error; 1 errors occurred, or it could
not be done; 2 usage; 77 this machine does not permit it.
"""

import argparse
import contextlib
import datetime
import os
import re
import shutil
import signal
import sys
import tempfile
import time

import machine
import million_report as report
from million_memory import Floor, Plan, Usage
from million_site import TICK_S, Daemon, Peers, device_drops, isolate, kernel_counters
from procs import BenchError, Skipped, cpu_ns, json_file, wait_until, write_json

CONNECTIONS_MAX = 4000000  # ten bits of addresses, and a thousand ports of each
ASK_SHARE = 0.01
SLOWEST = 1000  # connections a second; a phase that is slower is given up
WAIT_S = 30
SETTLE_S = 1.0  # for delayed acknowledgements, and counters that are told now and then
NOT_PERMITTED = 77


def say(*words):
    print("million:", *words, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="million.sh", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--connections", type=int, default=1000000, metavar="N",
                        help="default 1000000")
    parser.add_argument("--hold", type=float, default=5, metavar="SECONDS",
                        help="how long they are left alone; default 5")
    parser.add_argument("--json", metavar="FILE", type=json_file, help="write everything there")
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    options = parser.parse_args()
    if not 1 <= options.connections <= CONNECTIONS_MAX:
        parser.error(f"--connections: 1 to {CONNECTIONS_MAX}")
    if options.hold < 0:
        parser.error("--hold: at least 0")
    return options


def programs_of(build):
    found = [os.path.join(os.path.abspath(build), *words)
             for words in (("src", "sluiced"), ("tests", "bench", "bench_million_peer"))]
    for path in found:
        if not os.access(path, os.X_OK):
            raise SystemExit(f"million: no program {path}; is {build} a finished build with tests?")
    return found


def sizes():
    """Of a request and its answer: what the peers were built with."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "million_peer.h")
    with open(path, encoding="utf-8") as text:
        found = dict(re.findall(r"^#define (REQUEST|ANSWER)_BYTES\s+(\d+)", text.read(), re.M))
    return {name.lower(): int(value) for name, value in found.items()}


class Run:
    """One run; facts is what it has found out, and what goes to the file."""

    def __init__(self, options, plan, peers, daemon, facts):
        self.options, self.plan, self.peers, self.daemon = options, plan, peers, daemon
        self.facts, self.usages, self.begun_s = facts, {}, 0.0
        facts |= {"phases": {}, "time_line": [],
                  "asked": max(1, int(plan.connections * ASK_SHARE))}

    def service(self):
        return self.daemon.stats()["services"][0]

    def _note(self, event):
        seconds = event["ms"] / 1000
        if event["phase"] == "open":
            self.facts["time_line"].append(
                (seconds, event["backends_opened"], self.daemon.cpu_s() - self.begun_s))
        say(f"{event['phase']}: {seconds:.1f} s: opened {event['clients_opened']}, backends "
            f"{event['backends_opened']}, answered {event['clients_answered']}, closed "
            f"{event['clients_closed']}, failed {event['clients_failed']}, sent again "
            f"{event['clients_resent']}")

    def _cpu(self):
        return self.daemon.cpu_s(), cpu_ns([self.peers.process.pid]) / 1e9

    def phase(self, name, words, count):
        before = self._cpu()
        self.begun_s = before[0]
        last = self.peers.phase(words, WAIT_S + count / SLOWEST, self._note)
        after = self._cpu()
        self.facts["phases"][name] = {
            "count": count, "seconds": max(last["ms"], 1) / 1000, "sluice_s": after[0] - before[0],
            "peers_s": after[1] - before[1]}

    def look(self, name):
        self.usages[name] = Usage(self.daemon.pids)

    def wait_active(self, count):
        """Sluice is to know as many; what it says otherwise is the error."""
        wait_until(lambda: self.service()["connections_active"] == count, WAIT_S)
        return self.service()["connections_active"]

    def leave_alone(self, seconds):
        """Returns the share of a core that the workers took meanwhile."""
        before_s, begun = self.daemon.cpu_s(), time.monotonic()
        while time.monotonic() - begun < seconds:
            Floor.check()
            time.sleep(TICK_S)
        return (self.daemon.cpu_s() - before_s) / (time.monotonic() - begun)

    def measure(self):
        count, asked = self.plan.connections, self.facts["asked"]
        self.look("start")
        self.phase("open", "open", count)
        held = [self.wait_active(count)]
        self.facts["idle_workers_share"] = self.leave_alone(max(self.options.hold, SETTLE_S))
        held.append(self.service()["connections_active"])
        self.look("held")
        self.phase("ask", f"ask {asked}", asked)
        self.look("asked")
        self.phase("close", "close", count)
        self.wait_active(0)
        self.leave_alone(SETTLE_S)
        self.look("closed")
        self.facts["held_active"] = held

    def judge(self):
        facts = self.facts
        stats = self.daemon.stats()
        facts |= {"account": report.account_of(stats["services"][0]), "peers": self.peers.last,
                  "kernel": kernel_counters(), "device_drops": device_drops(),
                  "results": report.results_of(self.usages, self.plan.connections),
                  "usages": {name: vars(usage) for name, usage in self.usages.items()}}
        rows = report.agreement(facts, sizes())
        facts["errors"] = report.disagreement(rows)
        facts["errors"] += [f"Sluice: {active} active, not {self.plan.connections}, when held"
                            for active in facts["held_active"] if active != self.plan.connections]
        facts["errors"] += [f"worker {worker['id']} was started {worker['restarts'] + 1} times"
                            for worker in stats["workers"] if worker["restarts"]]
        return rows

    def show(self, rows):
        facts, count = self.facts, self.plan.connections
        print(report.phases_table(facts))
        print(report.time_line_table(facts["time_line"]))
        print(report.memory_table(self.usages, count))
        print(report.slabs_table(self.usages, count))
        print(report.targets_table(facts["results"]))
        print(report.accounts_table(rows))
        print("The kernel, of all in the namespace: "
              + ", ".join(f"{name} {value:,}" for name, value in facts["kernel"].items()) + ".\n")
        for error in facts["errors"]:
            print(f"**ERROR: {error}**")
        print(report.summary(facts) + ".", flush=True)


def ignore_interrupts():
    """From here on only the end is left, which is not to be broken off."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def run(options, work, facts):
    programs = programs_of(options.build)
    plan = Plan(options.connections)
    plan.check()
    facts |= {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "machine": machine.describe_machine(), "plan": vars(plan), "bounds": plan.bounds(),
              "settings": isolate(2 * plan.connections)}
    print(report.head(facts), flush=True)
    with contextlib.ExitStack() as stack:
        peers = stack.enter_context(Peers(programs[1], plan, work))
        stack.callback(ignore_interrupts)
        daemon = stack.enter_context(Daemon(programs[0], plan))
        stack.callback(peers.reset)
        stack.callback(ignore_interrupts)
        facts["configuration"] = daemon.configuration
        say(f"sluiced {daemon.process.pid}, {plan.workers} workers, peers {peers.process.pid}")
        one = Run(options, plan, peers, daemon, facts)
        try:
            one.measure()
            rows = one.judge()
        except (BenchError, OSError):
            say(daemon.log()[-2000:])
            with contextlib.suppress(BenchError, OSError):
                say(f"Sluice: {report.account_of(one.service())}")
            raise
    if daemon.status() != 0:
        facts["errors"].append(f"sluiced ended with status {daemon.status()}")
    one.show(rows)
    return 1 if facts["errors"] else 0


def main():
    options = parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    work = tempfile.mkdtemp(prefix="sluice-bench-")
    facts = {"errors": []}
    try:
        status = run(options, work, facts)
    except (BenchError, OSError) as error:
        say(error)
        facts["errors"].append(str(error))
        status = NOT_PERMITTED if isinstance(error, Skipped) else 1
    except KeyboardInterrupt:
        status = 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_json(options.json, facts)
    return status


if __name__ == "__main__":
    sys.exit(main())
