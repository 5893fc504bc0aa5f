"""Many short connections over four workers: exact shares, and nothing left behind by them."""

import pytest

from sluice import Daemon, Origin, amount, descriptors, load, memory, pool, service, wait_for

WEIGHTS = {"a": 3, "b": 2, "c": 1}
CONNECTIONS = amount(20000, 4000)


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", names=list(WEIGHTS)))


def test_shares_and_leftovers(start, origin):
    backends = {name: {"address": address, "weight": WEIGHTS[name]}
                for name, address in zip(WEIGHTS, origin.addresses)}
    daemon = start(Daemon(service("web") + pool("web", backends, scheduler="wrr"), workers=4))
    address, workers = daemon.address("web"), daemon.workers()
    held = {pid: descriptors(pid) for pid in [daemon.pid, *workers]}
    grown = []
    for turn in (1, 2):
        run_round(daemon, address, turn)
        assert daemon.workers() == workers
        for pid in held:
            wait_for(lambda: descriptors(pid) <= held[pid],
                     what=f"{pid} to be back at its {held[pid]} descriptors")
        check_at_rest(daemon)
        grown.append({pid: memory(pid) for pid in held})
    for pid in held:  # a worker that forgot 200 bytes of each of its sessions would show
        most = CONNECTIONS // len(workers) * 200 if pid in workers else 4 << 20
        assert grown[1][pid] - grown[0][pid] < most, (pid, grown)


def run_round(daemon, address, turn):
    report = load("crc", address, "--requests", CONNECTIONS, "--connections", 64,
                  "--path", "/bytes/200")
    for name, weight in WEIGHTS.items():
        share = CONNECTIONS * weight / sum(WEIGHTS.values())
        assert abs(report["origins"][name] - share) <= share / 100, report["origins"]
        seen = daemon.backend("web", name)["connections_total"]
        assert abs(seen - turn * share) <= turn * share / 100
    assert daemon.check_accounts("web")["connections_total"] == turn * CONNECTIONS


def check_at_rest(daemon):
    stats = daemon.stats()
    rows = [stats, *stats["workers"], *stats["services"], *stats["pools"][0]["backends"]]
    assert all(row["connections_active"] == 0 for row in rows), rows
    assert all(row["buffered_bytes"] == 0 and row["connections_total"] > 0
               for row in stats["workers"]), stats["workers"]
    assert daemon.ctl_json("show sessions")["sessions"] == []
