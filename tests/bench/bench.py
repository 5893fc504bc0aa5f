"""Measures one worker of Sluice beside one HAProxy and one nginx process, interleaved.

Prints tables in Markdown on stdout, progress on stderr. Exit status: 0 done, 1 errors occurred or
something could not be measured (the tables say what), 2 usage.
"""

import argparse
import datetime
import os
import shutil
import signal
import sys
import tempfile
from types import SimpleNamespace

import detail
import machine
import report
import targets
from generators import Tools
from procs import BenchError, Cores, Skipped, json_file, write_json
from rows import ASKED_FOR, GROUPS, ROWS, TARGETS, Origins

# Targets that other commands measure.
ELSEWHERE = (
    ("connect, request, close with reuse of connections: CPU", "tests/bench/run.sh reuse"),
    ("cost of the session log", "tests/bench/run.sh log"),
    ("cost of a pick among 1,000 backends", "tests/bench/run.sh picks"),
    ("1,000,000 connections held", "tests/bench/million.sh"),
    ("growth with idle connections, backends, workers", "tests/bench/run.sh growth"),
    ("reload with 1,000 backends", "tests/bench/run.sh reload"),
)


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    usual = ",".join(group for group in GROUPS if group not in ASKED_FOR)
    parser.add_argument("--rows", default=usual, help=f"of {','.join(GROUPS)}; default {usual}")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement; default 5")
    parser.add_argument("--held", type=int, default=6000, help="idle connections; default 6000")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds of 1 s, 1000 held: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    parser.add_argument("--strace", action="store_true",
                        help="count system calls per operation, in separate runs")
    parser.add_argument("--perf", action="store_true",
                        help="count perf events per operation, in separate runs")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    for word in options.rows:
        if word not in GROUPS:
            parser.error(f"--rows: \"{word}\" is none of {', '.join(GROUPS)}")
    if options.quick:
        options.rounds, options.seconds, options.held = 2, 1, 1000
    if min(options.rounds, options.seconds, options.held) < 1:
        parser.error("--rounds, --seconds, --held: at least 1")
    return options


def find_tools(build, work):
    tools = Tools(os.path.join(build, "src", "sluiced"),
                  os.path.join(build, "src", "tools", "sluice-load"), work)
    for path in (tools.sluiced, tools.load):
        if not os.access(path, os.X_OK):
            raise SystemExit(f"bench: no program {path}; is {build} a finished build?")
    return tools


def make_bench(options, work, origins=Origins):
    """What the rows share. Each session of a balancer takes two descriptors."""
    descriptors = machine.raise_descriptor_limit()
    sessions = min((descriptors - 300) // 2, max(10000, options.held + 1000))
    held = min(options.held, sessions - 100)
    if held < options.held:
        say(f"bench: {descriptors} descriptors for a process allow {held} held, not {options.held}")
    tools = find_tools(os.path.abspath(options.build), work)
    return SimpleNamespace(
        cores=Cores(), tools=tools, origins=origins(work, min(descriptors - 200, 2 * sessions)),
        rounds=options.rounds, seconds=options.seconds, held=held, sessions=sessions)


def fail(result, contender, error):
    say(f"  {contender.name}: {error}")
    result["failures"].setdefault(contender.name, []).append(str(error))


def measure_round(row, number, result, configurations):
    found = {}
    for contender in row.order(number):
        try:
            with contender.running(row.site()) as running:
                if running.configuration:
                    configurations.setdefault(contender.name, running.configuration)
                sample = row.measure(running)
        except (BenchError, OSError) as error:
            fail(result, contender, error)
            continue
        found[contender.name] = {"round": number, **sample}
    row.finish_round(dict(found))
    for name, sample in found.items():
        result["samples"].setdefault(name, []).append(sample)
        say(f"  {name}: " + ", ".join(f"{key} {value:.4g}"
                                      for key, value in sample["metrics"].items()))


def measure_row(row, options, work, configurations):
    result = {"samples": {}, "failures": {}, "ratios": {}}
    try:
        row.prepare()
    except Skipped as reason:
        say(f"{row.name}: skipped: {reason}")
        return {**result, "title": row.title, "skipped": str(reason)}
    except (BenchError, OSError) as error:
        fail(result, row.contenders[0], error)
        return result
    for number in range(options.rounds):
        say(f"{row.name}: round {number + 1} of {options.rounds}")
        measure_round(row, number, result, configurations)
    result["title"] = row.title
    result["parameters"] = row.parameters()
    result["ratios"] = row.ratios(result["samples"])
    for kind in detail.KINDS:
        if not getattr(options, kind) or not row.detailed:
            continue
        for contender in (one for one in row.contenders if one.peer or one.ours):
            say(f"{row.name}: {kind} of {contender.name}")
            try:
                counts = detail.count(kind, row, contender, work)
            except (BenchError, OSError) as error:
                fail(result, contender, error)
                continue
            result.setdefault("detail", {}).setdefault(kind, {})[contender.name] = counts
    return result


def has_errors(result):
    return bool(result["failures"]) or any(
        sample["errors"] for samples in result["samples"].values() for sample in samples)


def begin(options, work, programs=machine.TRAFFIC, origins=Origins):
    """Returns what the rows share, and the facts that stand beside every figure."""
    network = machine.isolate()
    bench = make_bench(options, work, origins)
    bench.isolated = network != machine.SHARED
    bench.cores.pin_self()
    return bench, {
        "date": now(), "machine": machine.describe(bench.tools, programs), "network": network,
        "pinning": str(bench.cores), "rounds": options.rounds, "seconds": options.seconds,
        "configurations": {}, "rows": {}}


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def status_of(facts):
    return 1 if any(map(has_errors, facts["rows"].values())) else 0


def run(options, work):
    bench, facts = begin(options, work)
    print(report.head(facts), flush=True)
    with bench.origins:
        facts["configurations"]["nginx, as origin"] = bench.origins.configuration
        for row_class in (one for one in ROWS if one.group in options.rows):
            row = row_class(bench)
            result = measure_row(row, options, work, facts["configurations"])
            facts["rows"][row.name] = result
            print(report.table(row, result, bench.cores.balancer is not None), flush=True)
    print(report.tail(facts["configurations"]))
    facts["targets"] = [target.judge(facts["rows"][row])
                        for row, target in TARGETS if row in facts["rows"]]
    print("## Targets, of medians\n\n" + targets.table(facts["targets"], ELSEWHERE), flush=True)
    write_json(options.json, facts)
    return status_of(facts)


def conduct(options, act):
    """act(options, folder for what is temporary); returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = tempfile.mkdtemp(prefix="sluice-bench-")
    try:
        return act(options, work)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    return conduct(parse_arguments(), run)


if __name__ == "__main__":
    sys.exit(main())
