"""System calls and hardware counters per operation, each in a run of its own: what counts them
also slows, so these runs never give a time."""

import os
import signal
import time

from procs import BenchError, Process

EVENTS = "context-switches,cpu-migrations,page-faults,cycles,instructions,cache-misses"


def _parse_strace(text):
    """Lines like "12.34  0.000123  3  4567  [89]  recvfrom": calls by name."""
    counts = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] not in ("syscall", "total"):
            counts[words[-1]] = int(words[3])
    return counts


def _parse_perf(text):
    """Lines like "4567,,context-switches,…"; what this machine cannot count is left out."""
    rows = [line.split(",") for line in text.splitlines()]
    return {row[2].split(":")[0]: int(row[0]) for row in rows if len(row) > 2 and row[0].isdigit()}


KINDS = {
    "strace": (lambda pids, path: ["strace", "-c", "-f", "-o", path]
               + [word for pid in pids for word in ("-p", str(pid))], _parse_strace),
    "perf": (lambda pids, path: ["perf", "stat", "-x", ",", "-e", EVENTS, "-o", path, "-p",
                                 ",".join(map(str, pids))], _parse_perf),
}


def count(kind, row, contender, work):
    """Counts per operation by name, most frequent first."""
    command, parse = KINDS[kind]
    path, log = os.path.join(work, "counts"), os.path.join(work, f"{kind}.log")
    with contender.running(row.site()) as running:
        row.load(running.port, 1)
        counter = Process(command(running.traffic, path), log)
        try:
            time.sleep(0.5)
            counter.check()
            outcome = row.load(running.port, row.bench.seconds)
        finally:
            counter.stop(signal.SIGINT)
    if not os.path.exists(path):
        raise BenchError(f"{kind} counted nothing")
    with open(path, encoding="utf-8") as text:
        counts = parse(text.read())
    os.unlink(path)
    return {name: number / outcome.operations
            for name, number in sorted(counts.items(), key=lambda item: -item[1]) if number}
