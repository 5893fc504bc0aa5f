"""Memory and other things that a machine can run out of: what a run of million.py needs and what
there is, and what is in use at one moment."""

import os
import re
import resource

from procs import BenchError, pss_bytes

GIB = 1 << 30
PAGE = os.sysconf("SC_PAGE_SIZE")
KERNEL_BYTES = 8704  # of a proxied connection, as measured: CAPACITY_KERNEL_BYTES has it, too
OWN_BYTES = 700
WORKER_BYTES = 1 << 20  # without connections, the kernel's part included
WORKERS_MAX = 256
# Of a worker: what is neither session nor listener; of the machine: what others may open meanwhile.
DESCRIPTORS_BESIDE = 300
FILES_BESIDE = 10000
PER_BACKEND = 16384  # about a quarter of the ports; above a half the kernel's search gets slow
BACKENDS_MIN = 32
FILES_ELSEWHERE = re.compile(r"(?<!sock)_inode_cache$|^buffer_head$|^radix_tree_node$")


def meminfo():
    """In bytes."""
    with open("/proc/meminfo", encoding="ascii") as text:
        rows = [row.split() for row in text if row.endswith(" kB\n")]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


class Floor:
    """What is left alone: under it a run is broken off."""
    BYTES = 1.5 * GIB

    @classmethod
    def check(cls):
        available = meminfo()["MemAvailable"]
        if available < cls.BYTES:
            raise BenchError(f"broken off: only {available / GIB:.2f} GiB of memory are available")


def _number(path, nth=0):
    with open(path, encoding="ascii") as text:
        return int(text.read().split()[nth])


# --- what is needed ---


class Plan:
    """How a run of so many connections is made on this machine."""

    def __init__(self, connections):
        self.connections = connections
        _, self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.per_worker = self._sessions_of_a_worker()
        self.workers = max(len(os.sched_getaffinity(0)), -(-connections // self.per_worker))
        self.backends = max(BACKENDS_MIN, -(-connections // PER_BACKEND))

    def _sessions_of_a_worker(self):
        """Clients fall on workers by hash: a mean that leaves room for six deviations."""
        if self.descriptors == resource.RLIM_INFINITY:
            return 1 << 24
        room = max(1, (self.descriptors - DESCRIPTORS_BESIDE) // 2)
        mean = room
        while mean > 1 and mean + 6 * mean ** 0.5 > room:
            mean -= max(1, mean // 1000)
        return mean

    def bounds(self):
        """How many connections each of the machine's limits allows: {what: number}."""
        memory = meminfo()["MemAvailable"] - Floor.BYTES
        each = KERNEL_BYTES + OWN_BYTES + WORKER_BYTES / self.per_worker
        files = _number("/proc/sys/fs/file-max") - _number("/proc/sys/fs/file-nr") - FILES_BESIDE
        return {
            f"available memory, {each:.0f} bytes each and {Floor.BYTES / GIB} GiB left alone":
                int(memory // each),
            "fs.file-max, two files each": files // 2,
            "fs.epoll.max_user_watches, two each":
                _number("/proc/sys/fs/epoll/max_user_watches") // 2,
            f"RLIMIT_NOFILE of {self.descriptors} in {WORKERS_MAX} workers":
                WORKERS_MAX * self.per_worker,
        }

    def check(self):
        what, possible = min(self.bounds().items(), key=lambda item: item[1])
        if possible < self.connections:
            raise BenchError(f"{self.connections} connections are more than this machine allows: "
                             f"{what}: --connections {max(0, possible)} is possible")


# --- what is in use ---


def slabs():
    """Bytes of each of the kernel's object caches; nothing without the right to read them."""
    try:
        with open("/proc/slabinfo", encoding="ascii") as text:
            rows = [row.split() for row in text.readlines()[2:]]
    except PermissionError:
        return {}
    # name, active, objects, bytes of one, objects and pages of a slab; then active, slabs
    return {row[0]: int(row[14]) * int(row[5]) * PAGE for row in rows}


def sockets():
    """What this namespace has: {"inuse", "orphan", "tw", "alloc", "mem" (pages)}."""
    with open("/proc/self/net/sockstat", encoding="ascii") as text:
        row = re.search(r"^TCP: (.*)$", text.read(), re.MULTILINE).group(1).split()
    return dict(zip(row[::2], map(int, row[1::2])))


class Usage:
    """All of that at one moment; own_bytes is shared pages counted once."""

    def __init__(self, pids):
        info = meminfo()
        self.own_bytes = pss_bytes(pid for pid in pids if os.path.exists(f"/proc/{pid}"))
        self.slabs = slabs()
        self.slab_bytes = info["Slab"]
        self.tables_bytes = info["PageTables"] + info["KernelStack"] + info["VmallocUsed"]
        self.available_bytes = info["MemAvailable"]
        self.sockets = sockets()

    def grown_slabs(self, earlier):
        """By how much each cache has grown, the most first."""
        grown = {name: size - earlier.slabs.get(name, 0) for name, size in self.slabs.items()}
        return dict(sorted(grown.items(), key=lambda item: -item[1]))

    def of_sockets(self, earlier):
        """By how much all caches have grown but those that files elsewhere fill, /proc's too."""
        grown = self.grown_slabs(earlier)
        if not grown:
            return self.slab_bytes - earlier.slab_bytes
        return sum(size for name, size in grown.items() if not FILES_ELSEWHERE.search(name))
