"""Measures what kept backend connections save: Sluice with and without them, beside HAProxy and
nginx, interleaved, and what has to come out of that.

Prints tables in Markdown on stdout, progress on stderr. Exit status: 0 done, whether targets are
met or not; 1 errors occurred or something could not be measured (the tables say what); 2 usage.
"""

import argparse
import sys

import report
import targets
from bench import begin, conduct, measure_row, status_of
from procs import json_file, write_json
from reuse_rows import GROUPS, ROWS
from reuse_site import ReuseOrigins

PROGRAMS = ("haproxy", "nginx", "redis", "wrk", "ab")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh reuse", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    parser.add_argument("--rows", default=",".join(GROUPS), help="of " + ",".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement; default 5")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds of 1 s: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    parser.add_argument("--strace", action="store_true",
                        help="count system calls per operation, in separate runs")
    parser.add_argument("--perf", action="store_true",
                        help="count perf events per operation, in separate runs")
    parser.set_defaults(held=0)  # no row holds idle ones
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    for word in options.rows:
        if word not in GROUPS:
            parser.error(f"--rows: \"{word}\" is none of {', '.join(GROUPS)}")
    if options.quick:
        options.rounds, options.seconds = 2, 1
    if min(options.rounds, options.seconds) < 1:
        parser.error("--rounds, --seconds: at least 1")
    return options


def measure(row, options, work, facts):
    result = measure_row(row, options, work, facts["configurations"])
    facts["rows"][row.name] = result
    print(report.table(row, result, row.bench.cores.balancer is not None))
    if "skipped" not in result:
        result["targets"] = [target.judge(result) for target in row.targets]
        print(targets.table(result["targets"]), flush=True)


def run(options, work):
    bench, facts = begin(options, work, PROGRAMS, ReuseOrigins)
    print(report.head(facts, "What kept backend connections save",
                      "Nobody checks health. Targets are this project's own, of medians; what "
                      "stands open at the origin, and errors, of all rounds."), flush=True)
    with bench.origins:
        facts["configurations"]["nginx, as origin"] = bench.origins.configuration
        for row_class in (one for one in ROWS if one.group in options.rows):
            measure(row_class(bench), options, work, facts)
    print(report.tail(facts["configurations"]))
    write_json(options.json, facts)
    return status_of(facts)


if __name__ == "__main__":
    sys.exit(conduct(parse_arguments(), run))
