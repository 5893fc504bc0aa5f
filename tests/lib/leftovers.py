"""What processes hold, and what they leave behind."""

import contextlib
import os
import pathlib
import re

from sluice import descriptors, wait_for

PROC = pathlib.Path("/proc")


def children(pid):
    """Pids of all children, dead ones that nobody has reaped too."""
    found = []
    for entry in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def programs(pool_name):
    """Pids of all that the exec checks of that pool have started, children's children too."""
    found = []
    for entry in PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SLUICE_POOL={pool_name}\0" in entry.read_text(errors="replace"):
                found.append(int(entry.parent.name))
    return found


def settled_descriptors(pids):
    """How many each has, once that stays the same: a client's last connection may be there yet."""
    seen = []

    def is_settled():
        seen.append([descriptors(pid) for pid in pids])
        return len(seen) > 20 and all(counts == seen[-1] for counts in seen[-20:])
    wait_for(is_settled, what="descriptors to settle")
    return seen[-1]


def own_bytes(pid):
    """Memory of its own, even if a child that was just forked has it in common."""
    text = (PROC / str(pid) / "smaps_rollup").read_text()
    return 1024 * int(re.search(r"^Anonymous:\s+(\d+) kB$", text, re.MULTILINE)[1])


def cpu_seconds(pid):
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
