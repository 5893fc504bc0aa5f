"""Configurations that were: rollback, reloads that wait to be confirmed, save, events that are kept."""

import json
import os
import pwd
import signal
import stat

import pytest

import sluice
from sluice import (SLUICECTL, CtlError, Daemon, Port, family, is_alive, pool,
                    run, service, wait_for)



@pytest.fixture
def config():
    with Port() as port:
        def text(weight=1, more="", **options):
            return service("web") + pool(
                "web", {"a": {"address": port.address, "weight": weight}}, **options) + more
        yield text


@pytest.fixture
def path(folder):
    return folder / "state.json"


def weight(daemon):
    return daemon.backend("web", "a")["weight"]


def configs(daemon):
    return daemon.ctl_json("show configs")


def running(daemon):
    return [row["generation"] for row in configs(daemon)["configs"] if row["runs"]]


def events(daemon, words=""):
    return daemon.ctl_json(f"show events {words}")["events"]


def texts(daemon, words=""):
    return "\n".join(row["text"] for row in events(daemon, words))


# --- going back ---

def test_rollback_goes_back_and_forth(start, config):
    daemon = start(Daemon(config()))
    daemon.reload(config(2))
    daemon.reload(config(3))
    daemon.ctl("set pool web retries=1")
    reply = daemon.ctl("rollback why=oops")
    assert "weight 3 -> 2" in reply and "not what the file said" in reply
    assert "override: pool web: retries = 1" in reply
    assert weight(daemon) == 2 and daemon.ctl_json("show info")["file_runs"] is False
    assert "not what the file said" in daemon.ctl("show diff")
    assert "rollback: generation 5" in texts(daemon, "kind=reload")
    rows = configs(daemon)["configs"]
    assert [(row["generation"], row["runs"], row["file"]) for row in rows] == [
        (1, False, False), (3, False, True), (5, True, False)]
    assert rows[2]["why"] == "oops" and rows[2]["changes"] == 1
    assert 'weight = "2"' in daemon.ctl("show configs 5")
    daemon.ctl("rollback 1")
    assert weight(daemon) == 1
    for words, needle in (("rollback 99", "no configuration of generation 99 is kept"),
                          ("rollback 6", "is the one that runs"), ("confirm", "nothing waits")):
        with pytest.raises(CtlError, match=needle):
            daemon.ctl(words)
        assert needle in texts(daemon, "kind=refused limit=1")
    assert "weight 1 -> 3" in daemon.ctl("reload")
    assert configs(daemon)["file_runs"] is True


def test_secrets_are_kept_unexpanded(start, config, folder):
    secret = folder / "secret"
    secret.write_text("/bin/true\n")
    daemon = start(Daemon(config(more="") .replace(
        'pool "web" {', f'pool "web" {{\n notify = "${{file:{secret}}}"', 1)))
    daemon.reload(config(2))
    assert "/bin/true" not in daemon.ctl("show configs 1")
    secret.unlink()
    with pytest.raises(CtlError, match="kept configuration 1:.*cannot be read"):
        daemon.ctl("rollback")
    assert weight(daemon) == 2 and running(daemon) == [2]


# --- confirm ---

def test_what_is_confirmed_stands(start, config):
    daemon = start(Daemon(config()))
    daemon.write(config(2))
    assert "not confirmed: generation 1 returns at" in daemon.ctl("reload confirm=2s")
    daemon.write(config(3))
    assert "not confirmed: generation 1 returns at" in daemon.ctl("reload")
    daemon.ctl("confirm why=good")
    assert configs(daemon)["returns"] is None and weight(daemon) == 3
    assert "confirmed: generation 3 stands" in texts(daemon)
    assert daemon.ctl("rollback") and weight(daemon) == 2


def test_what_is_not_confirmed_goes(start, config):
    daemon = start(Daemon(config()))
    daemon.write(config(2))
    daemon.ctl("reload confirm=1h")
    daemon.write(config(3))
    daemon.ctl("reload confirm=1s")  # a new time, and still the first one returns
    daemon.ctl("set pool web retries=1")
    wait_for(lambda: weight(daemon) == 1, what="the return")
    reply = configs(daemon)
    assert reply["returns"] is None and reply["file_runs"] is False
    assert [row["runs"] for row in reply["configs"]] == [True]
    assert daemon.ctl_json("show diff")["overrides"][0]["option"] == "retries"
    assert "not confirmed in time" in events(daemon, "by=master limit=1")[0]["why"]
    daemon.ctl("reload confirm=1h")
    daemon.ctl("rollback")  # at once
    assert weight(daemon) == 1 and configs(daemon)["returns"] is None


@pytest.mark.parametrize("way", ["time", "rollback", "restart"])
def test_what_the_operator_said_returns_with_it(start, config, path, way):
    """A backend in maintenance must not be ready because a reload that was a mistake lacked it."""
    with Port() as port:
        daemon = start(Daemon(config(), state_file=path))
        daemon.reload(config(more=pool("p2", {"x": port.address, "y": port.address})))
        daemon.ctl("maintain backend p2 y why=disk")
        daemon.ctl("set backend p2 x weight=5")
        daemon.ctl("add backend p2 z 127.0.0.1:9")
        daemon.ctl("set backend web a weight=4")
        daemon.write(config(2))
        limit = "1s" if way == "time" else "1h"
        assert "no longer holds" in daemon.ctl(f"reload confirm={limit}")
        daemon.ctl("set backend web a weight=6")
        if way == "rollback":
            daemon.ctl("rollback")
        elif way == "restart":
            daemon.stop()
            daemon = start(Daemon(config(2), state_file=path))
        wait_for(lambda: "p2 " in daemon.ctl("show pools"))
        assert daemon.backend("p2", "y")["admin"] == "maintenance"
        assert daemon.backend("p2", "x")["weight"] == 5
        assert daemon.backend("p2", "z")["address"] == "127.0.0.1:9"
        assert weight(daemon) == 6
        diff = daemon.ctl("show diff")
        assert "disk" in diff and "# 1 in the file" in diff and "# 2 in the file" not in diff


def test_what_was_reset_or_confirmed_meanwhile_does_not_return(start, config):
    with Port() as port:
        daemon = start(Daemon(config(more=pool("p2", {"x": port.address, "y": port.address}))))
        for end in ("reset pool p2", "confirm"):
            daemon.ctl("maintain backend p2 y")
            daemon.write(config(more=pool("p2", {"x": port.address})))
            daemon.ctl("reload confirm=1h")
            daemon.ctl(end)
            daemon.ctl("rollback")
            assert daemon.backend("p2", "y")["admin"] == "ready"


def test_what_cannot_return_is_told(start, config, folder):
    secret = folder / "secret"
    secret.write_text("/bin/true\n")
    good = config().replace('pool "web" {', f'pool "web" {{\n notify = "${{file:{secret}}}"', 1)
    daemon = start(Daemon(good))
    secret.unlink()
    daemon.write(config(2))
    daemon.ctl("reload confirm=1s")
    wait_for(lambda: "could not; it is tried again" in texts(daemon, "kind=refused"))
    assert weight(daemon) == 2 and configs(daemon)["returns"] == 1


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_restart_brings_the_confirmed_one_back(config, path, killed):
    with Daemon(config(), state_file=path) as daemon:
        daemon.write(config(2))
        daemon.ctl("reload confirm=1h")
        daemon.ctl("set pool web retries=1")
        if killed:
            left = family(daemon.pid)
            os.kill(daemon.pid, signal.SIGKILL)
            wait_for(lambda: not any(is_alive(pid) for pid in left), what="the end")
            daemon.checked = True
            daemon.kill()
    with Daemon(config(2), state_file=path) as daemon:
        assert weight(daemon) == 1 and daemon.ctl_json("show info")["file_runs"] is False
        assert daemon.ctl_json("show diff")["overrides"][0]["value"] == "1"
        assert "restarted before its configuration was confirmed" in texts(daemon)
        assert configs(daemon)["returns"] is None
        daemon.ctl("reload")
        assert weight(daemon) == 2
    with Daemon(config(2), state_file=path) as daemon:
        assert weight(daemon) == 2 and configs(daemon)["file_runs"] is True


# --- what a hash scheduler moves ---

def test_check_config_says_how_many_clients_move(start):
    def text(n, scheduler="mh"):
        return service("web") + pool(
            "web", {f"b{nth}": f"127.0.0.1:{nth + 1}" for nth in range(n)}, scheduler=scheduler)
    daemon = start(Daemon(text(10)))
    daemon.write(text(9))
    line = daemon.ctl("check config").splitlines()[-1]
    share = float(line.removeprefix("pool web: ").removesuffix(
        " % of clients would go to another backend"))
    assert 9 < share < 12
    assert line.replace("would go", "go") in daemon.ctl("reload")
    daemon.write(text(9, "sh"))
    assert "% of clients" not in daemon.ctl("reload")  # the same way of hashing


# --- save ---

def save(daemon, target, *options, **more):
    return run([SLUICECTL, "-s", daemon.control, *options, "save", target], check=False, **more)


def test_save_loads_back_to_the_same(start, config, folder):
    daemon = start(Daemon(config()))
    daemon.ctl("set backend web a weight=7")
    saved = folder / "saved.conf"
    result = save(daemon, saved)
    assert result.returncode == 0 and "is saved in" in result.stdout
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert "would change nothing" in run(
        [SLUICECTL, "-s", daemon.control, "check", "config", saved]).stdout
    saved.chmod(0o640)
    link = folder / "link"
    link.symlink_to("saved.conf")
    inode = saved.stat().st_ino
    assert json.loads(save(daemon, link, "--json").stdout)["saved"] == str(link)
    assert link.is_symlink() and stat.S_IMODE(saved.stat().st_mode) == 0o640
    assert saved.stat().st_ino != inode and "weight = 7" in saved.read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["link", "saved.conf"]


def test_save_spares_what_is_loaded(start, config, folder):
    daemon = start(Daemon(config()))
    part = folder / "part.conf"
    part.write_text(config(2))
    daemon.write(f'include("{part}")\n')
    daemon.ctl("reload")
    daemon.ctl("rollback")
    (folder / "hard").hardlink_to(daemon.config_path)
    (folder / "soft").symlink_to(part)
    before = daemon.config_path.read_text(), part.read_text()
    for target in (daemon.config_path, part, folder / "hard", folder / "soft",
                   folder / ".." / folder.name / "part.conf"):
        result = save(daemon, target)
        assert result.returncode == 1 and "is loaded by the daemon" in result.stderr, target
    for target in (folder, folder / "none" / "x", "/proc/version"):
        assert save(daemon, target).returncode == 1
    assert (daemon.config_path.read_text(), part.read_text()) == before
    assert "not saved" in daemon.ctl("save /tmp/x")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_save_is_for_administrators(start, config, folder):
    nobody = pwd.getpwnam("nobody")
    folder.chmod(0o777)
    daemon = start(Daemon(config(), control_mode="0666", control_read=["nobody"]))
    result = save(daemon, folder / "x", user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert result.returncode == 1 and "error: not allowed" in result.stderr
    assert not (folder / "x").exists()
    assert events(daemon, "kind=refused")[-1]["text"].startswith("save")


# --- events ---

def test_events_are_kept_over_restarts(config, path):
    kept = path.with_name("state.json.events")
    with Daemon(config(), state_file=path) as daemon:
        daemon.ctl("set backend web a weight=5 why=trial")
        with pytest.raises(CtlError):
            daemon.ctl("remove backend web a")
        before = events(daemon)
    kept.write_bytes(kept.read_bytes() + b'{"id": 7\n\0\0\0\nnonsense\n{"id":')
    with Daemon(config(), state_file=path) as daemon:
        now = events(daemon)
        assert now[:len(before)] == before
        ids = [row["id"] for row in now]
        assert ids == sorted(set(ids)) and len(ids) > len(before)
        assert events(daemon, "backend=web/a kind=admin")[0]["why"] == "trial"
        assert {row["kind"] for row in events(daemon, "kind=refused")} == {"refused"}
        assert all("uid" in row["by"] for row in events(daemon, "by=uid"))
        assert events(daemon, "since=1h") == events(daemon)
        assert "lines of kept events are damaged" in daemon.log()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with Daemon(config(), state_file=path) as daemon:  # the damaged tail cost no event after it
        assert events(daemon)[:len(now)] == now


def test_the_file_of_events_is_bounded_and_may_go(config, path):
    kept = path.with_name("state.json.events")
    with Daemon(config(), state_file=path) as daemon:
        kept.write_text("\n" * (1 << 20))
        os.truncate(kept, 1 << 20)
        for _ in range(2):
            daemon.ctl("set backend web a weight=5")
            daemon.ctl("set backend web a weight=6")
        assert daemon.ctl_json("show info")["events_dropped"] == 0
    kept.unlink()
    kept.mkdir()
    with Daemon(config(), state_file=path) as daemon:
        daemon.ctl("set backend web a weight=7")
        assert weight(daemon) == 7 and daemon.ctl_json("show info")["events_dropped"] > 0
    kept.rmdir()


def test_without_a_state_file_none_are_kept(start, config, folder):
    daemon = start(Daemon(config()))
    daemon.ctl("set backend web a weight=5")
    assert not [path for path in daemon.folder.iterdir() if "events" in path.name]
    assert daemon.ctl_json("show info")["events_dropped"] == 0


# --- the state file itself ---

@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_state_file_of_another_user_is_told_clearly(config, path):
    with Daemon(config(), state_file=path) as daemon:
        daemon.ctl("set backend web a weight=5")
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    with Daemon(config(), state_file=path) as daemon:
        assert "it belongs to user nobody" in texts(daemon) and weight(daemon) == 1


def test_a_folder_that_is_not_there_is_told_before_the_start(config, folder):
    file = folder / "x.conf"
    file.write_text(f'global {{ state_file = "{folder}/none/s.json" }}\n' + config())
    result = run([sluice.SLUICED, "-t", "-c", file])
    assert "state_file" in result.stderr and "make the folder" in result.stderr
    assert run([sluice.SLUICED, "-t", "--strict", "-c", file], check=False).returncode == 1
