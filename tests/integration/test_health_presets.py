"""Checks that know a protocol, against the real servers: who is up or down, and why; and what the
servers notice of being checked."""

import contextlib
import json
import os
import re
import socket
import threading

import pytest

from software import MariaDB, Memcached, Nginx, Postfix, Postgres, Redis, Sshd
from sluice import Daemon, Process, amount, connect, pool, run, service, split, wait_for

FAST = {"interval": "100ms", "timeout": "300ms", "rise": 1, "fall": 1}
LATE = "^no answer within 300 ms$"
CLOSED = "^closed by the backend$"
REFUSED = "^connect refused$"

has_postfix = os.geteuid() == 0 and Postfix.program.exists()
needs_postfix = pytest.mark.skipif(not has_postfix, reason="Postfix needs root, and no other mail "
                                   "server in its place")


def of_kinds(table):
    """Its names as parameters of a test."""
    return [pytest.param(name, marks=needs_postfix if name == "smtp" else []) for name in table]


def mariadb_with_user():
    server = MariaDB()
    server.sql("CREATE USER sluice")
    return server


class Kind:
    """A check, its server, and what that is to log: complaint never, trace once for each check."""

    def __init__(self, start, complaint, detail="", trace=None, **options):
        self.start, self.complaint, self.trace, self.options = start, complaint, trace, options
        self.reason = rf"^answered in [\d.]+ [um]s{detail}$"


KINDS = {
    "redis": Kind(Redis, "rror"),
    "postgresql": Kind(Postgres, "FATAL|ERROR|could not|incomplete|unexpected", ": logged in",
                       user="test"),
    "mysql": Kind(mariadb_with_user, "Aborted|denied|ERROR", ": logged in"),
    "smtp": Kind(Postfix, "lost connection|improper|rror|fatal",
                 trace="disconnect from .* ehlo=1 quit=1 commands=2$"),
    "ssh": Kind(Sshd, "rror|kex|banner", trace=r"Connection closed by .* \[preauth\]$"),
    "memcached": Kind(Memcached, "."),
}


def checked(name, kind, backends, **options):
    return service(name) + pool(name, backends, {kind: {**FAST, **options}})


def checks(daemon):
    """Rows of show checks, by pool and backend."""
    return {(row["pool"], row["backend"]): row for row in daemon.ctl_json("show checks")["checks"]}


def fits(row, health, reason):
    return row["health"] == health and re.search(reason, row["reason"])


def wait_check(daemon, health, reason, pool_name="s", backend="a"):
    """Waits until its health is that, and for that reason."""
    with describing(daemon):
        wait_for(lambda: fits(checks(daemon)[pool_name, backend], health, reason),
                 what=f"{pool_name}/{backend} to be {health} by {reason!r}")


@contextlib.contextmanager
def describing(daemon):
    """What fails inside says what checks show."""
    try:
        yield
    except AssertionError as error:
        rows = "\n".join(f"{row['pool']}/{row['backend']} {row['health']}: {row['reason']}"
                         for row in checks(daemon).values())
        raise AssertionError(f"{error}\n{rows}") from None


def wait_runs(daemon, count):
    """Waits until every check has been made that many times more."""
    def made():
        return {key: row["passed"] + row["failed"] for key, row in checks(daemon).items()}
    before = made()
    wait_for(lambda: all(n >= before[key] + count for key, n in made().items()),
             what=f"{count} more checks each")


# --- one server each, and the right one ---

@pytest.mark.parametrize("name", of_kinds(KINDS))
def test_life_of_a_server(start, name):
    """Up while it answers, and it does not mind; down while it stands still, though its kernel
    connects; down while it is gone; up again each time it is back."""
    kind = KINDS[name]
    server = start(kind.start())

    def config(**more):
        return (checked("s", name, [server.address], **kind.options, **more) +
                checked("plain", "tcp", [server.address]))
    daemon = start(Daemon(config(timeout="20s")))  # on a busy machine, too
    wait_check(daemon, "up", kind.reason)
    wait_runs(daemon, 10)
    row = checks(daemon)["s", "a"]
    assert (row["checks"], row["failed"]) == (name, 0) and row["latency_us"] > 0, row
    assert daemon.backend("s", "a")["state"] == "up"
    if kind.trace:
        wait_for(lambda: len(re.findall(kind.trace, server.log(), re.M)) >= row["passed"],
                 what="a line of its log for each check")
    log = server.out() + server.log()
    assert not re.search(kind.complaint, log), log

    daemon.reload(config())
    with server.paused():
        wait_check(daemon, "down", LATE)
        before = checks(daemon)["plain", "a"]["passed"]
        wait_for(lambda: checks(daemon)["plain", "a"]["passed"] > before, what="a connection")
        wait_check(daemon, "up", "^connected in ", "plain")
    wait_check(daemon, "up", kind.reason)
    server.kill()
    wait_check(daemon, "down", REFUSED)
    wait_check(daemon, "down", REFUSED, "plain")
    server.restart()
    wait_check(daemon, "up", kind.reason)
    wait_check(daemon, "up", "^connected in ", "plain")


# --- another server than was thought ---

SPEAKS_FIRST = {"mysql": 'got ".*MariaDB', "smtp": r'got "220 mail\.test ESMTP Postfix',
                "ssh": r'got "SSH-2\.0-OpenSSH'}
ANSWERS = {
    ("redis", "postgresql"): CLOSED,
    ("redis", "memcached"): 'got "ERROR"',
    ("redis", "http"): r'got "HTTP/1\.1 400 Bad Request',
    ("postgresql", "http"): r'^no PostgreSQL answer: got "HTTP/1\.1 400 Bad Request',
    ("memcached", "redis"): "got \"-ERR unknown command 'version'",
    ("memcached", "postgresql"): CLOSED,
    ("memcached", "http"): r'got "HTTP/1\.1 400 Bad Request',
}


def test_wrong_servers(start):
    """Each check of each other server fails, and quotes what it got, if it got anything."""
    kinds = {name: kind for name, kind in KINDS.items() if name != "smtp" or has_postfix}
    servers = {name: start(kind.start()) for name, kind in kinds.items() if name != "ssh"}
    servers["ssh"], servers["http"] = start(Sshd("MaxStartups=1000")), start(Nginx({}))
    addresses = {name: server.address for name, server in servers.items()}
    daemon = start(Daemon("".join(checked(name, name, addresses, **kind.options)
                                  for name, kind in kinds.items())))
    for name, kind in kinds.items():
        for server in servers:
            if server == name:
                wait_check(daemon, "up", kind.reason, name, server)
            else:
                reason = SPEAKS_FIRST.get(server) or ANSWERS.get((name, server), LATE)
                wait_check(daemon, "down", reason, name, server)


# --- servers that answer, while not all is well ---

FULL = {
    "redis": (lambda: Redis("--maxclients", 6), 'got "-ERR max number of clients reached'),
    "mysql": (lambda: MariaDB("--max-connections=10"), '^error 1040 "Too many connections"$'),
    "smtp": (lambda: Postfix(smtpd_client_connection_count_limit=6),
             r'got "421 4\.7\.0 mail\.test Error: too many connections'),
    "ssh": (lambda: Sshd("MaxStartups=6"), 'got "Exceeded MaxStartups'),
    "memcached": (lambda: Memcached("-t", 1, "-c", 32), 'got "ERROR Too many open connections'),
}


@pytest.mark.parametrize("name", of_kinds(FULL))
def test_full_servers(start, name):
    """A server that has no place for another client is down, by its own words, until it has."""
    make, reason = FULL[name]
    server = start(make())
    daemon = start(Daemon(checked("s", name, [server.address])))
    wait_check(daemon, "up", "^answered in ")
    with contextlib.ExitStack() as held, describing(daemon):
        def hold_one_more():
            sock = held.enter_context(connect(server.address))
            if name in SPEAKS_FIRST:
                sock.recv(100)  # it has counted us
            return fits(checks(daemon)["s", "a"], "down", reason)
        wait_for(hold_one_more, what="the server to be full")
    wait_check(daemon, "up", "^answered in ")


def ask_redis(server, words):
    """The first line of its answer."""
    with connect(server.address) as sock, sock.makefile("rwb") as stream:
        stream.write(f"{words}\r\n".encode())
        stream.flush()
        return stream.readline().decode().rstrip()


def test_redis_of_no_use(start):
    """A replica that has lost its primary and must not serve stale data; a password is no news."""
    server = start(Redis())
    daemon = start(Daemon(checked("s", "redis", [server.address])))
    wait_check(daemon, "up", "^answered in ")
    assert ask_redis(server, "CONFIG SET replica-serve-stale-data no") == "+OK"
    assert ask_redis(server, "REPLICAOF 127.0.0.1 1") == "+OK"
    wait_check(daemon, "down", 'got "-MASTERDOWN Link with MASTER is down')
    assert ask_redis(server, "REPLICAOF NO ONE") == "+OK"
    wait_check(daemon, "up", "^answered in ")
    assert ask_redis(server, "CONFIG SET requirepass secret") == "+OK"
    assert ask_redis(server, "PING").startswith("-NOAUTH")
    wait_runs(daemon, 3)
    wait_check(daemon, "up", "^answered in ")


def by_user(kind, address, users):
    """A pool of one server under many names, each with the check of a user of that name. users:
    what else is told to it."""
    text = service("s") + pool("s", dict.fromkeys(users, address))
    for name, more in users.items():
        options = {**FAST, "user": name, **more}
        lines = " ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        begin = f'backend "{name}" {{'
        text = text.replace(begin, f'{begin} check "{kind}" {{ {lines} }}')
    return text


def test_postgresql_and_its_users(start):
    """To turn a login away is an answer; to have no place for it is none."""
    server = start(Postgres())
    hba = server.folder / "data" / "pg_hba.conf"
    hba.write_text(f"host all asked all scram-sha-256\n{hba.read_text()}")
    run(["psql", "-h", server.folder, "-p", split(server.address)[1], "-U", "test", "-c",
         "SELECT pg_reload_conf()", "-c", "CREATE ROLE asked LOGIN PASSWORD 'x'",
         "-c", "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0", "postgres"])
    daemon = start(Daemon(by_user("postgresql", server.address,
                                  dict.fromkeys(["test", "asked", "nobody", "crowd"], {}))))
    wait_check(daemon, "up", "logged in$", backend="test")
    wait_check(daemon, "up", "asks for a password$", backend="asked")
    wait_check(daemon, "up", 'refuses the user, error 28000 "role .*nobody.* does not exist"$',
               backend="nobody")
    wait_check(daemon, "down", '^error 53300 "too many connections for role', backend="crowd")


# --- MariaDB, which blocks hosts ---

USERS = {
    "nobody": (None, "refuses the user, error 1045"),
    "open": ("", "logged in$"),
    "native": ("IDENTIFIED BY 'x'", "refuses the user, error 1045"),
    "modern": ("IDENTIFIED VIA ed25519 USING PASSWORD('x')", "refuses the user, error 1045"),
    "either": ("IDENTIFIED VIA ed25519 USING PASSWORD('x') OR mysql_native_password "
               "USING PASSWORD('y')", "refuses the user, error 1045"),
    "local": ("IDENTIFIED VIA unix_socket", "refuses the user, error 1698"),
    "locked": ("ACCOUNT LOCK", "refuses the user, error 4151"),
    "safe": ("REQUIRE SSL", "refuses the user, error 1045"),
    "stale": ("PASSWORD EXPIRE", "logged in$"),
}
ERRORS_MAX = 10


def ask_from(source, server, folder):
    """What a real client sees who comes from that address."""
    path = folder / f"{source}.sock"
    words = ["socat", f"UNIX-LISTEN:{path},fork", f"TCP:{server.address},bind={source}"]
    with Process(words) as relay:
        relay.ready_when(path.exists)
        answer = server.sql("SELECT 'welcome'", user="client", path=path, check=False)
    path.unlink(missing_ok=True)
    return answer


def test_mysql_blocks_nobody(start, folder):
    """However a login ends, MariaDB does not count it as a failure to connect, of which it takes a
    few only, and then nothing more from that host. Nor does it mind that checks did not wait for
    it. One that leaves without a login is there to show that it can."""
    sources = {name: f"127.0.0.{10 + nth}" for nth, name in enumerate([*USERS, "rude"])}
    server = start(MariaDB(f"--max-connect-errors={ERRORS_MAX}", "--performance-schema=ON",
                           hosts={source: f"{name}.test" for name, source in sources.items()}))
    server.sql("INSTALL SONAME 'auth_ed25519'", "CREATE USER client", *(
        f"CREATE USER {name} {how}" for name, (how, _) in USERS.items() if how is not None))

    def config(timeout):
        times = {"interval": "50ms", "timeout": timeout}
        return (by_user("mysql", server.address,
                        {name: {"source": sources[name], **times} for name in USERS}) +
                service("r") + pool("r", [server.address], {"expect": {
                    **FAST, **times, "source": sources["rude"], "steps": ["expect MariaDB"]}}))

    def counted():
        rows = server.sql("SELECT host, sum_connect_errors FROM performance_schema.host_cache")
        return {host: int(errors) for host, errors in map(str.split, rows.splitlines())}

    def look():
        for name, (_, reason) in USERS.items():
            wait_check(daemon, "up", reason, backend=name)
        wait_check(daemon, "down", "is blocked", "r")
        for name in "nobody", "modern":
            assert ask_from(sources[name], server, folder) == "welcome\n"
        assert "blocked because of many connection errors" in ask_from(
            sources["rude"], server, folder)
    # A check that is cut off amid a login would be counted, and rightly so.
    daemon = start(Daemon(config("20s")))
    wait_runs(daemon, amount(40, 15))
    look()
    assert counted() == {**{f"{name}.test": 0 for name in USERS}, "rude.test": ERRORS_MAX}
    aborted = re.findall(r"^.*Aborted connection.* host: '(\S+)'", server.log(), re.M)
    assert set(aborted) <= {"rude.test", sources["rude"]}
    with server.paused():
        daemon.reload(config("100ms"))
        wait_runs(daemon, ERRORS_MAX + 5)
        wait_check(daemon, "down", "^no (answer|connection) within 100 ms$",
                   backend="modern")
        daemon.reload(config("20s"))
    look()


# --- of every kind ---

CONNECTING = ("tcp", "http", "expect", "redis", "postgresql", "mysql", "smtp", "ssh", "memcached")


class Listener:
    """Hangs up on each client, and keeps where each came from."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = "%s:%d" % self.socket.getsockname()
        self.sources = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, (host, _) = self.socket.accept()
                self.sources.append(host)
                client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


def test_source(start):
    """Every check connects from where it is told to; from where it cannot, it does not, and that
    says nothing about the backend."""
    more = {"expect": {"steps": ["expect x"]}}
    listeners = {kind: start(Listener()) for kind in CONNECTING}
    daemon = start(Daemon("".join(
        checked(f"{name}-{kind}", kind, [listener.address], source=source, **more.get(kind, {}))
        for kind, listener in listeners.items()
        for name, source in (("near", "127.0.0.9"), ("far", "192.0.2.1")))))
    for kind, listener in listeners.items():
        if kind == "tcp":  # over before accept() returns
            wait_check(daemon, "up", "^connected in ", "near-tcp")
        else:
            wait_check(daemon, "down", "closed", f"near-{kind}")
            assert set(listener.sources) == {"127.0.0.9"}, kind
        row = checks(daemon)[f"far-{kind}", "a"]
        assert (row["health"], row["passed"], row["failed"]) == ("unknown", 0, 0), row
    assert re.search("postponed.* reason=.Cannot assign requested address", daemon.log())


def test_end_amid_answers(start):
    """A daemon that ends while checks are under way leaves nothing behind."""
    redis, memcached = start(Redis()), start(Memcached())
    daemon = start(Daemon("".join(
        checked(f"{kind}{nth}", kind, [server.address], interval="50ms", timeout=f"{1000 + nth}ms")
        for kind, server in (("redis", redis), ("memcached", memcached)) for nth in range(150))))
    wait_for(lambda: all(row["health"] == "up" for row in checks(daemon).values()),
             what="all to be up")
    daemon.stop()
