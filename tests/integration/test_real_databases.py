"""Redis and PostgreSQL behind the balancer, under their own benchmarks."""

import re

import pytest

from sluice import Daemon, amount, connect, pool, run, service, split
from software import Postgres, Redis

# --- Redis ---


@pytest.fixture(scope="module")
def redis():
    with Redis() as server:
        yield server


def redis_bytes(server):
    """Bytes that Redis received (with this question) and sent (without this answer); the answer's
    length."""
    with connect(server.address) as sock:
        sock.sendall(b"INFO stats\r\n")
        with sock.makefile("rb") as stream:
            length = int(stream.readline()[1:])
            text = stream.read(length + 2).decode()
    figures = dict(re.findall(r"^total_net_(\w+)_bytes:(\d+)\r$", text, re.M))
    return int(figures["input"]), int(figures["output"]), len(f"${length}\r\n") + length + 2


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(start, redis, pipeline):
    """Both backends are the same server, over TCP and over its Unix socket."""
    daemon = start(Daemon(service("redis") + pool(
        "redis", [redis.address, redis.unix_address], scheduler="rr")))
    host, port = split(daemon.address("redis"))
    received, sent, answer = redis_bytes(redis)

    requests = amount(4000, 1000) * min(pipeline, 4)
    result = run(["redis-benchmark", "-h", host, "-p", port, "-n", requests, "-c", 20,
                  "-P", pipeline, "--csv"])
    tests = re.findall(r'^"([^"]+)","([\d.]+)"', result.stdout, re.M)
    assert len(tests) >= 20 and all(float(rate) > 0 for _, rate in tests), result.stdout
    assert "rror" not in result.stdout + result.stderr, result.stdout + result.stderr

    row = daemon.check_accounts("redis")
    assert row["connections_refused"] == 0 and row["connections_total"] >= 20 * len(tests)
    now_received, now_sent, _ = redis_bytes(redis)
    assert row["bytes_in"] == now_received - received - len("INFO stats\r\n")
    assert row["bytes_out"] == now_sent - sent - answer
    assert all(daemon.backend("redis", name)["bytes_out"] > 0 for name in "ab")


def test_redis_values(start, redis):
    """A value of 8 MB, byte by byte the same through the balancer."""
    daemon = start(Daemon(service("redis") + pool("redis", [redis.address])))
    host, port = split(daemon.address("redis"))
    value = bytes(range(256)) * (amount(32, 4) << 10)
    run(["redis-cli", "-h", host, "-p", port, "SET", "small", "a value"])
    assert run(["redis-cli", "-h", host, "-p", port, "GET", "small"]).stdout == "a value\n"
    with connect(daemon.address("redis")) as sock, sock.makefile("rwb") as stream:
        stream.write(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%b\r\n" % (len(value), value))
        stream.flush()
        assert stream.readline() == b"+OK\r\n"
        stream.write(b"GET big\r\n")
        stream.flush()
        assert stream.readline() == b"$%d\r\n" % len(value)
        assert stream.read(len(value)) == value


# --- PostgreSQL ---

CLIENTS = 8


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture
def database(start, postgres):
    """The daemon before PostgreSQL, and the words that lead a client to it."""
    daemon = start(Daemon(service("db") + pool("db", [postgres.address],
                                               checks={"tcp": {"interval": "500ms"}})))
    host, port = split(daemon.address("db"))
    where = ["-h", host, "-p", port, "-U", "test"]
    run(["pgbench", *where, "-i", "-q", "-s", 1, "postgres"])
    return daemon, where


@pytest.mark.parametrize("mode", ["tpc-b", "select", "tpc-b, new connections"])
def test_pgbench(database, mode):
    daemon, where = database
    each = {"tpc-b": amount(250, 50), "select": amount(1500, 200)}.get(mode, amount(40, 10))
    result = run(["pgbench", *where, "-n", "-c", CLIENTS, "-j", 2, "-t", each,
                  *(["-S"] if mode == "select" else []), *(["-C"] if "new" in mode else []),
                  "postgres"])
    done = CLIENTS * each
    assert f"transactions actually processed: {done}/{done}" in result.stdout, result.stdout
    assert "failed transactions: 0 (" in result.stdout, result.stdout

    kept = run(["psql", *where, "-At", "-c", "select count(*), coalesce(sum(delta), 0) = "
                "(select sum(abalance) from pgbench_accounts) from pgbench_history", "postgres"])
    assert kept.stdout == f"{0 if mode == 'select' else done}|t\n"
    row = daemon.check_accounts("db")
    assert row["connections_refused"] == 0
    assert row["connections_total"] >= (done if "new" in mode else CLIENTS)
    assert set(name for name, count in row["ended_by"].items() if count) <= {
        "client_fin", "backend_fin"}
