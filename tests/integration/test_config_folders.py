"""Folders and files that the configuration names: -t says what a start would meet there."""

import os
import re
import socket

import pytest

import sluice
from sluice import SLUICED, pool, run, service


def config(folder, **options):
    """A file whose global options stand in lines of their own, from line 2 on."""
    given = {"control_socket": folder / "ctl", "state_file": "none", **options}
    path = folder / "sluice.conf"
    path.write_text("global {\n" + "".join(f'{name} = "{value}"\n' for name, value in given.items())
                    + "}\n" + service("s") + pool("s", ["127.0.0.1:9"]))
    return path, {name: line for line, name in enumerate(given, 2)}


def told(path, *words, **options):
    result = run([SLUICED, "-c", path, "-t", *words], check=False, **options)
    return result.returncode, result.stderr


def expect_warning(path, line, text, **options):
    """One line, with its place; the same as an error when strict."""
    status, lines = told(path, **options)
    assert status == 0 and lines == f"{path}:{line}: global: warning: {text}\n", lines
    status, lines = told(path, "--strict", **options)
    assert status == 1 and f"{path}:{line}: global: {text}\n" in lines, lines


MISSING = "No such file or directory; make the folder"


@pytest.mark.parametrize("option,name,shown,rest", [
    ("control_socket", "none/too/ctl", "none",
     ", or write another place; without it the daemon does not start"),
    ("state_file", "none/state.json", "none", ", or nothing is kept over a restart"),
    ("log", "none/too/log", "none/too", ", or choose another place"),
    ("status", "none/too/status", "none/too",
     ", or write another address; without it the daemon does not start"),
])
def test_missing_folders(folder, option, name, shown, rest):
    place = f"unix:{folder / name}" if option == "status" else folder / name
    path, lines = config(folder, **{option: place})
    expect_warning(path, lines[option], f"{option}: {folder / shown}: {MISSING}{rest}")


def test_a_service_s_socket(folder):
    path, lines = config(folder)
    path.write_text(path.read_text().replace("127.0.0.1:0", f"unix:{folder}/none/s"))
    _, text = told(path)
    assert text == (f'{path}:{len(lines) + 3}: service "s": warning: listen unix:{folder}/none/s: '
                    f"{folder}/none: {MISSING}, or write another place; without it the daemon does "
                    "not start\n"), text
    path.write_text(path.read_text().replace(f"unix:{folder}/none/s", "unix:@abstract"))
    assert told(path) == (0, "")


@pytest.mark.parametrize("option", ["control_socket", "state_file", "log"])
def test_no_folder_at_all(folder, option):
    (folder / "file").touch()
    path, lines = config(folder, **{option: folder / "file/x"})
    _, text = told(path)
    assert f"{path}:{lines[option]}: global: warning: {option}" in text, text
    assert "Not a directory" in text, text


@pytest.mark.parametrize("option", ["control_socket", "state_file", "log"])
def test_folders_that_this_user_may_not_write(folder, option):
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    other = {"control_socket": "/dev/null/x"} if option != "control_socket" else {}
    path, lines = config(folder, **{**other, option: closed / "x"})
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    _, text = told(path, **user)
    assert re.search(rf"^{path}:{lines[option]}: global: warning: {option}: {closed}: this user "
                     r"\(uid \d+\) may not write there: Permission denied; let it, or ", text, re.M), text


def test_what_a_start_makes_itself(folder):
    """The last folder of the control socket, and the log in a folder that is there."""
    path, _ = config(folder, control_socket=folder / "made/ctl", log=folder / "log",
                     state_file=folder / "state.json")
    assert told(path, "--strict") == (0, "")
    assert sorted(entry.name for entry in folder.iterdir()) == ["sluice.conf"]  # nothing is touched
    (folder / "log").touch()
    assert told(path, "--strict") == (0, "")


def test_what_is_in_the_way(folder):
    (folder / "file").touch()
    (folder / "sub").mkdir()
    path, lines = config(folder, control_socket=folder / "file")
    expect_warning(path, lines["control_socket"],
                   f"control_socket: {folder}/file is something else than a socket; take it away, "
                   "or write another place; without it the daemon does not start")
    path, lines = config(folder, log=folder / "sub")
    expect_warning(path, lines["log"], f'log "{folder}/sub": cannot be opened: Is a directory; '
                                       "choose another place")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "left"))
        path, lines = config(folder, control_socket=folder / "left")
        assert told(path, "--strict") == (0, "")


def test_a_start_without_a_folder_for_its_control_socket(folder):
    """The log says which folder, why, and what would be right."""
    path, _ = config(folder, control_socket=folder / "none/too/ctl")
    result = run([SLUICED, "-c", path], check=False)
    assert result.returncode == 1
    line, = (line for line in result.stderr.splitlines() if "cannot open the control socket" in line)
    assert f"folder={folder}/none/too " in line and " errno=2 " in line, line
    assert 'error="No such file or directory"' in line, line
    assert f'hint="{folder}/none: {MISSING}"' in line, line


def test_places_of_global_options(folder, limited):
    limited(200)
    path = folder / "sluice.conf"
    path.write_text(f'''global {{
    control_socket = "{folder}/ctl"
    user = "no-such-user"
    group = "no-such-group"
    control_read = {{ "no-such-reader" }}
    max_connections = 5000
}}
''' + service("s") + pool("s", ["127.0.0.1:9"]))
    text = run([sluice.SLUICED, "-c", path, "-t"]).stderr
    found = re.findall(rf"^{path}:(\d+): global: warning: (user|group|control_read|max_con\w+) ", text,
                       re.M)
    assert sorted(found) == [("3", "user"), ("4", "group"), ("5", "control_read"),
                             ("6", "max_connections")], text
    assert len(found) == len(text.splitlines()), text
