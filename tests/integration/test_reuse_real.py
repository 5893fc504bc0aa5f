"""Connection reuse between real clients and real servers: nginx under ab and wrk, Redis under its
benchmark and its Python client, memcached under its."""

import re
import socket
import struct
import threading

import pymemcache
import pytest
import redis as redis_client

from peers import Worker
from sluice import WAIT, Daemon, amount, connect, pool, run, service, split, wait_for
from software import Memcached, Nginx, Redis

FILE = bytes(range(256)) * 16
CLIENTS = 20


def reusing(start, server, framing, backend=None, reuse=None, **options):
    """A daemon that lends its connections to the server request by request."""
    section = {"mode": "request", "framing": framing, **(reuse or {})}
    backends = {"a": {"address": server.address, **(backend or {})}}
    return start(Daemon(service("t") + pool("t", backends, reuse=section, **options)))


def at_rest(daemon):
    """The backend's figures, when no session is left."""
    daemon.check_accounts("t")
    row = daemon.backend("t", "a")
    assert row["upstreams_lent"] == row["upstreams_pinned"] == 0, row
    assert row["stray_bytes"] == row["ambiguous"] == 0 and row["reuse_trouble"] == "none", row
    return row


def many(function, count=CLIENTS):
    """function(0), function(1), … at the same time; their values."""
    workers = [Worker(function, nth) for nth in range(count)]
    return [worker.result() for worker in workers]


# --- nginx ---


@pytest.fixture(scope="module")
def nginx():
    with Nginx({"file": FILE}, server="location = /status { stub_status; }") as server:
        yield server


def status(server):
    """Connections now, and accepted ever: without the one that asks."""
    with connect(server.address) as sock:
        sock.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: sock.recv(4096), b"")).decode()
    now, accepted = re.search(r"Active connections: (\d+) \n.*\n (\d+) ", text).groups()
    return int(now) - 1, int(accepted) - 1


def check_ab(result, requests):
    assert re.search(rf"^Complete requests: +{requests}$", result.stdout, re.M), result.stdout
    assert re.search(r"^Failed requests: +0$", result.stdout, re.M), result.stdout
    assert re.search(rf"^HTML transferred: +{requests * len(FILE)} bytes$", result.stdout, re.M)
    assert "Non-2xx" not in result.stdout, result.stdout


@pytest.mark.parametrize("keepalive", [True, False], ids=["keepalive", "close"])
def test_ab(start, nginx, keepalive):
    daemon = reusing(start, nginx, "http1")
    requests = amount(10_000, 2000)
    check_ab(run(["ab", "-q", "-n", requests, "-c", 32, *(["-k"] if keepalive else []),
                  f"http://{daemon.address('t')}/file"]), requests)
    row = at_rest(daemon)
    # ab opens connections ahead on which it then asks for nothing.
    assert row["requests_total"] == requests and row["upstreams_opened"] <= 64, row


@pytest.mark.parametrize("keepalive", [True, False], ids=["keepalive", "close"])
def test_wrk(start, nginx, keepalive):
    daemon = reusing(start, nginx, "http1")
    headers = [] if keepalive else ["-H", "Connection: close"]
    result = run(["wrk", "-t", 2, "-c", 64, "-d", amount("5s", "1s"), *headers,
                  f"http://{daemon.address('t')}/file"])
    requests = int(re.search(r"^ +(\d+) requests in", result.stdout, re.M)[1])
    assert requests > 100, result.stdout
    assert "Socket errors" not in result.stdout and "Non-2xx" not in result.stdout, result.stdout
    row = at_rest(daemon)
    # It leaves amid a request on each of its connections.
    assert row["upstreams_opened"] <= 2 * 128 and row["upstreams_reused"] > requests / 2, row


def test_ten_thousand_clients(start, nginx):
    """Each worker opens a connection only while all of its own are asked on, so with 16 clients at
    a time it needs no more than 16, which it may all keep."""
    daemon = reusing(start, nginx, "http1", reuse={"max_idle": 16})
    _, before = status(nginx)
    check_ab(run(["ab", "-q", "-n", 10_000, "-c", 16, f"http://{daemon.address('t')}/file"]),
             10_000)
    row = at_rest(daemon)
    _, after = status(nginx)
    assert after - before - 1 <= 2 * 16, after - before
    assert row["requests_total"] == 10_000 and row["upstreams_reused"] >= 10_000 - 2 * 16, row
    assert row["upstreams_idle"] <= 2 * 16, row


def test_ten_thousand_clients_queue(start, nginx):
    """With a limit as small as that, nginx never sees more connections; workers take places from
    each other, so some are opened anew."""
    daemon = reusing(start, nginx, "http1", backend={"max_connections": 16}, queue=1000,
                     reuse={"max_idle": 16})
    idle, before = status(nginx)
    peak, over = [], threading.Event()

    def watch(_):
        while not over.is_set():
            peak.append(status(nginx)[0])
    watcher = Worker(watch, None)
    try:
        check_ab(run(["ab", "-q", "-n", 10_000, "-c", 64, f"http://{daemon.address('t')}/file"]),
                 10_000)
    finally:
        over.set()
        watcher.result()
    row = at_rest(daemon)
    # A connection that is closed for another's sake may still be on nginx's list.
    assert max(peak) - idle <= 16 + 2, max(peak)
    assert row["upstreams_opened"] < 10_000 / 3 and row["upstreams_idle"] <= 16, row


# --- Redis ---


@pytest.fixture(scope="module")
def redis():
    with Redis() as server:
        yield server


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(start, redis, pipeline):
    daemon = reusing(start, redis, "resp", reuse={"handshake": "key"})
    host, port = split(daemon.address("t"))
    result = run(["redis-benchmark", "-h", host, "-p", port, "-n", amount(20_000, 2000), "-c", 50,
                  "-P", pipeline, "--csv"])
    tests = re.findall(r'^"([^"]+)","([\d.]+)"', result.stdout, re.M)
    assert len(tests) >= 20 and all(float(rate) > 0 for _, rate in tests), result.stdout
    assert "rror" not in result.stdout + result.stderr, result.stdout + result.stderr
    row = at_rest(daemon)
    # It asks for the configuration first, twice at most: CONFIG owns its connection.
    assert row["pins"] <= 2 and row["upstreams_opened"] < 50 * len(tests) / 2, row


def connections(server):
    """That Redis has accepted so far, without this one."""
    with connect(server.address) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"INFO stats\r\n")
        text = stream.read(int(stream.readline()[1:]))
    return int(re.search(rb"total_connections_received:(\d+)", text)[1]) - 1


def hang_up(client):
    client.connection_pool.disconnect()


@pytest.fixture
def through(start, redis):
    """through(nth): a client of its own of Redis, by way of .daemon; each of the names and
    databases is for several clients."""
    daemon = reusing(start, redis, "resp", reuse={"handshake": "key"})
    host, port = split(daemon.address("t"))
    made = []

    def make(nth):
        made.append(redis_client.Redis(host, port, db=nth % 3, socket_timeout=60,
                                       client_name=f"name{nth % 2}"))
        return made[-1]
    make.daemon = daemon
    with connect(redis.address) as sock:
        sock.sendall(b"FLUSHALL\r\n")
        assert sock.recv(100) == b"+OK\r\n"
    yield make
    for client in made:
        hang_up(client)


def test_redis_values(redis, through):
    """Everybody has his own values, of all sizes, in his own database."""
    before = connections(redis)
    rounds = amount(60, 15)

    def one(nth):
        for turn in range(rounds):
            client = through(nth)
            mine = {f"{nth}:{size}": bytes([nth]) * size for size in (1, 5000, 200_000)}
            client.mset(mine)
            assert client.mget(list(mine)) == list(mine.values())
            assert client.get("where") in (None, b"%d" % (nth % 3))
            client.set("where", nth % 3)
            client.rpush(f"list{nth}", turn)
            if turn == 0:
                assert client.client_getname() == f"name{nth % 2}"
            elif turn == rounds - 1:
                assert client.lrange(f"list{nth}", 0, -1) == [b"%d" % n for n in range(rounds)]
            hang_up(client)
    many(one)
    row = at_rest(through.daemon)
    # CLIENT GETNAME owned one connection of each.
    assert connections(redis) - before < CLIENTS * rounds / 3
    assert row["pins"] == CLIENTS and row["upstreams_reused"] > row["upstreams_opened"], row


def test_redis_transactions(through):
    """WATCH and MULTI keep their connection: no increment is lost, none is seen half done."""
    rounds = amount(40, 10)

    def add(pipe):
        value = int(pipe.get("sum") or 0)
        pipe.multi()
        pipe.set("sum", value + 1)
        pipe.incr("twin")

    def one(_):
        client = through(0)
        for _ in range(rounds):
            client.transaction(add, "sum")
            a, b = client.pipeline().get("sum").get("twin").execute()
            assert a == b
    many(one, 8)
    client = through(0)
    assert client.mget("sum", "twin") == [b"%d" % (8 * rounds)] * 2
    with client.pipeline() as pipe:  # one that is given up
        pipe.watch("sum")
        pipe.multi()
        pipe.set("sum", 0)
        pipe.reset()
    assert client.get("sum") == b"%d" % (8 * rounds)


def test_redis_blocking(through):
    """BLPOP waits on a connection of its own as long as it takes, while others ask and push."""
    def pop(nth):
        client = through(0)
        got = [client.blpop(f"queue{nth}", timeout=60) for _ in range(10)]
        return [int(value) for _, value in got]

    def push(nth):
        client = through(0)
        for value in range(10):
            client.rpush(f"queue{nth}", nth * 100 + value)
            assert client.echo(f"{nth}") == b"%d" % nth
    poppers = [Worker(pop, nth) for nth in range(10)]
    many(push, 10)
    assert [popper.result() for popper in poppers] == [
        [nth * 100 + value for value in range(10)] for nth in range(10)]


def receive(sock, size):
    data = bytearray()
    while len(data) < size and (got := sock.recv(1 << 20)):
        data += got
    return bytes(data)


@pytest.mark.parametrize("mode", ["request", "session"])
def test_redis_all_sent_first(start, redis, mode):
    """Who reads only when all is sent, more of both than kernels hold, is not waited for."""
    daemon = reusing(start, redis, "resp", reuse={"mode": mode})
    key, value, count = b"k" * 1000, b"v" * 1000, 30_000
    answer = b"$1000\r\n%s\r\n" % value
    with connect(daemon.address("t")) as sock:
        sock.sendall(b"SET %s %s\r\n" % (key, value))
        assert receive(sock, 5) == b"+OK\r\n"
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$1000\r\n%s\r\n" % key * count)
        assert receive(sock, count * len(answer)) == answer * count
    assert daemon.backend("t", "a")["pins"] == 1


def test_redis_half_closed(start, redis):
    """All that was asked before the end is answered, however long that takes."""
    daemon = reusing(start, redis, "resp")
    with connect(daemon.address("t")) as sock:
        sock.sendall(b"PING\r\n")
        assert receive(sock, 7) == b"+PONG\r\n"
        with redis.paused():
            sock.sendall(b"PING\r\nECHO again\r\n")
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(1)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        sock.settimeout(WAIT)
        assert receive(sock, 100) == b"+PONG\r\n$5\r\nagain\r\n"
    assert at_rest(daemon)["pins"] == 0


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["end", "reset"])
def test_redis_blocked_client_leaves(start, redis, leave):
    """Its connection is given up at once: it takes no element that comes later."""
    daemon = reusing(start, redis, "resp")
    with redis_client.Redis(*split(redis.address)) as direct:
        def waiting():
            return [one for one in direct.client_list() if one["cmd"] == "blpop"]
        sock = connect(daemon.address("t"))
        sock.sendall(b"BLPOP left 0\r\n")
        wait_for(waiting, what="it to wait")
        leave(sock)
        wait_for(lambda: not waiting(), timeout=1, what="Redis to be told")
        direct.lpush("left", "x")
        assert direct.llen("left") == 1
        direct.delete("left")


def test_redis_subscribers(through):
    """Messages come only to those who have subscribed, on connections that nobody else gets."""
    listener = through(0).pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=60)["type"] == "subscribe"

    def one(nth):
        client = through(0)
        for turn in range(20):
            client.publish("news", f"{nth}:{turn}")
            assert client.echo(f"{nth}:{turn}") == b"%d:%d" % (nth, turn)
    many(one, 10)
    heard = [listener.get_message(timeout=60)["data"].decode() for _ in range(200)]
    assert sorted(heard) == sorted(f"{nth}:{turn}" for nth in range(10) for turn in range(20))
    daemon = through.daemon
    assert daemon.backend("t", "a")["upstreams_pinned"] == 1
    listener.close()
    wait_for(lambda: daemon.backend("t", "a")["upstreams_pinned"] == 0, what="it to be closed")
    assert daemon.backend("t", "a")["upstreams_discarded_by"]["owned"] == 1


# --- memcached ---


@pytest.fixture(scope="module")
def memcached():
    with Memcached() as server:
        yield server


@pytest.mark.parametrize("noreply", [True, False], ids=["noreply", "reply"])
def test_memcached(start, memcached, noreply):
    daemon = reusing(start, memcached, "memcached")
    direct = pymemcache.Client(split(memcached.address), timeout=60)
    before = direct.stats()[b"total_connections"]
    rounds = amount(60, 15)

    def one(nth):
        for turn in range(rounds):
            client = pymemcache.Client(split(daemon.address("t")), timeout=60,
                                       default_noreply=noreply)
            mine = {f"{nth}:{size}": bytes([nth]) * size for size in (1, 5000, 200_000)}
            client.set_many(mine)
            assert client.get_many(list(mine)) == mine
            client.set(f"n{nth}", turn)
            client.incr(f"n{nth}", 1)
            assert int(client.get(f"n{nth}")) == turn + 1
            value, token = client.gets(f"n{nth}")
            assert client.cas(f"n{nth}", b"0", token, noreply=False) is True
            assert client.cas(f"n{nth}", b"1", token, noreply=False) is False
            client.delete(f"n{nth}")
            assert client.get(f"n{nth}") is None and value == b"%d" % (turn + 1)
            client.quit() if turn % 2 else client.close()
    many(one)
    row = at_rest(daemon)
    opened = direct.stats()[b"total_connections"] - before
    direct.close()
    assert opened < CLIENTS * rounds / 3, (opened, row)
    assert row["pins"] == 0 and row["upstreams_reused"] > 5 * row["upstreams_opened"], row
