"""The Debian package: what is in it, how confined its service is, and its life on a machine of its own
that systemd runs: installed, served, reloaded, upgraded under load, its master killed, purged."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from container import Container, make_root  # noqa: E402
from sluice import ORIGIN, QUICK, REPOSITORY, wait_for  # noqa: E402

UNIT = REPOSITORY / "packaging" / "systemd" / "sluice.service.in"
EXPOSURE = 1.6  # at most, as systemd-analyze counts it


def test_the_unit_is_confined(tmp_path):
    unit = tmp_path / "sluice.service"
    unit.write_text(UNIT.read_text().replace("@sbindir@", "/usr/sbin").replace("@bindir@", "/usr/bin"))
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"--threshold={EXPOSURE * 10:.0f}", unit], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_a_start_that_fails_is_given_up():
    """Neither at once (names and addresses may come late) nor never."""
    said = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line)
    burst, pause = int(said["StartLimitBurst"]), float(said["RestartSec"].removesuffix("s"))
    interval = 60 * float(said["StartLimitIntervalSec"].removesuffix("min"))
    attempt = 0.5  # what a start takes that finds a mistake, at most
    assert burst * (pause + attempt) < interval
    assert burst * pause >= 60


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root boots another system")
takes_minutes = pytest.mark.skipif(QUICK, reason="takes minutes")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Two versions of the package, the older one first."""
    folder = tmp_path_factory.mktemp("deb")
    made = []
    for version, option in ("0.1.0", []), ("0.1.1", ["--no-lintian"]):
        words = [REPOSITORY / "packaging" / "build-deb.sh", *option, "--version", version, folder]
        done = subprocess.run(words, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr  # lintian's word too
        made += folder.glob(f"sluice_{version}_*.deb")
    return made


def listing(package):
    lines = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    return {line.split()[5].lstrip("."): line.split()[0] for line in lines}


@takes_minutes
def test_what_is_in_it(packages):
    files = listing(packages[0])
    for name in ("/usr/sbin/sluiced", "/usr/bin/sluicectl", "/etc/sluice/sluice.conf",
                 "/lib/systemd/system/sluice.service", "/usr/lib/sysusers.d/sluice.conf",
                 "/usr/lib/tmpfiles.d/sluice.conf", "/usr/share/man/man8/sluiced.8.gz",
                 "/usr/share/man/man8/sluicectl.8.gz", "/usr/share/man/man5/sluice.conf.5.gz",
                 "/usr/share/man/man7/sluice-control.7.gz",
                 "/usr/share/man/man7/sluice-operating.7.gz",
                 "/usr/share/man/man7/sluice-connections.7.gz",
                 "/usr/share/bash-completion/completions/sluicectl", "/etc/logrotate.d/sluice",
                 "/usr/share/sluice/prometheus/alerts.yml", "/usr/share/sluice/grafana/sluice.json"):
        assert name in files
    assert not any("origin" in name or "/tests/" in name for name in files)
    assert not any("s" in mode[1:] for mode in files.values()), "setuid or setgid"


class Machine(Container):
    """One with the package, or about to get it."""

    def main_pid(self):
        return int(self.run("systemctl", "show", "--value", "--property=MainPID", "sluice"))

    def log(self):
        return self.run("journalctl", "--no-pager", "--unit", "sluice", "--lines", "100")

    def start_origin(self, port):
        return subprocess.Popen(self.in_its_network(ORIGIN, "--name", "a", "--listen",
                                                    f"http@127.0.0.1:{port}"),
                                stdout=subprocess.DEVNULL)

    def get(self, url):
        """The status, 000 for none."""
        words = ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out",
                 "%{http_code}", url]
        return subprocess.run(self.in_its_network(*words), capture_output=True, text=True).stdout


@pytest.fixture
def machine(packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    fields = subprocess.run(["dpkg-deb", "--field", packages[0], "Depends"], check=True,
                            capture_output=True, text=True).stdout
    depends = [re.match(r"[^ |]+", field.strip())[0] for field in fields.split(",")]
    made = folder / "root"
    make_root(made, {"systemd", "systemd-sysv", "dbus", "procps", *depends})
    for package in packages:
        shutil.copy(package, made / "root")
    try:
        with Machine(made) as booted:
            yield booted
    finally:
        shutil.rmtree(made, ignore_errors=True)


@takes_minutes
@needs_root
def test_its_life_on_a_machine(machine, packages):
    old, new = (f"/root/{package.name}" for package in packages)
    site = "http://127.0.0.1:8080/"

    # Installed: it runs, as its user, and says that it is ready.
    machine.run("dpkg", "--install", old)
    assert machine.run("systemctl", "is-active", "sluice").strip() == "active"
    first = machine.main_pid()
    assert "sluice" == machine.run("ps", "-o", "user=", "-p", first).strip()
    assert machine.get("http://127.0.0.1:9480/healthz") == "503", machine.log()  # nobody is there yet
    assert "0.1.0" in machine.run("sluicectl", "show", "info")

    # Serves.
    origin = machine.start_origin(8081)
    try:
        wait_for(lambda: machine.get(site) == "200", what="an answer of the backend")
        assert machine.get("http://127.0.0.1:9480/metrics") == "200"
        status = machine.run("systemctl", "show", "--value", "--property=StatusText", "sluice")
        assert "connections" in status

        # A bad file is refused with its place, a good one taken; nothing restarts.
        conf = machine.root / "etc/sluice/sluice.conf"
        shipped = conf.read_text()
        conf.write_text(shipped.replace("pool   =", "pol   ="))
        machine.fails("systemctl", "reload", "sluice")
        assert re.search(r"sluice.conf:\d+: .*pol", machine.fails("sluicectl", "reload"))
        conf.write_text(shipped + "# mine\n")
        machine.run("systemctl", "reload", "sluice")
        assert machine.main_pid() == first

        # A session that lasts over all that follows.
        session = subprocess.Popen(
            machine.in_its_network("socat", "-", "TCP:127.0.0.1:8080"), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        try:
            def asks():
                session.stdin.write(ask)
                session.stdin.flush()
                return session.stdout.readline().startswith(b"HTTP/1.1 200") and _skip(session)
            assert asks()

            # A master that dies is replaced, and no session ends.
            machine.run("kill", "-KILL", first)
            wait_for(lambda: machine.main_pid() not in (0, first), what="another master")
            wait_for(lambda: machine.get(site) == "200", what="the next master serves")
            assert asks()

            # An upgrade: what is asked meanwhile is answered, and the old session goes on.
            second = machine.main_pid()
            said = machine.run("dpkg", "--install", "--force-confold", new)
            assert "goes on running" not in said, said
            wait_for(lambda: machine.main_pid() not in (0, second), what="the new version")
            assert "0.1.1" in machine.run("sluicectl", "show", "info")
            assert machine.run("systemctl", "is-active", "sluice").strip() == "active"
            assert machine.get(site) == "200"
            assert asks()
            assert conf.read_text().endswith("# mine\n")
        finally:
            session.kill()
            session.communicate()

        # Gone, and nothing but its user is left.
        machine.run("dpkg", "--purge", "sluice")
        assert machine.get(site) == "000"
        assert "sluiced" not in machine.run("ps", "-e", "-o", "comm=")
        left = machine.run("find", "/etc", "/var/lib", "/var/log", "/run", "/usr", "-name",
                           "*sluice*", "-not", "-path", "/run/systemd/*", check=False)
        assert left == "", left
    finally:
        origin.terminate()
        origin.wait()


def _skip(session):
    """The rest of an answer."""
    length = 0
    for line in iter(session.stdout.readline, b"\r\n"):
        assert line, "the session has ended"
        if match := re.match(rb"Content-Length: (\d+)", line, re.I):
            length = int(match[1])
    session.stdout.read(length)
    return True
