"""What a release is: hardened programs, installed where they belong."""
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("SLUICE_RELEASE", TOP / "build" / "release"))
PROGRAMS = [RELEASE / "src" / "sluiced", RELEASE / "src" / "sluicectl"]

pytestmark = pytest.mark.skipif(not PROGRAMS[0].exists(), reason="there is no release build")


def readelf(*words):
    return subprocess.run(["readelf", "-W", *words], check=True, capture_output=True,
                          text=True).stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_hardening(program):
    assert re.search(r"Type:\s+DYN", readelf("-h", program)), "not position-independent"
    dynamic = readelf("-d", program)
    assert "BIND_NOW" in dynamic and re.search(r"FLAGS_1.*NOW.*PIE", dynamic), "no full RELRO, PIE"
    segments = readelf("-l", program)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.*\bRW\s", segments), "executable stack"
    if os.uname().machine == "x86_64":
        code = subprocess.run(["objdump", "-d", "--disassemble=main", program], check=True,
                              capture_output=True, text=True).stdout
        assert "endbr64" in code, "no control-flow protection"
    symbols = readelf("--dyn-syms", program)
    assert "__stack_chk_fail" in symbols and re.search(r"__\w+_chk", symbols.replace(
        "__stack_chk_fail", "")), "no stack protector, no _FORTIFY_SOURCE"


def test_install(tmp_path):
    subprocess.run(["meson", "install", "-C", RELEASE, "--no-rebuild", "--destdir", tmp_path],
                   check=True, capture_output=True)
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")
                 if path.is_file()}
    assert {"usr/local/sbin/sluiced", "usr/local/bin/sluicectl"} <= installed
    shown = subprocess.run([tmp_path / "usr/local/sbin/sluiced", "-V"], capture_output=True,
                           text=True)
    assert shown.returncode == 0 and shown.stdout.startswith("sluiced ")
