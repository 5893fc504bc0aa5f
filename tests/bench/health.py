"""Measures how soon a server that goes is noticed, by checks and by what clients meet, and what
checking thousands of them costs: with the real daemon, on the loopback device.

Prints tables in Markdown on stdout, progress on stderr. Exit status: 0 done, whether it was as
expected or not; 1 errors occurred, or something could not be measured; 2 usage.
"""

import argparse
import datetime
import os
import shutil
import signal
import sys
import tempfile

import machine
from health_rows import JITTER, SLACK_MS, make_rows, programs_of
from health_site import Site
from procs import BenchError, Cores, json_file, write_json
from report import cell, values_of

ROWS = ("detection", "ejection", "cost", "sweep")


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh health", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", default="build/release", metavar="DIR",
                        help="measure this build folder instead of building build/release")
    parser.add_argument("--rows", default=",".join(ROWS), help="of " + ",".join(ROWS))
    parser.add_argument("--rounds", type=int, default=10, help="of what is quick; default 10")
    parser.add_argument("--slow-rounds", type=int, default=3,
                        help="of checks at their default times and of many backends; default 3")
    parser.add_argument("--seconds", type=int, default=20,
                        help="over which the monitor's cost is counted; default 20")
    parser.add_argument("--backends", type=int, default=5000,
                        help="many of them; a fifth for the start of the daemon; default 5000")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds, 1 slow one, 3 s, 500 backends: only to see that it works")
    parser.add_argument("--json", metavar="FILE", type=json_file,
                        help="write everything there, every sample too")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    for word in options.rows:
        if word not in ROWS:
            parser.error(f"--rows: \"{word}\" is none of {', '.join(ROWS)}")
    if options.quick:
        options.rounds, options.slow_rounds, options.seconds, options.backends = 2, 1, 3, 500
    if min(options.rounds, options.slow_rounds, options.seconds) < 1:
        parser.error("--rounds, --slow-rounds, --seconds: at least 1")
    if not 5 <= options.backends <= 8192:
        parser.error("--backends: 5 to 8192")
    return options


# --- measuring ---


def measure_line(row, line, result):
    samples = []
    try:
        for number, sample in enumerate(line.measure()):
            samples.append({"round": number, **sample})
            say(f"{row.name}: {line.name}: round {number + 1} of {line.rounds()}: "
                + ", ".join(f"{key} {value:.4g}" for key, value in sample["metrics"].items()))
    except (BenchError, OSError) as error:
        say(f"{row.name}: {line.name}: {error}")
        result["failures"].setdefault(line.name, []).append(str(error))
    if samples:
        result["samples"][line.name] = samples
        result["expected"][line.name] = judge(line, samples)


def judge(line, samples):
    """Whether every round was within bounds: {metric: {"low", "high", "met"}}."""
    return {key: {"low": low, "high": high,
                  "met": all(low <= value <= high for value in values_of(samples, key))}
            for key, (low, high) in line.bounds.items()}


def measure_row(row, configurations):
    result = {"title": row.title, "samples": {}, "failures": {}, "expected": {}}
    for line in row.lines:
        measure_line(row, line, result)
        if line.configuration:
            configurations[f"{row.name}: {line.name}"] = line.configuration
    return result


def has_errors(result):
    return bool(result["failures"]) or any(
        sample["errors"] for samples in result["samples"].values() for sample in samples)


# --- tables ---


def bounds_text(bounds, digits):
    return f"{bounds['low']:.{digits}f}–{bounds['high']:.{digits}f}"


def errors_of(samples):
    found = {}
    for sample in samples:
        for kind, count in sample["errors"].items():
            found[kind] = found.get(kind, 0) + count
    return found


def notes_of(samples, expected, metrics):
    headings = {metric.key: metric.heading for metric in metrics}
    notes = [f"**ERRORS: {kind} {count}**" for kind, count in errors_of(samples).items()]
    notes += [f"**not as expected: {headings[key]}**"
              for key, bounds in expected.items() if not bounds["met"]]
    return "; ".join(notes) or "as expected" * bool(expected) or "no errors"


def table(row, result):
    """Markdown of one row; behind each metric that something is expected of, what."""
    bounded = {key for expected in result["expected"].values() for key in expected}
    headings = []
    for metric in row.metrics:
        headings += [metric.heading] + ["expected"] * (metric.key in bounded)
    lines = [f"### {result['title']}", "", "| | " + " | ".join(headings) + " | rounds | notes |",
             "| --- |" + " --- |" * (len(headings) + 2)]
    for name, samples in result["samples"].items():
        expected = result["expected"][name]
        cells = [name]
        for metric in row.metrics:
            cells.append(cell(values_of(samples, metric.key), metric.digits))
            if metric.key in bounded:
                cells.append(bounds_text(expected[metric.key], 0) if metric.key in expected
                             else "–")
        lines.append("| " + " | ".join([*cells, str(len(samples)),
                                        notes_of(samples, expected, row.metrics)]) + " |")
    lines += [f"| {name} | **FAILED: {failure}** |"
              for name, failures in result["failures"].items() for failure in failures]
    return "\n".join([*lines, ""])


def head(facts):
    lines = ["# How soon health is known, and what it costs", "",
             f"{facts['date']}; each cell is the median (lowest–highest) of the rounds.", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts["machine"].items()]
    lines += [f"- pinning: {facts['pinning']}", f"- network: {facts['network']}", "",
              "A server goes and comes anywhere in an interval, so a check finds it after up to "
              "one of them, and fall − 1 intervals pass until it is down, rise − 1 until it is up: "
              "expected are the first and the last moment of that, intervals varying by "
              f"± {JITTER:.0%}, and {SLACK_MS} ms either way for timers and for looking. Moments "
              "are those of \"show backends\", read as often as the tables say. What is expected "
              "has to hold in every round. CPU is the monitor's, of one core.", ""]
    return "\n".join(lines)


def tail(configurations):
    lines = ["## Configurations", ""]
    for name, text in configurations.items():
        lines += [f"{name}:", "```", text.rstrip(), "```", ""]
    return "\n".join(lines)


# --- all together ---


def isolate():
    """Returns what machine.isolate() says, and whether the loopback device is ours alone."""
    before = os.readlink("/proc/self/ns/net")
    text = machine.isolate()
    return text, os.readlink("/proc/self/ns/net") != before


def run(options, work):
    programs = programs_of(options.build)
    network, isolated = isolate()
    machine.raise_descriptor_limit()
    cores = Cores()
    cores.pin_self()
    facts = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
             "machine": machine.describe_machine(), "network": network, "pinning": str(cores),
             "rounds": options.rounds, "slow_rounds": options.slow_rounds,
             "seconds": options.seconds, "backends": options.backends, "configurations": {},
             "rows": {}}
    print(head(facts), flush=True)
    rows = make_rows(Site(cores, work, *programs, isolated), options)
    for name in options.rows:
        result = measure_row(rows[name], facts["configurations"])
        facts["rows"][name] = result
        print(table(rows[name], result), flush=True)
    print(tail(facts["configurations"]))
    write_json(options.json, facts)
    return 1 if any(map(has_errors, facts["rows"].values())) else 0


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = tempfile.mkdtemp(prefix="sluice-bench-")
    try:
        return run(options, work)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
