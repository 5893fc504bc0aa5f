"""The manual pages and the shell completion, which are made from the program's own tables."""

import os
import pty
import re
import subprocess

import pytest

from sluice import BUILD, REPOSITORY, SLUICED, WAIT, Daemon, pool, service

PAGES = ["sluiced.8", "sluicectl.8", "sluice.conf.5", "sluice-control.7", "sluice-operating.7",
         "sluice-connections.7"]
MADE = BUILD / "packaging"


def plain(page):
    """A page as a reader sees it, in one line."""
    text = subprocess.run(["mandoc", "-Tutf8", MADE / page], check=True, capture_output=True,
                          text=True).stdout
    return re.sub(r"\s+", " ", re.sub(".\b", "", text)).replace("‐", "-")


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_clean(page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wstyle", MADE / page], capture_output=True, text=True)
    faults = [line for line in done.stdout.splitlines()
              if "referenced manual not found" not in line]  # not installed here
    assert not faults, "\n".join(faults)


def test_every_option_is_told():
    said = plain("sluice.conf.5")
    example = (REPOSITORY / "conf" / "every-option.conf").read_text()
    names = set(re.findall(r"^[\s#]*(\w+) *= ", example, re.M))
    assert len(names) > 60
    assert not {name for name in names if f" {name} = " not in said}


def test_every_check_and_scheduler_is_told(tmp_path):
    said = plain("sluice.conf.5")
    conf = tmp_path / "bad.conf"
    conf.write_text('service "s" { listen = { "127.0.0.1:0" } pool = "p" }\n'
                    'pool "p" { scheduler = "?" check "?" { }\n'
                    '  backend "b" { address = "127.0.0.1:1" } }\n')
    errors = subprocess.run([SLUICED, "-t", "-c", conf], capture_output=True, text=True).stderr
    words = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"write one of (.*)", errors))))
    assert {"tcp", "agent", "wlc", "maglev"} <= words, errors
    assert not {word for word in words if word not in said}


def test_every_command_is_told(start):
    daemon = start(Daemon(service("web", "p") + pool("p", {"a": "127.0.0.1:9"})))
    listed = daemon.ctl_json("help")["commands"]
    for page in "sluicectl.8", "sluice-control.7":
        said = plain(page)
        assert not [row["usage"] for row in listed if row["usage"] not in said]


def complete(words, path=""):
    """What bash would offer for the last of words."""
    script = (f'PATH="{path}:$PATH"; source {MADE}/sluicectl; COMP_LINE="$*"; '
              'COMP_POINT=${#COMP_LINE}; _sluicectl 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"')
    return subprocess.run(["bash", "-c", script, "-", "sluicectl", *words], check=True,
                          capture_output=True, text=True).stdout.split()


def test_completion():
    assert {"show", "drain", "doctor", "--json"} <= set(complete([""]))
    assert complete(["show", "back"]) == ["backends"]
    assert "backend=" in complete(["show", "sessions", ""])
    assert complete(["set", "backend", "p", "a", "wei"]) == ["weight="]
    assert "force" in complete(["drain", "backend", "p", "a", ""])
    assert complete(["nonsense", ""]) == []


def test_completion_of_names(start, monkeypatch):
    daemon = start(Daemon(service("web", "first") + pool("first", {"a": "127.0.0.1:9"})
                          + pool("second", {"x": "127.0.0.1:9", "y": "127.0.0.1:9"})))
    monkeypatch.setenv("SLUICE_SOCKET", str(daemon.control))
    path = str(BUILD / "src")
    assert {"first", "second"} <= set(complete(["drain", "backend", ""], path))
    assert {"x", "y"} <= set(complete(["drain", "backend", "second", ""], path))
    assert "a" not in complete(["drain", "backend", "second", ""], path)
    assert complete(["explain", "w"], path) == ["web"]


def typed(line, folder):
    """What sluicectl is called with when line is typed into a bash with a terminal: \\t completes."""
    rc = folder / "bashrc"
    rc.write_text(f"PS1=; PATH={BUILD}/src:$PATH; bind 'set bell-style none'; source {MADE}/sluicectl\n"
                  'sluicectl() { if [ "$1" = show ]; then command sluicectl "$@"; '
                  'else printf "<%s>" "$@" >called; fi; }\n')
    called = folder / "called"
    called.unlink(missing_ok=True)
    own, terminal = pty.openpty()
    try:
        bash = subprocess.Popen(["bash", "--noprofile", "--rcfile", rc, "-i"], cwd=folder,
                                stdin=terminal, stdout=terminal, stderr=terminal,
                                start_new_session=True, env={**os.environ, "TERM": "dumb"})
        os.write(own, f"{line}\nexit\n".encode())
        bash.wait(WAIT)
    finally:
        os.close(own)
        os.close(terminal)
    return re.findall("<(.*?)>", called.read_text())


def test_completion_of_names_with_marks(start, monkeypatch, tmp_path):
    """At which bash cuts words; before the word that is typed, in it, and in none."""
    backends = {name: "127.0.0.1:9" for name in ("10.0.0.1:8080", "10.0.0.1:9090", "db@b:1")}
    daemon = start(Daemon(service("web", "a:b") + pool("a:b", backends)))
    monkeypatch.setenv("SLUICE_SOCKET", str(daemon.control))
    assert typed("sluicectl explain w\t", tmp_path) == ["explain", "web"]
    assert typed("sluicectl drain backend a\t", tmp_path) == ["drain", "backend", "a:b"]
    for given, whole in ("10.0.0.1:9", "10.0.0.1:9090"), ("10.0.0.1:8080", "10.0.0.1:8080"), \
            ("10.0.\t80", "10.0.0.1:8080"), ("db@", "db@b:1"):
        assert typed(f"sluicectl drain backend a:b {given}\t", tmp_path) == \
            ["drain", "backend", "a:b", whole]
    assert typed("sluicectl drain backend a:b 10.0.0.1:9\tforc\t", tmp_path)[-1] == "force"


def test_every_metric_is_told(start):
    daemon = start(Daemon(service("web", "p") + pool("p", {"a": "127.0.0.1:9"})))
    said = plain("sluice-control.7")
    names = re.findall(r"\bsluice_\w+", daemon.ctl("help metrics"))
    assert len(names) > 50
    assert not {name for name in names if name not in said}
