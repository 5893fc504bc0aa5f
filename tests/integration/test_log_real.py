"""The log with Debian's own programs: rsyslogd takes it, logrotate turns its file over."""

import os
import subprocess

from sluice import REPOSITORY, Process, wait_for
from test_log import apart, dropped, echo, ends, logging, parse  # noqa: F401 (apart is a fixture)

RSYSLOG = """
global(workDirectory="{folder}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}")
template(name="fields" type="string"
         string="%syslogfacility-text% %syslogseverity-text% %programname% %procid%%msg%\\n")
action(type="omfile" file="{folder}/taken" template="fields")
"""


class Rsyslogd(Process):
    """With a socket, files and a configuration of its own, and nothing of the system's."""

    def __init__(self, folder, socket):
        config = folder / "rsyslog.conf"
        config.write_text(RSYSLOG.format(folder=folder, socket=socket))
        self.taken = folder / "taken"
        socket.unlink(missing_ok=True)
        super().__init__(["/usr/sbin/rsyslogd", "-n", "-f", config, "-i", folder / "rsyslog.pid"],
                         folder)
        self.ready_when(socket.exists)

    def entries(self):
        """(facility, severity, program, pid, line) of each that came."""
        text = self.taken.read_text() if self.taken.exists() else ""
        return [line.split(" ", 4) for line in text.splitlines()]

    def sessions(self):
        return [entry for entry in self.entries() if "session ended" in entry[4]]


def test_rsyslogd(start, apart):  # noqa: F811
    """It reads each line as it is meant; one that is started anew is found, and told of the gap."""
    socket = apart / "log"
    rsyslogd = start(Rsyslogd(apart, socket))
    daemon = logging(start, "syslog")
    echo(daemon, 5)
    wait_for(lambda: len(rsyslogd.sessions()) == 5, what="five lines")
    levels = {"info": "info", "warning": "warning", "err": "error"}
    for facility, severity, program, pid, line in rsyslogd.entries():
        assert (facility, program) == ("daemon", "sluiced")
        assert parse(line)["level"] == levels[severity]
        if "session ended" in line:
            assert int(pid) in daemon.workers()
            assert parse(line)["backend"] == "a"
    assert dropped(daemon) == 0
    assert rsyslogd.stop() == 0
    echo(daemon, 3)
    wait_for(lambda: dropped(daemon) > 0, what="lines to be dropped")
    rsyslogd = start(Rsyslogd(apart, socket))

    def is_told():
        echo(daemon, 1)
        return any("log lines were dropped" in entry[4] for entry in rsyslogd.entries())
    wait_for(is_told, what="the new one to be found")


def test_logrotate(start, folder, monkeypatch):
    """With the file that the package brings, told only where the log is and who it belongs to."""
    os.chmod(folder, 0o755)
    log = folder / "sluice.log"
    shipped = (REPOSITORY / "packaging/debian/sluice.logrotate").read_text()
    config = folder / "logrotate.conf"
    assert "/var/log/sluice/" in shipped and "su sluice sluice" in shipped
    config.write_text(shipped.replace("/var/log/sluice", str(folder))
                      .replace("su sluice sluice", "su root root"))
    daemon = logging(start, log)
    systemctl = folder / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho {daemon.pid}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def sessions(path):
        return len(ends(path.read_text()))

    def turn_over():
        """Until no process has the old file open any more."""
        subprocess.run(["/usr/sbin/logrotate", "-f", "-s", folder / "status", config], check=True,
                       capture_output=True, text=True)
        old = str(folder / "sluice.log.1")
        for pid in [daemon.pid, daemon.ctl_json("show info")["monitor_pid"], *daemon.workers()]:
            wait_for(lambda: old not in [os.readlink(f"/proc/{pid}/fd/{fd}")
                                         for fd in os.listdir(f"/proc/{pid}/fd")])
    for turn in range(2):
        echo(daemon, 20)
        wait_for(lambda: sessions(log) == 20, what="20 lines")
        turn_over()
        assert sessions(folder / "sluice.log.1") == 20
    zipped = subprocess.run(["zcat", folder / "sluice.log.2.gz"], check=True, capture_output=True,
                            text=True).stdout
    assert len(ends(zipped)) == 20
    assert dropped(daemon) == 0
