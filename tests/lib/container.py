"""A Debian machine for tests: a root that debootstrap made, booted by systemd-nspawn with systemd and a
network of its own. It sees nothing of this machine but the files that are copied into it."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

from sluice import family, wait_for

SOURCES = [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]


def release():
    return re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.M)[1]


def mirror():
    """Where this machine gets the packages of its own release from."""
    for source in SOURCES:
        text = source.read_text() if source.is_file() else ""
        if match := re.search(rf"^deb\s+(?:\[.*?\]\s+)?(https?://\S+)\s+{release()}\s", text, re.M):
            return match[1]
        for stanza in re.split(r"\n\s*\n", text):
            uri = re.search(r"^URIs:\s*(https?://\S+)", stanza, re.M)
            if uri and re.search(rf"^Suites:.*\b{release()}\b(?!-)", stanza, re.M):
                return uri[1]
    raise LookupError(f"/etc/apt knows no mirror of {release()}")


def make_root(folder, packages):
    subprocess.run(["debootstrap", "--variant=minbase", "--include=" + ",".join(packages),
                    release(), folder, mirror()], check=True, stdout=subprocess.DEVNULL,
                   timeout=900)


class Container:
    """As a context: boots at entry, is gone at exit. Whatever runs in it ends with it."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def __enter__(self):
        self.console = open(self.root.parent / "console", "w+b")
        self.boot = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
             "--machine=sluice-test", "--boot", "--directory", self.root],
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console,
            start_new_session=True)
        try:
            wait_for(self.has_booted, 60, "the container has booted")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *_):
        if init := self.init():
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGRTMIN + 4)  # systemd: power off
        try:
            self.boot.wait(60)
        except subprocess.TimeoutExpired:
            for pid in family(self.boot.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.boot.wait()
        self.console.close()

    def has_booted(self):
        state = self.init() and self.run("systemctl", "is-system-running", check=False)
        return state and state.strip() in ("running", "degraded")

    def init(self):
        """Its first process as this machine sees it, once there is one."""
        assert self.boot.poll() is None, pathlib.Path(self.console.name).read_text()
        for pid in family(self.boot.pid):
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                if re.search(r"^NSpid:\t\d+\t1$", status, re.M):
                    return pid
        return None

    def _run(self, words):
        return subprocess.run(["nsenter", "--all", "--target", str(self.init()), "--", "env", "-i",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *map(str, words)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300)

    def run(self, *words, check=True):
        """What a command in it says, on both its streams."""
        done = self._run(words)
        assert not check or done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}"
        return done.stdout

    def fails(self, *words):
        """As run(), of a command that must fail."""
        done = self._run(words)
        assert done.returncode != 0, f"{words} worked:\n{done.stdout}"
        return done.stdout

    def in_its_network(self, *words):
        """A command of this machine, to be run in the container's network."""
        return ["nsenter", "--net", "--target", str(self.init()), "--", *map(str, words)]
