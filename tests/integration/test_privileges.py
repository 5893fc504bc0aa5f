"""Who is allowed what: capabilities that a supervisor gives to a daemon that is not root's."""

import os
import pathlib
import pwd
import re
import shutil

import pytest

import sluice
from sluice import Daemon, pool, service, wait_for

LOW_PORTS = 1 << 10  # CAP_NET_BIND_SERVICE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives capabilities away")


def capabilities(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: int(bits, 16) for name, bits in re.findall(r"^Cap(\w+):\s+(\w+)$", status, re.M)}


@pytest.fixture
def as_a_unit_would(folder, monkeypatch):
    """Daemons run as nobody and may bind low ports, as AmbientCapabilities= has it."""
    script = folder / "sluiced"
    script.write_text("#!/bin/sh\nexec setpriv --reuid nobody --regid nogroup --clear-groups "
                      "--inh-caps +net_bind_service --ambient-caps +net_bind_service "
                      f'{sluice.SLUICED} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sluice, "SLUICED", script)
    make = sluice.make_folder

    def make_for_nobody(name):
        made = make(name)
        shutil.chown(made, pwd.getpwnam("nobody").pw_uid)
        return made
    monkeypatch.setattr(sluice, "make_folder", make_for_nobody)


def test_only_master_may_bind_low_ports(start, folder, as_a_unit_would):
    said = folder / "said"
    said.touch()
    said.chmod(0o666)
    program = folder / "look"
    program.write_text(f"#!/bin/sh\ncat /proc/self/status > {said}.new; cat {said}.new > {said}\n")
    program.chmod(0o755)
    folder.chmod(0o777)
    daemon = start(Daemon(service("web", "p") + pool(
        "p", {"a": "127.0.0.1:9"}, checks={"exec": {"command": [program], "interval": "100ms"}})))
    assert capabilities(daemon.pid)["Eff"] == LOW_PORTS
    info = daemon.ctl_json("show info")
    for pid in [*daemon.workers(), info["monitor_pid"]]:
        assert not any(capabilities(pid)[name] for name in ("Inh", "Prm", "Eff", "Amb"))
    text = wait_for(lambda: said.read_text(), what="what the check's program may do")
    assert re.search(r"^CapEff:\s+0+$", text, re.M), text
