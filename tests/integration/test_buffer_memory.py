"""buffer_memory: many slow readers at once stay within it, lose nothing, and harm nobody."""

import re
import urllib.request

import pytest

from sluice import Daemon, Origin, connect, pattern, pool, service, wait_for

MB = 1 << 20
PART = 64 << 10         # as workers take of it
READERS = 200
LENGTH = MB             # of each download: more than a Unix socket's buffers hold
SMALLEST = 4096         # of what holds bytes
STARVED = READERS // 2  # so many must have gone without


class Site:
    """A daemon between an origin and clients on a Unix socket, whose buffers are small. Some of its
    sessions come by TCP."""

    def __init__(self, start, folder, kind="ipv4", framing=None, **options):
        self.path = f"unix:{folder}/clients"
        self.origin = start(Origin(f"http@unix:{folder}/origin" if kind == "unix" else "http"))
        self.framing = framing
        # A request that may have to be asked again is held whatever there is room for.
        self.most = MB + (READERS * SMALLEST if framing else 0)
        self.options = options
        self.daemon = start(Daemon(self.config(), **options))

    def config(self):
        reuse = {"mode": "request", "framing": self.framing} if self.framing else None
        return (service("bulk", listen=[self.path, "127.0.0.1:0"]) +
                pool("bulk", self.origin.addresses, reuse=reuse))

    def ask(self, n=READERS):
        """So many clients that have asked for a download, and read nothing of it."""
        clients = [connect(self.path) for _ in range(n)]
        for sock in clients:
            sock.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % LENGTH)
        return clients

    def stats(self):
        return self.daemon.stats()

    def wait_until_used_up(self):
        """Until everybody stands, within the limit all the time."""
        last = [-1, 0]

        def stands():
            stats = self.stats()
            assert stats["buffered_bytes"] <= self.most
            moved = stats["services"][0]["bytes_out"]
            last[1] = last[1] + 1 if moved == last[0] else 0
            last[0] = moved
            return stats["throttled"] >= STARVED and last[1] >= 30
        wait_for(stands, what="memory to be used up")
        return self.stats()

    def get(self):
        """One that reads as it comes."""
        address = self.daemon.address("bulk", 1)
        with urllib.request.urlopen(f"http://{address}/bytes/{4 * MB}", timeout=60) as reply:
            assert reply.read() == pattern(4 * MB)

    def check_end(self, row_bytes):
        wait_for(lambda: self.stats()["buffered_bytes"] == 0, what="nothing to be held")
        row = self.daemon.check_accounts("bulk")
        assert row["connections_refused"] == 0, row
        assert sum(row["ended_by"].values()) == row["ended_by"]["client_fin"] + \
            row["ended_by"]["backend_fin"], row
        assert row["bytes_out"] > row_bytes


def read(sock):
    """The rest of a download: exact to the byte."""
    data = bytearray()
    with sock:
        while part := sock.recv(MB):
            data += part
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert body == pattern(LENGTH)


@pytest.mark.parametrize("kind, framing", [("ipv4", None), ("unix", None), ("ipv4", "http1")],
                         ids=["ipv4", "unix", "framed"])
def test_slow_readers_stay_within_it(start, folder, kind, framing):
    site = Site(start, folder, kind, framing, buffer_memory="1m")
    clients = site.ask()
    stats = site.wait_until_used_up()
    assert stats["buffer_memory_bytes"] == MB
    assert MB // 4 < stats["buffered_bytes"] <= stats["buffered_peak_bytes"] <= site.most
    assert stats["throttled"] == sum(row["throttled"] for row in stats["workers"])
    for _ in range(5):
        site.get()
    for sock in clients:
        read(sock)
        assert site.stats()["buffered_bytes"] <= site.most
    site.check_end(READERS * LENGTH)
    warnings = re.findall(r"buffer_memory is used up", site.daemon.log())
    assert 1 <= len(warnings) <= 2 * len(stats["workers"])


def test_reload_changes_it(start, folder):
    site = Site(start, folder, buffer_memory="1m")
    clients = site.ask()
    throttled = site.wait_until_used_up()["throttled"]
    site.daemon.options["buffer_memory"] = "64m"
    site.daemon.reload(site.config())
    assert site.stats()["buffer_memory_bytes"] == 64 * MB
    clients += site.ask()

    def held():
        stats = site.stats()
        return stats["buffered_bytes"] >= READERS * PART // 2
    wait_for(held, what="the new ones to be held something for")
    assert site.stats()["throttled"] == throttled
    site.daemon.options["buffer_memory"] = "256k"
    site.daemon.reload(site.config())  # less than what is held: it is kept, and no more is taken
    site.get()
    for sock in clients:
        read(sock)
    site.check_end(2 * READERS * LENGTH)


def test_auto_is_told(start, folder):
    info = Site(start, folder).daemon.ctl_json("show info")
    assert 16 * MB <= info["buffer_memory_bytes"] <= 512 * MB
    assert info["buffered_bytes"] == info["throttled"] == 0


def test_a_dead_worker_gives_its_part_back(start, folder):
    site = Site(start, folder, workers=1, buffer_memory="1m")
    clients = site.ask()
    before = site.wait_until_used_up()
    pid = site.daemon.workers()[0]
    site.daemon.kill_child(pid)
    wait_for(lambda: site.daemon.workers()[0] not in (0, pid), what="the successor")
    for sock in clients:
        sock.close()
    clients = site.ask()
    # What the dead one had is there for the successor's.
    wait_for(lambda: site.stats()["buffered_bytes"] > before["buffered_bytes"] // 2,
             what="memory to be used again")
    for sock in clients:
        read(sock)
    wait_for(lambda: site.stats()["buffered_bytes"] == 0, what="nothing to be held")
