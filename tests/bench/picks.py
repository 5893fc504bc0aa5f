"""Measures what choosing a backend costs: every scheduler, alone and as a whole choice, by one
worker and by several at once; and the hash tables.

Prints tables in Markdown on stdout, progress on stderr. Exit status: 0 done, whether targets are
met or not; 1 a choice failed that had to be made, or something could not be measured; 2 usage.
"""

import argparse
import datetime
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time

import machine
from procs import BenchError, Cores, before_exec, json_file, write_json
from report import cell, values_of

PARTS = ("direct", "whole", "maglev", "contended")
SIZES = ("3", "32", "1000", "4000")

# This project's own, in nanoseconds per pick among 1,000 backends: those that look at everybody
# have more.
TARGET_AT = "1000"
TARGET_NS = 200
TARGETS_NS = {"lc": 1000, "wlc": 1000, "nq": 1000, "ovf": 1000}

# Computed for the same construction (Eisenbud et al., NSDI 2016, section 3.4), equal weights.
DISRUPTION_EXPECTED = {
    "1 of 100 leave 65537": 0.0055, "10 of 1000 leave 65537": 0.0236,
    "100 of 1000 leave 65537": 0.035, "1 of 100 leave 4093": 0.0298,
    "10 of 1000 leave 4093": 0.0354, "100 of 1000 leave 4093": 0.138,
}
ALONE = "loop alone"
OWN_CORE = 0.95  # less of it means that the machine was not ours


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh picks", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--ms", type=int, default=30,
                        help="of one measurement, four times that with several workers; default 30")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds of 5 ms: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.ms = 2, 5
    if min(options.rounds, options.ms) < 1:
        parser.error("--rounds, --ms: at least 1")
    return options


def child_cpu_s():
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure_part(program, part, number, options, core):
    """The samples that it printed, and how much of a core it had."""
    began_s, cpu_s = time.monotonic(), child_cpu_s()
    done = subprocess.run([program, "--round", str(number + 1), "--ms", str(options.ms), part],
                          stdout=subprocess.PIPE, text=True, check=False,
                          preexec_fn=before_exec(core))
    if done.returncode != 0:
        raise BenchError(f"bench_picks {part}: status {done.returncode}")
    share = (child_cpu_s() - cpu_s) / (time.monotonic() - began_s)
    return [json.loads(line) for line in done.stdout.splitlines()], share


def file_samples(found, number, rows):
    """One sample a contender and round, with all its metrics, as the other rows have them."""
    for one in found:
        samples = rows.setdefault(
            one["row"], {"samples": {}, "failures": {}, "ratios": {}}
        )["samples"].setdefault(one["contender"], [])
        if not samples or samples[-1]["round"] != number:
            samples.append({"round": number, "metrics": {}, "operations": 0, "seconds": 0.0,
                            "errors": {}})
        sample = samples[-1]
        sample["metrics"][one["metric"]] = one["value"]
        sample["operations"] += one["operations"]
        sample["seconds"] += one["seconds"]
        if one["failures"]:
            failed = sample["errors"].get("no backend", 0)
            sample["errors"]["no backend"] = failed + one["failures"]


def judge(row):
    """Sets row["targets"]; by median."""
    row["targets"] = {}
    for name, samples in row["samples"].items():
        values = values_of(samples, TARGET_AT)
        if name != ALONE and values:
            target = TARGETS_NS.get(name, TARGET_NS)
            row["targets"][name] = {"metric": TARGET_AT, "target": target,
                                    "met": statistics.median(values) <= target}


# --- tables ---


def number_of(text):
    return f"{int(text):,}"


def ns_cell(values):
    return cell(values, 0 if values and statistics.median(values) >= 100 else 1)


def errors_of(samples):
    return sum(sum(sample["errors"].values()) for sample in samples)


def markdown(title, headings, lines):
    return "\n".join([f"### {title}", "", "| | " + " | ".join(headings) + " |",
                      "| --- |" + " --- |" * len(headings),
                      *("| " + " | ".join(line) + " |" for line in lines), ""])


def notes_of(samples):
    errors = errors_of(samples)
    return f"**NO BACKEND {errors} times**" if errors else "no errors"


def pick_table(row):
    def line(name, samples):
        target = row["targets"].get(name)
        words = ["–", "–"] if target is None else [number_of(target["target"]),
                                                   "met" if target["met"] else "**missed**"]
        return [name, *(ns_cell(values_of(samples, size)) for size in SIZES), *words,
                notes_of(samples)]
    headings = [*(number_of(size) for size in SIZES), f"target at {number_of(TARGET_AT)}", "",
                "notes"]
    return markdown(row["title"], headings,
                    [line(name, samples) for name, samples in row["samples"].items()])


def crowd_of(row):
    return max((int(key.split("-")[1]) for samples in row["samples"].values()
                for key in samples[0]["metrics"]), default=1)


def contended_table(row):
    crowd = crowd_of(row)
    wanted = min(crowd, os.cpu_count())

    def line(name, samples):
        cores = values_of(samples, f"cores-{crowd}")
        notes = [notes_of(samples)]
        if statistics.median(cores) < OWN_CORE * wanted:
            notes.append("others took part of the cores")
        return [name,
                *(ns_cell(values_of(samples, key))
                  for key in ("cpu-1", f"cpu-{crowd}", f"wall-{crowd}")),
                *(cell([rate / 1e6 for rate in values_of(samples, key)], 2)
                  for key in ("rate-1", f"rate-{crowd}")),
                cell(cores, 2), "; ".join(notes)]
    headings = ["CPU ns, 1 worker", f"CPU ns, {crowd} workers", f"ns passed, {crowd} workers",
                "millions/s, 1 worker", f"millions/s, {crowd} workers",
                f"cores they had of {wanted}", "notes"]
    return markdown(row["title"], headings,
                    [line(name, samples) for name, samples in row["samples"].items()])


def spread_expected(name):
    """Of equal weights: shares differ by at most one entry."""
    n, size = map(int, name.split(" of "))
    over = size % n / n
    return math.sqrt(over * (1 - over)) / (size / n)


def maglev_name(name):
    return " ".join(number_of(word) if word.isdigit() else word for word in name.split())


def percents(values):
    return [100 * value for value in values]


def build_table(row):
    return markdown(row["title"], ["equal weights", "weights 1 to 4"],
                    [[maglev_name(name), *(cell(values_of(samples, key), 2)
                                           for key in ("equal", "mixed"))]
                     for name, samples in row["samples"].items()])


def spread_table(row):
    return markdown(row["title"], ["equal weights", "expected", "weights 1 to 4"],
                    [[maglev_name(name), cell(percents(values_of(samples, "equal")), 3),
                      f"{100 * row['expected'][name]:.3f}",
                      cell(percents(values_of(samples, "mixed")), 3)]
                     for name, samples in row["samples"].items()])


def disruption_table(row):
    def expected(name):
        return f"{100 * row['expected'][name]:.2f}" if name in row["expected"] else "–"
    return markdown(row["title"], ["moved", "expected"],
                    [[maglev_name(name), cell(percents(values_of(samples, "moved")), 2),
                      expected(name)]
                     for name, samples in row["samples"].items()])


def limits_of(name):
    return "all with max_connections" if "-limited" in name else "no limits"


def describe_row(name, row):
    """Sets title, and what the figures are to be held against. Returns what makes the table."""
    kind = name.split("-")[0]
    if kind in ("direct", "whole"):
        judge(row)
        row["title"] = {
            "direct": "Scheduler alone, CPU ns per pick",
            "whole": "Whole choice with reservation and release, CPU ns",
        }[kind] + f": backends 3 to 4,000, {limits_of(name)}"
        return pick_table
    if kind == "contended":
        row["title"] = (f"Whole choices of {crowd_of(row)} workers at once on "
                        f"{number_of(name.split('-')[2])} backends, {limits_of(name)}: each "
                        "worker's ns per choice, all workers' choices per second")
        return contended_table
    if name == "maglev-build":
        row["title"] = "Maglev: CPU ms to make a table, backends of entries"
        return build_table
    if name == "maglev-spread":
        row["expected"] = {one: spread_expected(one) for one in row["samples"]}
        row["title"] = ("Maglev: coefficient of variation of entries per weight, percent, backends "
                        "of entries")
        return spread_table
    row["expected"] = DISRUPTION_EXPECTED
    row["title"] = ("Maglev: entries that move beyond the unavoidable, percent of the table, when "
                    "backends leave a table of so many entries, equal weights")
    return disruption_table


def head(facts):
    lines = ["# What a choice costs", "",
             f"{facts['date']}; {facts['rounds']} rounds of {facts['ms']} ms, interleaved; each "
             "cell is the median (lowest–highest).", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts["machine"].items()]
    lines += [f"- pinning: {facts['pinning']}",
              f"- share of its core: {facts['share_of_core']}", "",
              "Weights are 1 to 4, mixed; 10 sessions per backend stand. Before each pick a "
              "session drawn at random ends; that and drawing a client are part of each figure, "
              f"and \"{ALONE}\" is what they take. max_connections, where there is one, is 20. "
              "Targets are this project's own, for 1,000 backends. 4,093 entries is what Linux's "
              "mh uses unless told otherwise.", ""]
    return "\n".join(lines)


# --- all together ---


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def measure(options, program, cores, rows):
    """Returns the shares of a core that the parts had which want one for themselves."""
    shares = []
    for number in range(options.rounds):
        for part in PARTS:
            say(f"picks: round {number + 1} of {options.rounds}: {part}")
            alone = part != "contended"
            found, share = measure_part(program, part, number, options,
                                        cores.balancer if alone else None)
            file_samples(found, number, rows)
            if alone:
                shares.append(share)
    return shares


def share_text(shares):
    text = cell(percents(shares), 0) + " %"
    return text if statistics.median(shares) >= OWN_CORE else f"{text}: **it was not its own**"


def run(options):
    program = os.path.join(os.path.abspath(options.build), "tests", "bench", "bench_picks")
    if not os.access(program, os.X_OK):
        raise BenchError(f"no program {program}; is {options.build} a finished build with tests?")
    cores = Cores()
    facts = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
             "machine": machine.describe_machine(),
             "pinning": "nothing is pinned" if cores.balancer is None else
                        f"on core {cores.balancer}; workers at once on all cores in turn",
             "rounds": options.rounds, "ms": options.ms, "rows": {}}
    facts["share_of_core"] = share_text(measure(options, program, cores, facts["rows"]))
    print(head(facts))
    for name, row in facts["rows"].items():
        print(describe_row(name, row)(row), flush=True)
    write_json(options.json, facts)
    return 1 if any(errors_of(samples) for row in facts["rows"].values()
                    for samples in row["samples"].values()) else 0


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(options)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
