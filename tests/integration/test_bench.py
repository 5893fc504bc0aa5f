"""The benchmarks say what is wrong before they measure anything."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

BENCH = pathlib.Path(__file__).parents[1] / "bench"
PYTHON = "/usr/bin/python3"  # Debian's, which matplotlib belongs to


def run(program, *words, python=sys.executable):
    return subprocess.run([python, BENCH / program, *map(str, words)], capture_output=True,
                          text=True, timeout=60, check=False)


@pytest.mark.parametrize("program", ["bench.py", "growth.py", "health.py", "million.py",
                                     "picks.py", "reload.py", "reuse.py"])
def test_json_that_cannot_be_written(tmp_path, program):
    path = tmp_path / "absent" / "out.json"
    done = run(program, "--json", path)
    assert done.returncode == 2
    assert f"\"{path}\" cannot be written: No such file or directory" in done.stderr


def test_json_stays_until_there_is_another(tmp_path):
    kept, new = tmp_path / "kept.json", tmp_path / "new.json"
    kept.write_text("earlier figures")
    for path in (kept, new):
        assert run("bench.py", "--json", path, "--rows", "absent").returncode == 2
    assert kept.read_text() == "earlier figures"
    assert not new.exists()


@pytest.mark.parametrize("content", [None, "", "[1]", "{}"])
def test_plots_of_what_holds_no_figures(tmp_path, content):
    path = tmp_path / "figures.json"
    if content is not None:
        path.write_text(content)
    done = run("plot.py", path, tmp_path / "plots", python=PYTHON)
    assert done.returncode == 1
    what = "No such file or directory" if content is None else "not what run.sh growth --json writes"
    assert done.stderr == f"plot.py: {path}: {what}\n"
    assert not os.path.exists(tmp_path / "plots")


def test_plots(tmp_path):
    """From figures as growth.py writes them: a picture a row, of those that have points."""
    points = {f"sluice {x}": {"series": "sluice", "x": x} for x in (0, 1000, 10000)}
    samples = {name: [{"metrics": {"us": us}} for us in (9, 10, 12)] for name in points}
    facts = {"date": "2026-01-01T00:00:00+00:00", "rounds": 3, "seconds": 1, "rows": {
        "idle": {"parameters": {"points": points, "axis": "idle connections", "logarithmic": True,
                                "metrics": {"us": "µs a request"}}, "samples": samples},
        "other": {"parameters": {}, "samples": {}}}}
    (tmp_path / "figures.json").write_text(json.dumps(facts))
    done = run("plot.py", tmp_path / "figures.json", tmp_path / "plots", python=PYTHON)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "plots") == ["growth-idle.png"]
    assert (tmp_path / "plots" / "growth-idle.png").read_bytes().startswith(b"\x89PNG")
