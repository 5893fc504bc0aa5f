"""The load generators, and what their output says: how much was done, and every error."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field

from procs import BenchError, Process, before_exec


@dataclass
class Outcome:
    operations: float  # requests, connections, or gigabytes (10^9)
    errors: dict = field(default_factory=dict)
    latency_us: dict = field(default_factory=dict)
    connect_us: dict = field(default_factory=dict)
    origin: dict = field(default_factory=dict)  # what the origin saw meanwhile
    seconds: float = 0.0  # without the pauses that the generator makes; 0: it makes none


@dataclass
class Tools:
    sluiced: str
    load: str
    work: str  # a folder for logs


def run(words, seconds, accept=(0,)):
    """Runs one generator to its end; it inherits our core."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=seconds + 60, preexec_fn=before_exec())
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{words[0]} does not end") from error
    if done.returncode not in accept:
        raise BenchError(f"{os.path.basename(words[0])}: status {done.returncode}: "
                         + (done.stderr or done.stdout).strip()[-300:])
    return done.stdout


def number(pattern, text, default=None):
    found = re.search(pattern, text)
    if not found and default is None:
        raise BenchError(f"no \"{pattern}\" in: {text.strip()[-300:]}")
    return float(found.group(1)) if found else default


def nonzero(errors):
    return {name: int(count) for name, count in errors.items() if count}


def wrk(port, seconds, connections=100):
    text = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"],
               seconds)
    errors = {kind: number(rf"Socket errors:.*{kind} (\d+)", text, 0)
              for kind in ("connect", "read", "write", "timeout")}
    errors["status"] = number(r"Non-2xx or 3xx responses: (\d+)", text, 0)
    return Outcome(number(r"(\d+) requests in", text), nonzero(errors))


def ab(port, seconds, concurrency=64):
    # -t alone would stop at 50,000 requests; -n after it lifts that.
    text = run(["ab", "-q", "-r", "-c", str(concurrency), "-t", str(seconds), "-n",
                str(100000 * seconds), f"http://127.0.0.1:{port}/"], seconds)
    errors = {"failed": number(r"Failed requests:\s+(\d+)", text),
              "write": number(r"Write errors:\s+(\d+)", text, 0),
              "status": number(r"Non-2xx responses:\s+(\d+)", text, 0)}
    return Outcome(number(r"Complete requests:\s+(\d+)", text), nonzero(errors))


def iperf3(port, seconds, reverse=False):
    words = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds), "-J"]
    for _ in range(20):
        report = json.loads(run(words + (["-R"] if reverse else []), seconds, accept=(0, 1)))
        if "busy" not in report.get("error", ""):
            break
        time.sleep(0.1)  # the server still clears away the test before
    if "error" in report:
        raise BenchError(f"iperf3: {report['error']}")
    return Outcome(report["end"]["sum_received"]["bytes"] / 1e9)


def _load_outcome(text):
    report = json.loads(text.strip().splitlines()[-1])
    return Outcome(report["requests"], nonzero(report["errors_by_kind"]), report["latency_us"],
                   report["connect_us"])


def load(tools, port, seconds, *more, connections=100, mode="keepalive", address="127.0.0.1"):
    """sluice-load; more: further options, such as --rate."""
    text = run([tools.load, mode, "--target", f"{address}:{port}", "--connections",
                str(connections), "--duration", f"{seconds}s", "--json", *more], seconds,
               accept=(0, 1))
    return _load_outcome(text)


def redis_benchmark(port, count, connections):
    """So many SET and then so many GET, each on connections of their own. It pauses for 50 ms after
    each 64 that it opens, before it begins."""
    text = run(["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-c", str(connections), "-n",
                str(count), "-t", "set,get", "-d", "100", "--csv"], 240)
    rates = [number(rf'"{name}","([0-9.]+)"', text) for name in ("SET", "GET")]
    return Outcome(2 * count, seconds=sum(count / rate for rate in rates))


@contextlib.contextmanager
def holding(tools, port, count, sources, processes=1):
    """Opens count connections, with one request on each, and gives a list; they stand inside the
    context, and the Outcome is in the list after it."""
    words = [tools.load, "hold", "--target", f"127.0.0.1:{port}", "--connections", str(count),
             "--path", "/", "--rate", "4000", "--processes", str(processes), "--json"]
    for source in sources:
        words += ["--source", source]
    process = Process(words, os.path.join(tools.work, "hold.log"), stdout=subprocess.PIPE)
    outcomes = []
    try:
        end = time.monotonic() + 60 + count / 1000
        first = b""
        while not first.endswith(b"\n"):
            if not select.select([process.child.stdout], [], [], end - time.monotonic())[0]:
                raise BenchError("sluice-load does not get its connections open")
            first += os.read(process.child.stdout.fileno(), 1)
            process.check()
        if not first.startswith(b"holding"):
            raise BenchError(f"sluice-load: {first.decode(errors='replace').strip()}")
        yield outcomes
        process.child.send_signal(signal.SIGINT)
        text, _ = process.child.communicate(timeout=60)
        outcomes.append(_load_outcome(text.decode()))
        outcomes[0].operations = json.loads(text.decode().strip().splitlines()[-1])["held"]
        if outcomes[0].operations < count:
            outcomes[0].errors["not held"] = int(count - outcomes[0].operations)
    finally:
        process.stop()
