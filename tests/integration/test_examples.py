"""The examples in conf/ load, and the one that promises every option has every option."""
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
SLUICED = pathlib.Path(os.environ.get("SLUICE_BUILD", TOP / "build" / "test")) / "src" / "sluiced"
EXAMPLES = sorted((TOP / "conf").glob("*.conf"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_is_good(path):
    done = subprocess.run([SLUICED, "-c", path, "-t"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    # What depends on the machine alone is no fault of the file.
    told = [line for line in done.stderr.splitlines() if "warning:" in line
            and not re.search(r"(cannot be reached: (descriptors allow|memory allows)|"
                             r"the kernel cuts backlog =) ", line)]
    assert told == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_ports_are_none_that_the_kernel_gives_away(path):
    """By its usual range; connections that have a port keep others from listening there."""
    lines = re.sub(r"#.*", "", path.read_text())
    ports = {int(port) for port in re.findall(r'[\d.\]]:(\d+)"', lines)}
    assert ports and not {port for port in ports if 32768 <= port <= 60999}


def warnings(text):
    """Without places: those of a printed configuration are others."""
    return sorted(re.sub(r"^[^ ]*:\d+: ", "", line) for line in text.splitlines())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_what_is_printed_of_an_example_says_the_same(path, tmp_path):
    """-T writes every default out, and none of them is a reason to warn."""
    first = subprocess.run([SLUICED, "-c", path, "-T"], capture_output=True, text=True, timeout=60)
    again = tmp_path / "again.conf"
    again.write_text(first.stdout)
    second = subprocess.run([SLUICED, "-c", again, "-T"], capture_output=True, text=True, timeout=60)
    assert second.returncode == 0 and second.stdout == first.stdout
    assert warnings(second.stderr) == warnings(first.stderr)


def option_names():
    """Section and option of every line of the option table."""
    table = (TOP / "src" / "model" / "options.c").read_text()
    names = set(re.findall(r'\.name = "([a-z_]+)"', table))
    return names - {"global", "service", "check", "backend"} | {"pool"}


def test_every_option_is_in_its_example():
    names = option_names()
    assert len(names) > 30
    text = (TOP / "conf" / "every-option.conf").read_text()
    missing = {name for name in names if not re.search(rf"\b{name}\s*=", text)}
    assert not missing
