"""The program that holds a million connections (tests/bench/million.sh), at a small scale: that all
agree in the end, that it notices when they do not, and that it leaves nothing behind."""

import contextlib
import json
import os
import pathlib
import re
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from sluice import (BUILD, REPOSITORY, Process, amount, family, is_alive,  # noqa: E402
                    make_folder, wait_for)

NOT_PERMITTED = 77
SECONDS = 180  # for a run, on a busy machine
LONG = 60      # seconds that a run which is broken off would hold its connections


class Million(Process):
    """The program, with a folder for temporary files of its own."""

    def __init__(self, *options, before=()):
        folder = make_folder("million")
        self.json_path = folder / "result.json"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o755)
        super().__init__(["env", f"TMPDIR={self.temporary}", *before,
                          REPOSITORY / "tests" / "bench" / "million.sh", "--build", BUILD,
                          "--json", self.json_path, *options], folder)
        self.name = "million.sh"
        self.own_folder = True
        self.family = []

    def log(self):
        return (self.folder / "env.log").read_text(errors="replace")

    def out(self):
        return (self.folder / "env.out").read_text(errors="replace")

    def wait_log(self, expression):
        """The first match on standard error; notes the processes that there are then. Skips where
        nothing is permitted."""
        def find():
            match = re.search(expression, self.log())
            if not match and not self.running():
                self.check_permitted()
                raise AssertionError(f"ended with {self.popen.returncode}:\n{self.all()}")
            return match
        match = wait_for(find, SECONDS, f"{expression!r}")
        self.family = family(self.pid)
        return match

    def check_permitted(self):
        if self.popen.returncode == NOT_PERMITTED:
            pytest.skip(self.log().strip().splitlines()[-1])

    def result(self):
        return json.loads(self.json_path.read_text())

    def check_nothing_left(self):
        left = [pid for pid in self.family if is_alive(pid)]
        assert len(self.family) > 4 and not left, (self.family, left)
        assert not os.listdir(self.temporary)


@pytest.fixture
def million():
    """million(options…) starts it."""
    with contextlib.ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(Million(*options, **more))


def test_all_agree(million):
    count = amount(50000, 20000)
    program = million("--connections", count, "--hold", 1)
    program.wait_log("sluiced [0-9]+, ")
    status = program.wait(SECONDS)
    assert status == 0, program.all()
    found = program.result()
    assert found["errors"] == [] and found["held_active"] == [count, count]
    assert found["account"] == {
        "connections_total": count, "connections_refused": 0, "connections_active": 0,
        "ended_by client_fin": count,
        "bytes_in": count // 100 * 64, "bytes_out": count // 100 * 128}
    assert found["peers"]["clients_closed"] == found["peers"]["backends_closed"] == count
    used = {name: found["usages"][name] for name in ("start", "held", "closed")}
    assert used["held"]["sockets"]["inuse"] - used["start"]["sockets"]["inuse"] == 2 * count
    assert used["closed"]["sockets"]["inuse"] == used["start"]["sockets"]["inuse"]
    assert used["start"]["own_bytes"] < used["closed"]["own_bytes"] < used["held"]["own_bytes"]
    program.check_nothing_left()


def worker_of(program):
    return next(pid for pid in program.family
                if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())


def test_lost_connections_are_noticed(million):
    """A worker is killed while all are held: each of its clients fails, and is accounted for."""
    count = 4000
    program = million("--connections", count, "--hold", 8)
    program.wait_log(f"open: .* backends {count}, ")
    os.kill(worker_of(program), signal.SIGKILL)
    assert program.wait(SECONDS) == 1, program.all()
    found = program.result()
    lost = found["account"]["ended_by worker_died"]
    assert 0 < lost == found["peers"]["clients_failed"]
    assert found["account"]["ended_by client_fin"] == count - lost
    said = "\n".join(found["errors"])
    assert f"clients: failed: {lost}, not 0" in said and "started 2 times" in said, said
    program.check_nothing_left()


@pytest.fixture
def heeds_interrupts():
    """Also where these tests run in the background, and what they start ignores them else."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("heeds_interrupts")
def test_broken_off(million, number):
    program = million("--connections", 10000, "--hold", LONG)
    program.wait_log("open: .* backends [0-9]{3,}, ")
    program.signal(number)
    assert program.wait(LONG) == 128 + number, program.all()
    program.check_nothing_left()


def test_more_than_the_machine_allows(million):
    """Refused before anything is done, with what is possible."""
    program = million("--connections", 1000000, before=("prlimit", "--nofile=400:400"))
    assert program.wait(SECONDS) == 1
    assert re.search(r"RLIMIT_NOFILE of 400 .*--connections [1-9][0-9]{3} is possible",
                     program.log()), program.log()
    assert not program.out()
