"""The control socket of a running daemon: every command, who may do what, rude clients."""

import contextlib
import json
import os
import pathlib
import pwd
import re
import select
import signal
import socket
import time

import pytest

from peers import Worker
from sluice import (SLUICECTL, CtlError, Daemon, Load, Origin, amount, connect, load, memory, pool,
                    run, service, wait_for)

NOBODY = pwd.getpwnam("nobody")
DAEMON_USER = pwd.getpwnam("daemon")


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", names=["a", "b"]))


@pytest.fixture
def daemon(start, origin):
    return start(Daemon(web(origin)))


def web(origin, **options):
    return service("web") + pool("web", dict(zip("ab", origin.addresses)), scheduler="rr",
                                 **options)


def sluicectl(daemon, *words, socket_path=None, check=False, **options):
    return run([SLUICECTL, "-s", socket_path or daemon.control, *words], check=check, **options)


def spread(daemon, count=10):
    """Which origins answer so many requests."""
    return load("crc", daemon.address("web"), "--requests", count)["origins"]


def raw(daemon, data, timeout=30):
    """What comes back until the daemon closes, after our end."""
    with connect(f"unix:{daemon.control}", timeout) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            return stream.read().decode()


def change(daemon, words):
    """Runs a command, and waits until every worker knows."""
    reply = daemon.ctl_json(words)
    wait_for(lambda: all(row["generation"] >= reply["generation"]
                         for row in daemon.ctl_json("show workers")["workers"]),
             what="workers to take the change")
    return reply


# --- every command ---

def every_command(daemon):
    return [row["words"] for row in daemon.ctl_json("help")["commands"]]


ARGUMENTS = {
    "set backend": "web a weight=3",
    "drain backend": "web a",
    "ready backend": "web a",
    "maintain backend": "web a",
    "help": "show",
}
AT_THE_END = ["stop", "upgrade", "rollback", "confirm"]  # or in tests of their own


def test_every_command_as_text_and_as_json(start, daemon):
    """Also those not known here: without arguments they answer, or say their usage."""
    start(connect(daemon.address("web")))  # so that the lists are not empty
    commands = every_command(daemon)
    assert {"show stats", "set backend", "reload", "stop", "help"} <= set(commands)
    for command in [name for name in commands if name not in AT_THE_END]:
        words = f"{command} {ARGUMENTS.get(command, '')}".strip()
        for line in words, f"{words} json":
            as_json = line.endswith("json")
            reply = raw(daemon, f"{line}\n".encode())
            assert reply.endswith("\n\n") and reply.count("\n\n") == 1, (line, reply)
            by_ctl = sluicectl(daemon, *line.split())
            if as_json:
                assert reply.count("\n") == 2, reply
                value = json.loads(reply)
                usage = value.get("code") == "usage"
                assert by_ctl.returncode == (2 if usage else 1 if "error" in value else 0)
                if by_ctl.returncode == 0:
                    json.loads(by_ctl.stdout)
            else:
                usage = reply.startswith("error: bad usage: ")
                refused = reply.startswith("error: ")
                assert by_ctl.returncode == (2 if usage else 1 if refused else 0), by_ctl
            if command in ARGUMENTS or not reply.startswith(("error: ", '{"error"')):
                assert by_ctl.returncode == 0 and by_ctl.stderr == "", by_ctl
            else:
                assert "usage: " in reply, reply
            if as_json:
                flag = sluicectl(daemon, "--json", *words.split())
                assert flag.returncode == by_ctl.returncode, flag


def test_json_names_of_stats_match_the_text(daemon):
    stats = daemon.stats()
    assert [row["name"] for row in stats["pools"][0]["backends"]] == ["a", "b"]
    text = daemon.ctl("show stats")
    for word in "web", stats["pools"][0]["scheduler"], stats["version"]:
        assert word in text


def test_several_requests_on_one_connection(daemon):
    replies = raw(daemon, b"show workers json\n\nshow nonsense\nshow pools json\r\nhelp help\n")
    parts = replies.split("\n\n")
    assert len(parts) == 5 and parts[-1] == "", replies
    assert len(json.loads(parts[0])["workers"]) == 2
    assert parts[1].startswith("error: bad usage: unknown command: show nonsense")
    assert json.loads(parts[2])["pools"][0]["name"] == "web"
    assert "help" in parts[3]


def test_socat_is_enough(daemon):
    result = run(["sh", "-c", f'echo "show pools" | socat - UNIX:{daemon.control}'])
    assert result.stdout.startswith("NAME") and result.stdout.endswith("\n\n")
    assert re.search(r"^web +rr ", result.stdout, re.M), result.stdout


@pytest.mark.parametrize("line,needle", [
    ("show backend", 'did you mean "show backends"'),
    ("show backends wbe", "did you mean web"),
    ("set backend web a wieght=3", "did you mean weight="),
    ("set backend web a weight=3 weight=4", "twice"),
    ("set backend web a weight=-1", "weight"),
    ("set backend web a weight=65536", "65535"),
    ("set backend web", "usage: set backend POOL NAME"),
    ("set backend web a", "usage: set backend POOL NAME"),
    ("set backend nope a weight=3", "nope"),
    ("set backend web nope weight=3", "nope"),
    ("show sessions limit=0", "limit=0"),
    ("show sessions client=10.0.0.0/33", "client="),
    ("show sessions idle=soon", "idle="),
    ("show sessions backend=web", "POOL/NAME"),
    ("show events since=1h since=2h", "twice"),
    ('show "', "quot"),
    ("check config relative.conf", "absolute"),
])
def test_refusals_say_what_is_wrong(daemon, line, needle):
    with pytest.raises(CtlError, match=re.escape(needle)):
        daemon.ctl(line)
    if not line.endswith('"'):
        with pytest.raises(CtlError, match=re.escape(needle)):
            daemon.ctl_json(line)
    assert daemon.stats()["generation"] == 1


def test_json_alone(daemon):
    assert "no command" in json.loads(raw(daemon, b"json\n"))["error"]


def test_exit_codes_of_sluicectl(daemon, folder):
    done = sluicectl(daemon, "show", "info")
    assert (done.returncode, done.stderr) == (0, "")
    refused = sluicectl(daemon, "set", "backend", "web", "a", "weight=heavy")
    assert (refused.returncode, refused.stdout) == (1, "") and refused.stderr.startswith("error: ")
    refused = sluicectl(daemon, "--json", "show", "backends", "x")
    assert refused.returncode == 1 and json.loads(refused.stderr).keys() == {"error"}
    assert json.loads(sluicectl(daemon, "show", "pools", "--json").stdout)["pools"]
    refused = sluicectl(daemon, "show", "backends", "x")
    assert refused.stderr == "error: there is no pool x; known: web\n"
    for words, right in [
            ([], "Usage: sluicectl"), (["--nonsense", "show"], "--nonsense"), (["-s"], "SOCKET"),
            (["show", "a\nb"], "control characters"), (["shwo", "pools"], 'mean "show pools"'),
            (["show"], "help show"), (["drain", "backend", "web"], "drain backend POOL NAME"),
            (["show", "pools", "x"], "usage: show pools"), (["save"], "usage: save FILE"),
            (["save", folder / "x", "y"], "usage: save FILE"), (["show", "info", "--exit-code"], ""),
            (["health", "--exit-code", "web", "x"], "usage: health"),
            (["drain", "backend", "web", "a", "witin=5s"], "did you mean within="),
            (["set", "backend", "web", "a"], "option=value"),
            (["close", "sessions"], "backend=POOL/NAME")]:
        usage = sluicectl(daemon, *words)
        assert (usage.returncode, usage.stdout) == (2, ""), (words, usage)
        assert usage.stderr.startswith("error: bad usage: ") and right in usage.stderr, words
        usage = sluicectl(daemon, "--json", *words)
        answer = json.loads(usage.stderr)
        assert usage.returncode == 2 and answer["code"] == "usage", words
        assert answer["error"].startswith("bad usage: "), words
    assert not (folder / "x").exists()
    for path in folder / "nobody.sock", folder:
        missing = sluicectl(daemon, "show", "info", socket_path=path)
        assert (missing.returncode, missing.stdout) == (3, "") and str(path) in missing.stderr
    assert "man sluicectl" in sluicectl(daemon, "help", socket_path=folder / "nobody.sock").stderr
    by_environment = run([SLUICECTL, "show", "pools"],
                         env={**os.environ, "SLUICE_SOCKET": str(daemon.control)})
    assert "web" in by_environment.stdout
    assert run([SLUICECTL, "-h"]).stdout.startswith("Usage:")
    assert "sluicectl" in run([SLUICECTL, "-V"]).stdout


def test_words_with_spaces(daemon):
    sluicectl(daemon, "set", "backend", "web", "a", "weight=2", 'why=two "words" \\ more',
              check=True)
    assert daemon.ctl_json("show events")["events"][-1]["why"] == 'two "words" \\ more'
    daemon.ctl(r'set backend web a weight=3 why="quoted \"here\""')
    assert daemon.ctl_json("show events")["events"][-1]["why"] == 'quoted "here"'


def test_help_narrows(daemon):
    words = [row["words"] for row in daemon.ctl_json("help show")["commands"]]
    assert words == [name for name in every_command(daemon) if name.startswith("show ")]
    assert len(daemon.ctl_json("help show stats")["commands"]) == 1
    assert all(row["help"] and row["usage"] for row in daemon.ctl_json("help")["commands"])


# --- who may ---

def as_user(user, daemon, *words):
    return run(["setpriv", "--reuid", user.pw_uid, "--regid", user.pw_gid, "--clear-groups",
                SLUICECTL, "-s", daemon.control, *words], check=False)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@needs_root
@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_levels(start, origin, user):
    """Each command by each level: allowed exactly from its own on, for one user and for a group."""
    # The workers run as another user: what the daemon's own user may does not come into play.
    entry = pwd.getpwnam(user)
    name = user if user == "nobody" else f"@{entry.pw_gid}"
    levels = ["read", "operate", "administer"]

    def settings(given):
        return {f"control_{level}": [name] if level == given else [] for level in levels}
    daemon = start(Daemon(web(origin), control_mode="0666", **settings(None)))
    commands = daemon.ctl_json("help")["commands"]
    for given in None, *levels:
        daemon.options.update(settings(given))
        daemon.write(web(origin))
        daemon.ctl("reload")
        for row in commands:
            if row["words"] in AT_THE_END:
                continue
            words = f"{row['words']} {ARGUMENTS.get(row['words'], '')}".split()
            result = as_user(entry, daemon, *words)
            allowed = given is not None and levels.index(row["level"]) <= levels.index(given)
            denied = result.returncode == 1 and "not allowed" in result.stderr
            assert denied == (not allowed), (given, row["words"], result)
            if denied:
                assert f"needs level {row['level']}" in result.stderr
                assert f"uid {entry.pw_uid}" in result.stderr
                assert f"control_{row['level']}" in result.stderr
    assert daemon.running()


@needs_root
def test_denied_changes_nothing_and_is_told(start, origin):
    daemon = start(Daemon(web(origin), control_mode="0666", control_read=["nobody"]))
    before = daemon.ctl("show config"), daemon.stats()["generation"]
    assert as_user(NOBODY, daemon, "show", "pools").returncode == 0
    for words in (["drain", "backend", "web", "a"], ["stop"], ["reload"], ["upgrade"],
                  ["set", "backend", "web", "a", "weight=0", "why=mischief", "force"],
                  ["check", "config", "/etc/passwd"]):
        assert as_user(NOBODY, daemon, *words).returncode == 1
    assert as_user(DAEMON_USER, daemon, "show", "pools").returncode == 1  # in no list
    assert (daemon.ctl("show config"), daemon.stats()["generation"]) == before
    refused = [event for event in daemon.ctl_json("show events")["events"]
               if event["kind"] == "refused"]
    assert len(refused) == 7
    assert all(f"uid {NOBODY.pw_uid}" in event["by"] for event in refused[:6])
    assert f"uid {DAEMON_USER.pw_uid}" in refused[6]["by"]
    assert 'msg="control request refused"' in daemon.log()


@needs_root
def test_mode_decides_who_connects(start, origin):
    daemon = start(Daemon(web(origin), control_mode="0600", control_read=["nobody"]))
    assert os.stat(daemon.control).st_mode & 0o777 == 0o600
    closed = as_user(NOBODY, daemon, "show", "pools")
    assert closed.returncode == 3 and "Permission denied" in closed.stderr
    daemon.options["control_mode"] = "0666"
    daemon.reload(web(origin))
    assert as_user(NOBODY, daemon, "show", "pools").returncode == 0


# --- rude clients ---

def check_serves(daemon):
    """Traffic and another control client go on, both without delay to speak of."""
    assert sum(spread(daemon, 6).values()) == 6
    began = time.monotonic()
    assert daemon.ctl_json("show info")["workers"] == 2
    return time.monotonic() - began


def test_thousand_clients(start, daemon):
    """More than have a place: those without use give theirs up, and all are served in the end."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(f"unix:{daemon.control}"))
                  for _ in range(amount(1000, 300))]
        assert check_serves(daemon) < 20
        for sock in silent[-20:]:
            sock.sendall(b"show info json\n")
        answered = 0
        for sock in silent[-20:]:
            with contextlib.suppress(ConnectionError):
                answered += sock.recv(65536).startswith(b"{")
        assert answered >= 10
    assert check_serves(daemon) < 20
    assert daemon.running()


def test_thousand_clients_that_all_ask(daemon):
    """Each gets its answer, however long the queue."""
    count = amount(1000, 300)

    def ask_all(many):
        return [raw(daemon, b"show pools json\n", 120) for _ in range(many)]
    replies = [reply for worker in [Worker(ask_all, count // 20) for _ in range(20)]
               for reply in worker.result()]
    assert len(replies) == count // 20 * 20
    assert all(json.loads(reply)["pools"][0]["name"] == "web" for reply in replies)


def test_endless_line(daemon):
    """Refused at 64 KiB, in words, and closed; master does not grow."""
    before = memory(daemon.pid)
    with connect(f"unix:{daemon.control}") as sock:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 64 << 20:
                sent += sock.send(b"x" * 65536)
        assert sent < 8 << 20, "the daemon reads on for ever"
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(65536).startswith(b"error: the request is longer than 65536 bytes")
    check_serves(daemon)
    assert memory(daemon.pid) < before + (8 << 20)


def test_longest_line(daemon):
    """The limit itself is allowed."""
    line = b'show pools "' + b"x" * (65536 - 20) + b'"\n'
    assert raw(daemon, line).startswith("error: bad usage: too many words")


def test_byte_at_a_time(daemon):
    """Served, meanwhile others are too."""
    with connect(f"unix:{daemon.control}") as sock:
        for byte in b"show pools json\n":
            sock.sendall(bytes([byte]))
            assert daemon.ctl_json("show info")["pid"] == daemon.pid
        assert json.loads(sock.recv(65536))["pools"][0]["name"] == "web"


def unfinished_line(daemon):
    """A byte now and then, but no end of the line. Returns what came, and after how long."""
    with connect(f"unix:{daemon.control}") as sock:
        began = time.monotonic()
        sock.sendall(b"show ")
        while not select.select([sock], [], [], 0.5)[0]:
            sock.sendall(b"x")
        with sock.makefile("rb") as stream:
            return stream.read(), time.monotonic() - began


def test_slow_clients_are_ended(daemon):
    """Who takes no byte of its replies for 10 s; and a request that is not complete by then."""
    unfinished = Worker(unfinished_line, daemon)
    before = memory(daemon.pid)
    with connect(f"unix:{daemon.control}", receive_buffer=4096) as sock:
        sock.setblocking(False)

        def stuck():
            try:
                sock.send(b"show stats json\n" * 1000)
            except BlockingIOError:
                return True
            return False
        wait_for(stuck, what="the daemon to stop reading requests")
        assert check_serves(daemon) < 10
        assert memory(daemon.pid) < before + (16 << 20)
        poll = select.poll()
        poll.register(sock, 0)
        assert poll.poll(40000), "never closed"
    reply, took = unfinished.result(60)
    assert reply == b"error: the request was not complete in time\n\n"
    assert took > 9
    assert check_serves(daemon) < 10


def test_garbage(daemon):
    """Bytes of every kind."""
    for data in (bytes(range(256)) * 100, b"\0" * 5000 + b"\n", b"\xff\xfe\n" * 3000,
                 b'"' * 60000 + b"\n", b"\\" * 60000 + b"\n", b" " * 60000 + b"\n", b"\n" * 60000):
        with contextlib.suppress(ConnectionError):
            raw(daemon, data)
    check_serves(daemon)


# --- changes take effect ---

def test_drain_ready_maintain(daemon):
    change(daemon, "drain backend web a")
    row = daemon.backend("web", "a")
    assert (row["state"], row["admin"], row["health"]) == ("draining", "drain", "up")
    assert spread(daemon) == {"b": 10}
    change(daemon, "ready backend web a")
    assert daemon.backend("web", "a")["state"] == "up"
    assert set(spread(daemon)) == {"a", "b"}
    change(daemon, "maintain backend web b")
    assert daemon.backend("web", "b")["state"] == "maintenance"
    assert spread(daemon) == {"a": 10}
    change(daemon, "ready backend web b")
    assert set(spread(daemon)) == {"a", "b"}


def test_drain_keeps_sessions(start):
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(web(origin)))
    socks = [start(connect(daemon.address("web"))) for _ in range(6)]
    wait_for(lambda: daemon.service("web")["connections_active"] == 6, what="every session")
    for words in "drain backend web a", "maintain backend web b force":
        change(daemon, words)
        for sock in socks:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
    assert [row["connections_active"] for row in daemon.stats()["pools"][0]["backends"]] == [3, 3]


def test_set_weight(daemon):
    change(daemon, "set backend web a weight=4")
    assert daemon.backend("web", "a")["effective_weight_permille"] == 4000
    change(daemon, "set backend web a weight=0")
    assert daemon.backend("web", "a")["state"] == "draining"
    assert spread(daemon) == {"b": 10}


def test_weight_shapes_the_spread(start, origin):
    daemon = start(Daemon(service("web") + pool("web", dict(zip("ab", origin.addresses)),
                                                scheduler="wrr"), workers=1))
    assert spread(daemon, 40) == {"a": 20, "b": 20}
    change(daemon, "set backend web a weight=4")
    assert spread(daemon, 40) == {"a": 32, "b": 8}


def test_set_max_connections(start):
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("web") + pool("web", {"a": origin.addresses[0]})))
    change(daemon, "set backend web a max_connections=1")
    first = start(connect(daemon.address("web")))
    wait_for(lambda: daemon.backend("web", "a")["state"] == "full", what="its only place")
    with pytest.raises(ConnectionError):
        with connect(daemon.address("web")) as sock:
            sock.sendall(b"x")
            assert not sock.recv(10)
            raise AssertionError("an end instead of a reset")
    first.close()
    change(daemon, "set backend web a max_connections=0")
    assert daemon.check_accounts("web")["refused_by"]["full"] == 1


def test_several_settings_are_all_or_nothing(daemon):
    with pytest.raises(CtlError):
        daemon.ctl("set backend web a weight=9 max_connections=x")
    assert daemon.backend("web", "a")["weight"] == 1
    reply = daemon.ctl_json("set backend web a weight=9 max_connections=20")
    assert len(reply["changes"]) == 2 and reply["generation"] == 2
    assert {row["option"] for row in reply["overrides"]} == {"weight", "max_connections"}


def test_a_change_that_changes_nothing(daemon):
    reply = daemon.ctl("ready backend web a")
    assert "nothing changed" in reply


@pytest.mark.parametrize("words", ["drain backend web a", "maintain backend web a",
                                   "set backend web a weight=0",
                                   "set backend web a admin=maintenance"])
def test_last_eligible_backend(daemon, words):
    """Refused with the service that it concerns, unless forced."""
    change(daemon, "drain backend web b")
    with pytest.raises(CtlError, match='last eligible backend of pool "web".*"web".*force'):
        daemon.ctl(words)
    assert spread(daemon) == {"a": 10}
    change(daemon, f"{words} force")
    assert daemon.backend("web", "a")["state"] in ("draining", "maintenance")
    with pytest.raises(ConnectionError):
        with connect(daemon.address("web")) as sock:
            sock.recv(1)
            raise AssertionError("an end instead of a reset")
    change(daemon, "ready backend web b")
    assert spread(daemon) == {"b": 10}


def test_last_eligible_counts_health(start, origin):
    """One that is down is none that could stand in."""
    closed = socket.socket()
    with closed:
        closed.bind(("127.0.0.1", 0))
        daemon = start(Daemon(service("web") + pool(
            "web", {"a": origin.addresses[0], "b": "127.0.0.1:%d" % closed.getsockname()[1]},
            checks={"tcp": {"interval": "50ms"}})))
        wait_for(lambda: [row["state"] for row in daemon.stats()["pools"][0]["backends"]]
                 == ["up", "down"], what="the first results")
        with pytest.raises(CtlError, match="last eligible"):
            change(daemon, "drain backend web a")
        change(daemon, "drain backend web b")  # takes nothing away


# --- the audit trail ---

def test_why_and_who(daemon):
    result = sluicectl(daemon, "drain", "backend", "web", "a", "why=disk is full", check=True)
    event = daemon.ctl_json("show events")["events"][-1]
    assert (event["kind"], event["pool"], event["backend"]) == ("admin", "web", "a")
    assert event["why"] == "disk is full" and re.search(rf"uid {os.geteuid()}\b", event["by"])
    assert re.search(r"pid \d+", event["by"]) and "drain" in event["text"]
    assert "disk is full" in result.stdout  # among the overrides that stand
    assert "disk is full" in daemon.backend("web", "a")["reason"]
    assert re.search(r"# override: .*admin = drain.*disk is full", daemon.ctl("show config"))
    assert abs(event["wall_ms"] / 1000 - time.time()) < 60

    with connect(f"unix:{daemon.control}") as sock:
        sock.sendall(b'set backend web a weight=5 why="one of us"\n')
        sock.recv(65536)
    event = daemon.ctl_json("show events")["events"][-1]
    assert event["why"] == "one of us" and f"pid {os.getpid()}" in event["by"]


def test_events_filters(daemon):
    daemon.ctl("set backend web a weight=2")
    daemon.ctl("set backend web b weight=3")
    daemon.ctl("set backend web a weight=4")
    def events(words=""):
        return daemon.ctl_json(f"show events {words}")["events"]
    assert [event["backend"] for event in events()][-3:] == ["a", "b", "a"]
    assert [event["backend"] for event in events("backend=web/a")] == ["a", "a"]
    assert [event["backend"] for event in events("backend=web/b limit=5")] == ["b"]
    assert len(events("limit=2")) == 2 and events("limit=2") == events()[-2:]
    assert events("since=1h") == events()
    assert events("backend=web/gone") == []
    ids = [event["id"] for event in events()]
    assert ids == sorted(set(ids))


# --- show sessions ---

@pytest.fixture
def many(start):
    """Three echo sessions on one service, two on another, and the daemon that has them."""
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(
        service("s") + pool("s", {"a": origin.addresses[0]})
        + service("t") + pool("t", {"b": origin.addresses[1]})))
    socks = [start(connect(daemon.address(name))) for name in "ssstt"]
    for sock in socks:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    return daemon, socks


def test_sessions_filters(many):
    daemon, socks = many

    def sessions(words=""):
        return daemon.ctl_json(f"show sessions {words}")["sessions"]
    rows = sessions()
    assert {row["client"] for row in rows} == {"%s:%d" % sock.getsockname() for sock in socks}
    assert len({row["id"] for row in rows}) == 5
    for row in rows:
        assert row["state"] == "open" and (row["bytes_in"], row["bytes_out"]) == (5, 5)
        assert (row["service"], row["pool"], row["backend"]) in {("s", "s", "a"), ("t", "t", "b")}
        assert 0 <= row["idle_ms"] <= row["age_ms"] < 600000
    assert [row["service"] for row in sessions("service=s")] == ["s"] * 3
    assert [row["backend"] for row in sessions("backend=t/b")] == ["b"] * 2
    assert len(sessions("limit=4")) == 4 and len(sessions("limit=1 service=t")) == 1
    assert len(sessions("client=127.0.0.0/8")) == 5
    assert sessions("client=10.0.0.0/8") == [] and sessions("client=::1/128") == []
    assert sessions("idle=1h") == []
    def idle():
        socks[0].sendall(b"more")
        assert socks[0].recv(10) == b"more"
        return len(sessions("idle=300ms")) == 4
    wait_for(idle, what="all but one to be idle")
    assert sessions("service=s backend=t/b") == []
    text = daemon.ctl("show sessions")
    assert text.count("\n") == 6 and text.startswith("ID ")
    socks[0].close()
    wait_for(lambda: len(sessions()) == 4, what="one to go")


def test_sessions_more_than_a_page(start):
    """More than fit into one message of a worker, and the default limit."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", origin.addresses)))
    holding = start(Load("hold", daemon.address("s"), "--connections", 700, "--duration", 600))
    holding.wait_output("^holding 700")
    wait_for(lambda: daemon.service("s")["connections_active"] == 700, what="every session")
    rows = daemon.ctl_json("show sessions limit=100000")["sessions"]
    assert len({row["id"] for row in rows}) == len(rows) == 700
    assert len(daemon.ctl_json("show sessions")["sessions"]) == 100
    assert len(daemon.ctl_json("show sessions limit=650")["sessions"]) == 650


def test_sessions_with_a_stuck_worker(many):
    """The answer comes within seconds, from those that answer, and says who did not."""
    daemon, _ = many
    rows = daemon.ctl_json("show workers")["workers"]
    stuck = max(rows, key=lambda row: row["connections_active"])
    os.kill(stuck["pid"], signal.SIGSTOP)
    daemon.killed.add(stuck["pid"])  # whenever master gets tired of it
    try:
        listing = Worker(daemon.ctl_json, "show sessions")
        as_text = Worker(daemon.ctl, "show sessions")
        began = time.monotonic()
        assert daemon.ctl_json("show info")["pid"] == daemon.pid  # others do not wait meanwhile
        assert time.monotonic() - began < 1.5
        reply = listing.result()
        assert time.monotonic() - began < 10
        if reply["silent_workers"]:
            assert reply["silent_workers"] == 1
            assert len(reply["sessions"]) == 5 - stuck["connections_active"]
            assert "1 worker did not answer in time" in as_text.result()
        else:  # it was found hanging, ended and replaced meanwhile
            assert daemon.workers()[stuck["id"]] != stuck["pid"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stuck["pid"], signal.SIGCONT)
    reply = daemon.ctl_json("show sessions")
    assert reply["silent_workers"] == 0
    if stuck["pid"] in daemon.workers():
        assert len(reply["sessions"]) == 5


def test_sessions_asker_that_leaves(many):
    """With a stuck worker, its request ends into nothing."""
    daemon, _ = many
    pid = daemon.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(20):
            with connect(f"unix:{daemon.control}") as sock:
                sock.sendall(b"show sessions\n")
        reply = daemon.ctl_json("show sessions")
        assert reply["silent_workers"] <= 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    # On a slow machine it may have been taken for hung meanwhile, and be about to be replaced.
    daemon.killed.add(pid)
    wait_for(lambda: daemon.ctl_json("show sessions")["silent_workers"] == 0)


# --- the end ---

def test_stop_by_command(start, origin):
    daemon = start(Daemon(web(origin)))
    reply = sluicectl(daemon, "stop", "why=end of the test", check=True)
    assert "stopping" in reply.stdout
    assert daemon.wait() == 0
    daemon.check_end()
    assert sluicectl(daemon, "show", "info").returncode == 3


def test_stop_within(start):
    """The bound given holds instead of drain_timeout; who is left is reset and counted."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", origin.addresses), drain_timeout="60s"))
    sock = start(connect(daemon.address("s")))
    sock.sendall(b"hello")
    assert sock.recv(10) == b"hello"
    began = time.monotonic()
    daemon.ctl("stop within=500ms")
    with pytest.raises(ConnectionResetError):
        sock.recv(10)
    assert time.monotonic() - began > 0.45
    assert daemon.wait() == 0 and time.monotonic() - began < 30
    daemon.check_end()


def proportional(pid):
    """Resident bytes of a process, of shared pages its share."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)[1]) * 1024


def test_the_memory_of_children_is_told(start, origin):
    """Truly, also of those that became another user, and of a worker that came later."""
    daemon = start(Daemon(web(origin), workers=2))

    def compare():
        info = daemon.ctl_json("show info")
        workers = sum(proportional(pid) for pid in info["worker_pids"])
        assert abs(info["memory_workers_bytes"] - workers) < workers / 10
        monitor = proportional(info["monitor_pid"])
        assert abs(info["memory_monitor_bytes"] - monitor) < monitor / 10
        return info["worker_pids"]

    first = compare()
    daemon.kill_child(first[0])
    wait_for(lambda: len(pids := daemon.ctl_json("show info")["worker_pids"]) == 2 and
             first[0] not in pids and daemon.ctl_json("show workers")["workers"][0]["state"] ==
             "running", what="another worker")
    compare()
