"""nginx behind the balancer, under ab and wrk: no failed request, and every byte accounted."""

import re

import pytest

from sluice import Daemon, amount, pool, run, service, wait_for
from software import Nginx

SCHEDULERS = ["rr", "wrr", "lc", "wlc"]
BY_TURN = {"rr": 1 / 2, "wrr": 2 / 3}  # backend a's share
FILE = bytes(range(256)) * 16


@pytest.fixture(scope="module")
def servers():
    with Nginx({"file": FILE}) as a, Nginx({"file": FILE}) as b:
        yield a, b


@pytest.fixture
def daemon(start, servers, scheduler):
    backends = {"a": {"address": servers[0].address, "weight": 2}, "b": servers[1].address}
    return start(Daemon(service("web") + pool("web", backends, scheduler=scheduler)))


def served(servers):
    """Requests, bytes received and bytes sent, of both servers together."""
    return tuple(map(sum, zip(*(server.served() for server in servers))))


def since(servers, before):
    return tuple(now - then for now, then in zip(served(servers), before))


def check_backends(daemon, row):
    """The backends' figures add up to the service's."""
    backends = [daemon.backend("web", name) for name in "ab"]
    for name in ("connections_total", "bytes_in", "bytes_out"):
        assert sum(backend[name] for backend in backends) == row[name], (name, backends, row)
    assert all(backend["connections_active"] == 0 for backend in backends), backends
    assert all(backend["connections_total"] > 0 for backend in backends), backends


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("keepalive", [True, False], ids=["keepalive", "close"])
def test_ab(daemon, servers, scheduler, keepalive):
    requests = amount(4000, 1000)
    before = served(servers)
    result = run(["ab", "-q", "-n", requests, "-c", 16, *(["-k"] if keepalive else []),
                  f"http://{daemon.address('web')}/file"])
    assert re.search(rf"^Complete requests: +{requests}$", result.stdout, re.M), result.stdout
    assert re.search(r"^Failed requests: +0$", result.stdout, re.M), result.stdout
    assert re.search(rf"^HTML transferred: +{requests * len(FILE)} bytes$", result.stdout, re.M)
    assert "Non-2xx" not in result.stdout, result.stdout

    row = daemon.check_accounts("web")
    assert row["connections_refused"] == 0
    # ab ends with up to one connection each on which it asks for nothing.
    expected = 16 if keepalive else requests
    assert expected <= row["connections_total"] <= expected + (0 if keepalive else 16)
    wait_for(lambda: since(servers, before)[0] == requests, what="nginx to log every request")
    assert (requests, row["bytes_in"], row["bytes_out"]) == since(servers, before)
    check_backends(daemon, row)
    if scheduler in BY_TURN:  # each of two workers is at most a turn off
        share = daemon.backend("web", "a")["connections_total"] / row["connections_total"]
        assert abs(share - BY_TURN[scheduler]) <= 2 / row["connections_total"], share


@pytest.mark.parametrize("scheduler", ["wrr", "wlc"])
@pytest.mark.parametrize("keepalive", [True, False], ids=["keepalive", "close"])
def test_wrk(daemon, servers, keepalive):
    connections = 16
    before = served(servers)
    headers = [] if keepalive else ["-H", "Connection: close"]
    result = run(["wrk", "-t", 2, "-c", connections, "-d", amount("3s", "1s"), *headers,
                  f"http://{daemon.address('web')}/file"])
    requests = int(re.search(r"^ +(\d+) requests in", result.stdout, re.M)[1])
    assert requests > 100, result.stdout
    assert "Socket errors" not in result.stdout and "Non-2xx" not in result.stdout, result.stdout

    row = daemon.check_accounts("web")
    assert row["connections_refused"] == 0
    assert row["connections_total"] >= (connections if keepalive else requests)
    # wrk leaves in the middle of a last request on each connection, at any point of it.
    def accounted():
        logged, received, sent = since(servers, before)
        return (requests <= logged <= requests + connections
                and 0 <= row["bytes_in"] - received <= connections * 256
                and 0 <= sent - row["bytes_out"] <= connections * (len(FILE) + 512))
    wait_for(accounted, what="nginx's log to agree")
    check_backends(daemon, row)
