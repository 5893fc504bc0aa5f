"""What outlives the daemon: changes by command, health=fail and the key of hashes."""

import json
import os
import pwd
import re
import signal
import stat
import subprocess

import pytest

import sluice
from sluice import Daemon, Port, family, is_alive, pool, service, wait_for

SEED = "00000000000000ff"


@pytest.fixture
def config():
    with Port() as a, Port() as b, Port() as c:
        def text(weight=1, names="ab", more=""):
            ports = dict(zip("abc", (a, b, c)))
            return service("web") + pool("web", {
                name: {"address": ports[name].address, "weight": weight if name == "a" else 1}
                for name in names}) + more
        text.third = c.address
        yield text


@pytest.fixture
def path(folder):
    return folder / "state.json"


def run_with(path, config, **options):
    return Daemon(config, state_file=path, **options)


def state_of(path):
    return json.loads(path.read_text())


def put(path, **members):
    """A state file by hand."""
    path.write_text(json.dumps({"version": 1, "hash_seed": SEED, "overrides": [], **members}))
    path.chmod(0o600)


def record(value="5", file_value="1", **members):
    return {"kind": "set", "pool": "web", "backend": "a", "option": "weight", "value": value,
            "file_value": file_value, "by": "uid 0 pid 7", "at_ms": 1700000000000, **members}


def overrides(daemon):
    rows = daemon.ctl_json("show diff")["overrides"]
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


def events(daemon, kind="state"):
    return [row["text"] for row in daemon.ctl_json("show events")["events"] if row["kind"] == kind]


def weight(daemon, name="a"):
    return daemon.backend("web", name)["weight"]


# --- what is kept ---

def test_all_kinds_of_changes_stand_again(path, config):
    with run_with(path, config()) as daemon:
        daemon.ctl('set backend web a weight=5 why="more \\"memory\\""')
        daemon.ctl("set backend web a weight=9 for=10m why=trial")
        daemon.ctl("set pool web scheduler=rr")
        daemon.ctl(f"add backend web c {config.third} weight=7")
        daemon.ctl("remove backend web b")
        daemon.ctl("set global health=fail why=moving")
        before = overrides(daemon)
        health = daemon.ctl("health")
        shown = daemon.ctl("show config")
        assert len(before) == 4 and stat.S_IMODE(path.stat().st_mode) == 0o600
    with run_with(path, config()) as daemon:
        assert overrides(daemon) == before
        drop = re.compile("control_socket = .*")
        assert drop.sub("", daemon.ctl("show config")) == drop.sub("", shown)
        assert weight(daemon) == 9 and weight(daemon, "c") == 7
        assert "set global health=fail by uid" in health and daemon.ctl("health") == health
        assert "stand again" in daemon.log()
        daemon.ctl("set global health=auto")
        daemon.ctl("reset all force")
    with run_with(path, config()) as daemon:
        assert not overrides(daemon) and weight(daemon) == 1
        assert "health=fail" not in daemon.ctl("health")


def test_added_backends_with_names_are_looked_up_at_the_start(path, config):
    port = config.third.rpartition(":")[2]
    with run_with(path, config()) as daemon:
        daemon.ctl(f"add backend web c localhost:{port}")
    with run_with(path, config()) as daemon:
        assert daemon.backend("web", "c@127.0.0.1")["state"] == "up"


def test_a_master_that_is_killed_has_written_before_it_answered(path, config):
    daemon = run_with(path, config())
    try:
        for nth in range(2, 7):
            daemon.ctl(f"set backend web a weight={nth}")
        left = family(daemon.pid)
        os.kill(daemon.pid, signal.SIGKILL)
        assert state_of(path)["overrides"][0]["value"] == "6"
        (path.parent / "state.json.new").write_text("half of")  # of a write that was cut short
        with run_with(path, config()) as second:  # also while workers of the first still end
            assert weight(second) == 6
            second.ctl("set backend web a weight=8")
            assert not (path.parent / "state.json.new").exists()
        wait_for(lambda: not any(is_alive(pid) for pid in left), what="the end of the first")
    finally:
        daemon.kill()
        daemon.clean()


def test_what_is_set_for_a_time_ends_also_while_no_daemon_runs(path, config):
    now = int(sluice.time.time() * 1000)
    put(path, overrides=[
        record("9", at_ms=now - 60000, until_ms=now - 10000, before=record("4")),
        record("9", backend="b", at_ms=now - 60000, until_ms=now - 10000)])
    with run_with(path, config()) as daemon:
        assert weight(daemon) == 4 and weight(daemon, "b") == 1
        row, = overrides(daemon)
        assert row["value"] == "4" and row["by"] == "uid 0 pid 7"
        assert len(events(daemon)) == 2
        assert "pool web, backend a: weight=9, set for a time by uid 0 pid 7, has ended while no " \
            "daemon ran" in events(daemon)
        assert [row["value"] for row in state_of(path)["overrides"]] == ["4"]


def test_what_is_set_for_a_time_goes_on_to_its_end(path, config):
    now = int(sluice.time.time() * 1000)
    put(path, overrides=[record("9", at_ms=now, until_ms=now + 4000, before=record("4"))])
    with run_with(path, config()) as daemon:
        wait_for(lambda: weight(daemon) == 4, what="the end of for=")
        wait_for(lambda: [row["value"] for row in state_of(path)["overrides"]] == ["4"])
        assert "the end of for=" in daemon.ctl("show events")


def test_the_key_of_hashes_is_kept(path, config):
    with run_with(path, config()):
        seed = state_of(path)["hash_seed"]
    with run_with(path, config()):
        assert state_of(path)["hash_seed"] == seed and seed != SEED
    path.unlink()
    with run_with(path, config()):
        assert state_of(path)["hash_seed"] != seed


def test_clients_keep_their_backends_over_a_restart(path, config):
    def choices(daemon):
        return [re.search(r"\b[abc]\b", json.dumps(daemon.ctl_json(
            f"explain web 192.0.2.{nth}").get("backend")))[0] for nth in range(1, 40)]
    text = config(names="abc").replace('pool "web" {', 'pool "web" {\n scheduler = "mh"', 1)
    with run_with(path, text) as daemon:
        chosen = choices(daemon)
    assert len(set(chosen)) == 3
    with run_with(path, text) as daemon:
        assert choices(daemon) == chosen


# --- the configuration meanwhile ---

def test_what_no_longer_holds_is_told_and_forgotten(path, config):
    with run_with(path, config()) as daemon:
        daemon.ctl("set backend web a weight=5")
        daemon.ctl("set backend web b weight=6")
        daemon.ctl(f"add backend web c {config.third}")
    with run_with(path, config(weight=3, names="abc")) as daemon:
        assert weight(daemon) == 3 and weight(daemon, "b") == 6
        told = "\n".join(events(daemon))
        assert "the file now says 3 instead of 1; the override weight=5 by uid" in told
        assert "the file now has a backend of that name itself" in told
        assert "the override weight=5" in daemon.log()
        assert [row["value"] for row in state_of(path)["overrides"]] == ["6"]
        daemon.reload(config(weight=3, names="ac"))  # and so after a reload
        assert not state_of(path)["overrides"]


# --- files that are none ---

@pytest.mark.parametrize("name,content,mode,needle", [
    ("damaged", '{"version": 1, "hash_se', 0o600, "premature end"),
    ("empty", "", 0o600, "line 1"),
    ("newer", '{"version": 3, "hash_seed": 7}', 0o600, "its version 3 is newer than this release"),
    ("unknown", json.dumps({"version": 1, "hash_seed": SEED, "overrides": [{"kind": "put"}]}),
     0o600, "record 1:"),
    ("writable", json.dumps({"version": 1, "hash_seed": SEED, "overrides": []}), 0o622,
     "others may write it"),
], ids=lambda value: value if isinstance(value, str) and value.isalpha() else "")
def test_what_is_no_state_is_kept_aside(path, config, name, content, mode, needle):
    path.write_text(content)
    path.chmod(mode)
    with run_with(path, config()) as daemon:
        kept, = path.parent.glob("state.json.bad-*")
        assert re.fullmatch(r"state\.json\.bad-\d{8}T\d{6}Z", kept.name)
        assert kept.read_text() == content, name
        text, = events(daemon)
        assert needle in text and kept.name in text and "without what it held" in text
        assert needle in daemon.log()
        daemon.ctl("set backend web a weight=5")
        assert state_of(path)["hash_seed"] != SEED
    with run_with(path, config()) as daemon:
        assert weight(daemon) == 5 and len(events(daemon)) == 1  # that of the first


def test_a_link_is_not_followed(path, config, folder):
    other = folder / "other"
    put(other, overrides=[record()])
    path.symlink_to(other)
    with run_with(path, config()) as daemon:
        assert weight(daemon) == 1 and "not used" in events(daemon)[0]
        assert not path.is_symlink() and state_of(other)["overrides"]


def test_a_file_that_cannot_be_put_aside_stays(folder, config):
    """A folder in its place is as good as one."""
    blocked = folder / "sub" / "state.json"
    blocked.mkdir(parents=True)
    with run_with(blocked, config()) as daemon:
        assert blocked.is_file() and list(blocked.parent.glob("state.json.bad-*"))
        assert "no regular file" in events(daemon)[0]


def test_a_file_that_stands_in_the_way(path, config, folder):
    """Neither read nor put aside nor written; each change says so, until it is out of the way."""
    (folder / "no").write_text("")
    with run_with(folder / "no" / "state.json", config()) as daemon:
        assert f"{folder}/no is no directory" in events(daemon)[0]
        for words in ("set backend web a weight=5", "set global health=fail", "reset all"):
            warning, = daemon.ctl_json(words)["warnings"]
            assert "is not kept over a restart" in warning["text"]
            assert f"{folder}/no is no directory" in warning["text"]
        (folder / "no").unlink()
        (folder / "no").mkdir()
        assert daemon.ctl_json("set backend web a weight=6")["warnings"] == []
        assert state_of(folder / "no" / "state.json")["overrides"]


# --- writing that fails ---

def test_a_change_holds_also_when_it_cannot_be_written(path, config, folder):
    missing = folder / "later" / "state.json"
    with run_with(missing, config()) as daemon:
        assert "cannot write the state file" in events(daemon)[0]
        reply = daemon.ctl_json("set backend web a weight=5")
        warning, = [row["text"] for row in reply["warnings"]]
        assert re.search(f"cannot write the state file {missing}: No such file or directory; .* "
                         "holds, but is not kept over a restart", warning)
        assert weight(daemon) == 5 and warning in events(daemon) and warning in daemon.log()
        reply = daemon.ctl_json("set global health=fail")
        assert "cannot write" in reply["warnings"][0]["text"]
        assert "cannot write" in str(daemon.reload(config())["warnings"])
        missing.parent.mkdir()  # once it can be written again, all of it is
        assert daemon.ctl_json("set backend web b weight=6")["warnings"] == []
        assert len(state_of(missing)["overrides"]) == 2 and state_of(missing)["health_fail"]


def test_a_failed_write_leaves_the_old_file(path, config):
    with run_with(path, config()) as daemon:
        daemon.ctl("set backend web a weight=5")
        old = path.read_text()
        (path.parent / "state.json.new").mkdir()
        assert daemon.ctl_json("set backend web a weight=6")["warnings"]
        assert path.read_text() == old and weight(daemon) == 6
        (path.parent / "state.json.new").rmdir()


# --- two daemons ---

def test_two_daemons_do_not_share_a_file(path, config, folder):
    with run_with(path, config()) as first:
        first.ctl("set backend web a weight=5")
        held = sluice.descriptors(first.pid)
        second = folder / "second.conf"
        second.write_text(f'global {{ control_socket = "{folder}/2.sock" state_file = "{path}" }}\n'
                          + config())
        result = subprocess.run([sluice.SLUICED, "-c", second], capture_output=True, text=True,
                                timeout=sluice.WAIT, check=False)
        assert result.returncode == 1
        assert f"state_file {path} is in use by another sluiced (pid {first.pid})" in result.stderr
        for nth in range(12, 5, -1):
            first.ctl(f"set backend web a weight={nth}")
        assert state_of(path)["overrides"][0]["value"] == "6"
        wait_for(lambda: sluice.descriptors(first.pid) <= held, what="no descriptor more than before")
    with run_with(path, config()) as daemon:
        assert weight(daemon) == 6


def test_none_keeps_nothing(config, folder):
    with run_with("none", config()) as daemon:
        assert daemon.ctl_json("set backend web a weight=5")["warnings"] == []
        assert not list(folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_file_is_masters_and_nobody_else_reads_it(path, config, folder):
    """Workers are nobody; master, with less than root's rights, still writes it."""
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    folder.chmod(0o700)
    with run_with(path, config(), user="nobody") as daemon:
        assert daemon.ctl_json("set backend web a weight=5")["warnings"] == []
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)
        lock = (folder / "state.json.lock").stat()
        assert (lock.st_uid, stat.S_IMODE(lock.st_mode)) == (0, 0o600)
    os.chown(path, nobody, -1)  # a worker that was taken over could have written this one
    with run_with(path, config(), user="nobody") as daemon:
        assert weight(daemon) == 1 and f"belongs to user nobody (uid {nobody})" in events(daemon)[0]
