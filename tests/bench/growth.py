"""Measures how the cost of an operation grows: with idle connections held, with backends, with
workers; each place of an axis in turn, round after round.

Prints tables in Markdown on stdout, progress on stderr, and draws plots where asked to. Exit
status: 0 done, whether targets are met or not; 1 errors occurred or something could not be measured
(the tables say what); 2 usage.
"""

import argparse
import os
import subprocess
import sys

import machine
import report
import targets
from bench import begin, conduct, measure_row, say, status_of
from growth_rows import GROUPS, ROWS, GrowthOrigins, extend
from procs import json_file, write_json

PROGRAMS = ("haproxy", "nginx", "wrk", "ab")
PYTHON = "/usr/bin/python3"  # Debian's, which python3-matplotlib belongs to


def numbers(text):
    """Of "0,1000,10000": in order."""
    found = sorted({int(word) for word in text.split(",")})
    if found[0] < 0:
        raise ValueError(text)
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh growth", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    parser.add_argument("--rows", default=",".join(GROUPS), help="of " + ",".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement; default 5")
    parser.add_argument("--idle", type=numbers, default="0,1000,10000,100000", metavar="LIST",
                        help="idle connections held; default 0,1000,10000,100000")
    parser.add_argument("--backends", type=numbers, default="3,100,1000", metavar="LIST",
                        help="default 3,100,1000")
    parser.add_argument("--workers", type=numbers, default="1,2,4", metavar="LIST",
                        help="default 1,2,4")
    parser.add_argument("--schedulers", default="wlc,rr", metavar="LIST",
                        help="of the row of backends; default wlc,rr")
    parser.add_argument("--quick", action="store_true",
                        help="1 round of 1 s, at most 1,000 idle: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    parser.add_argument("--plots", metavar="DIR", help="draw a PNG of each row there")
    parser.set_defaults(held=0, strace=False, perf=False)
    options = parser.parse_args()
    options.rows, options.schedulers = options.rows.split(","), options.schedulers.split(",")
    for word in options.rows:
        if word not in GROUPS:
            parser.error(f"--rows: \"{word}\" is none of {', '.join(GROUPS)}")
    if options.quick:
        options.rounds = options.seconds = 1
        options.idle = sorted({min(count, 1000) for count in options.idle})
    if min(options.rounds, options.seconds, *options.backends, *options.workers) < 1:
        parser.error("--rounds, --seconds, --backends, --workers: at least 1")
    return options


def measure(row, options, work, facts):
    result = measure_row(row, options, work, facts["configurations"])
    facts["rows"][row.name] = result
    print(report.table(row, result, row.bench.cores.balancer is not None), flush=True)
    if "skipped" not in result:
        facts["targets"] += [target.judge(result) for target in row.targets()]


def draw(options, work, facts):
    """From the file, so that what is drawn is what was written."""
    if not options.plots:
        return
    path = options.json or os.path.join(work, "growth.json")
    write_json(path, facts)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plot.py")
    if subprocess.run([PYTHON, program, path, options.plots], check=False).returncode != 0:
        again = f"; run.sh plot {options.json} {options.plots} draws them" if options.json else ""
        say(f"growth: the plots could not be drawn{again}")


def run(options, work):
    bench, facts = begin(options, work, PROGRAMS, GrowthOrigins)
    bench = extend(bench, options, machine.raise_descriptor_limit())
    facts["targets"] = []
    print(report.head(facts, "How costs grow",
                      "Nobody checks health. Each ratio is to the first place of the same series; "
                      "\"silence\" is what the processes take while nobody asks anything. One "
                      f"process may hold {bench.room:,} idle connections here: what is more is "
                      "shared among as many workers as that takes, at each place the same number."),
          flush=True)
    with bench.origins:
        facts["configurations"]["nginx, as origin"] = bench.origins.configuration
        for row_class in (one for one in ROWS if one.group in options.rows):
            measure(row_class(bench), options, work, facts)
    print(report.tail(facts["configurations"]))
    if facts["targets"]:
        print("## Targets, of medians\n\n" + targets.table(facts["targets"]), flush=True)
    write_json(options.json, facts)
    draw(options, work, facts)
    return status_of(facts)


if __name__ == "__main__":
    sys.exit(conduct(parse_arguments(), run))
