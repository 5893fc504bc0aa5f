"""Kept connections and few ports, in a network namespace of the test's own: idle ones give theirs to
sessions that need one, in whatever worker they lie, and in another pool towards the same server."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from sluice import Daemon, Origin, pool, service, wait_for  # noqa: E402
from test_namespace import client, namespace, start  # noqa: E402, F401: fixtures too

RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
LISTEN = {"s": "127.0.0.1:8080", "t": "127.0.0.1:8081"}
PORTS = 16


@pytest.mark.parametrize("name", ["s", "t"])
def test_idle_ones_give_their_ports(start, name):
    echo = start(Origin("echo"))
    RANGE.write_text(f"40000 {40000 + PORTS - 1}\n")
    source = {"source_addresses": ["127.0.0.2"]}
    daemon = start(Daemon(
        "".join(service(each, listen=[LISTEN[each]]) for each in LISTEN) +
        pool("s", echo.addresses, reuse={"mode": "warm", "warm_min": 8}, **source) +
        pool("t", echo.addresses, **source), 2, max_connections=1000))
    # One more where both workers open their last at once.
    wait_for(lambda: daemon.backend("s", "a")["upstreams_idle"] >= PORTS * 3 // 4)

    assert all([start(client(LISTEN[name], number)) for number in range(PORTS)])
    row = daemon.backend("s", "a")
    assert row["upstreams_idle"] == 0
    assert name == "s" or row["upstreams_discarded_by"]["evicted"] >= PORTS * 3 // 4
    assert client(LISTEN[name], 100) is None  # there is nothing left to make room
    wait_for(lambda: daemon.service(name)["refused_by"]["source_ports"] == 1,
             what="the client that was reset to be counted")
    assert daemon.backend(name, "a")["source_ports_out"] == 1
