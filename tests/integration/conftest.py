"""Fixtures of the integration tests. Run: /usr/bin/python3 -m pytest tests/integration"""

import contextlib
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))


def pytest_configure():
    """A run that is told to end (by timeout, say) ends what it started, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def start():
    """start(Daemon(...)), start(Origin(...)): keeps what a test started until its end.

    Everything is ended in reverse order, also when the test fails; a daemon that does not end well
    fails the test. pytest shows the logs of a failed test.
    """
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def folder():
    """A folder that every user may enter, for sockets and files of the test."""
    import sluice
    made = sluice.make_folder("integration")
    yield made
    sluice.remove_folder(made)


@pytest.fixture
def limited(folder, monkeypatch):
    """limited(120): daemons that are started afterwards may have so many descriptors a process."""
    import sluice
    def limit(most):
        script = folder / "sluiced"
        script.write_text(f'#!/bin/sh\nulimit -n {most} && exec {sluice.SLUICED} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setattr(sluice, "SLUICED", script)
    return limit
