"""The log: what a session's line says of its end, which sessions get one, and sinks that come, go,
are full or are read by nobody."""

import json
import os
import re
import signal
import socket
import struct

import pytest

import sluice
from sluice import Daemon, Origin, Port, connect, pool, service, wait_for

PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s|$)')
ENDS = "session ended", "client refused"


def parse(line):
    """The fields of a logfmt line, in their order; fails when anything of it is no field."""
    assert "".join(match[0] for match in PAIR.finditer(line)) == line, line
    return {key: json.loads(value) if value.startswith('"') else value
            for key, value in PAIR.findall(line)}


def ends(text, count=None):
    found = [fields for fields in map(parse, text.splitlines()) if fields["msg"] in ENDS]
    assert count is None or len(found) == count, found
    return found


def one_end(daemon):
    wait_for(lambda: any(words in daemon.log() for words in ENDS), what="a session's line")
    return ends(daemon.log(), 1)[0]


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def backend(start):
    listener = start(socket.create_server(("127.0.0.1", 0)))
    listener.settimeout(sluice.WAIT)
    return listener


def address_of(listener):
    return "%s:%d" % listener.getsockname()


# --- how a session ended ---

def client_fin(daemon, client, server):
    client.close()
    assert server.recv(9) == b""
    server.close()


def backend_fin(daemon, client, server):
    server.close()
    assert client.recv(9) == b""
    client.close()


def operator(daemon, client, server):
    daemon.ctl("close sessions backend=p/a")


def drain_deadline(daemon, client, server):
    daemon.stop()


@pytest.mark.parametrize("reason, side, end, options", [
    ("client_fin", "client", client_fin, {}),
    ("backend_fin", "backend", backend_fin, {}),
    ("client_reset", "client", lambda daemon, client, server: reset(client), {}),
    ("backend_reset", "backend", lambda daemon, client, server: reset(server), {}),
    ("idle_timeout", "sluice", lambda *_: None, {"idle_timeout": "300ms"}),
    ("half_close_timeout", "sluice", lambda daemon, client, server: client.shutdown(1),
     {"half_close_timeout": "300ms"}),
    ("operator", "sluice", operator, {}),
    ("drain_deadline", "sluice", drain_deadline, {}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_ends(start, backend, reason, side, end, options):
    daemon = start(Daemon(service("s", "p", session_log="all", **options)
                          + pool("p", [address_of(backend)]), drain_timeout="100ms"))
    listening = daemon.address("s")
    client = start(connect(listening))
    server = start(backend.accept()[0])
    client.sendall(b"12345")
    assert server.recv(9) == b"12345"
    server.sendall(b"123")
    assert client.recv(9) == b"123"
    known = daemon.ctl_json("show sessions")["sessions"]
    named = "%s:%d" % client.getsockname()
    end(daemon, client, server)
    line = one_end(daemon)
    expected = {"msg": "session ended", "service": "s", "client": named, "listener": listening,
                "pool": "p", "backend": "a", "address": address_of(backend), "bytes_in": "5",
                "bytes_out": "3", "retries": "0", "reuse": "new", "ended_by": reason, "side": side}
    assert expected.items() <= line.items(), line
    assert not known or line["session"] == str(known[0]["id"])
    total = int(line["total_ms"])
    assert total < 60000 and int(line["queue_ms"]) <= total
    assert 0 < int(line["connect_us"]) <= 1000 * (total + 1)
    assert int(line["first_byte_us"]) <= 1000 * (total + 1)
    assert int(line["total_ms"]) >= (300 if options else 0)


@pytest.mark.parametrize("reason, retries, options", [
    ("connect_failed", 1, {"retries": 1}),
    ("no_backend", 0, {"start": "down", "checks": {"tcp": {"interval": "10s"}}}),
    ("queue_timeout", 0, {"queue": 5, "queue_timeout": "200ms"}),
    ("full", 0, {}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_refusals(start, reason, retries, options):
    gone = [start(Port()), start(Port())]
    origin = start(Origin("echo"))
    is_full = reason in ("queue_timeout", "full")
    backends = {"a": {"address": origin.addresses[0], "max_connections": 1}} if is_full else \
        {"a": gone[0].address, "b": gone[1].address}
    daemon = start(Daemon(service("s", "p") + pool("p", backends, **options)))
    if is_full:
        first = start(connect(daemon.address("s")))
        first.sendall(b"x")
        assert first.recv(1) == b"x"
    client = start(socket.socket())
    client.settimeout(sluice.WAIT)
    client.bind(("127.0.0.1", 0))
    named = "%s:%d" % client.getsockname()
    with pytest.raises(ConnectionError):
        client.connect(sluice.split(daemon.address("s")))
        client.recv(1)
    line = one_end(daemon)
    expected = {"msg": "client refused", "service": "s", "refused_by": reason, "side": "sluice",
                "pool": "p", "client": named, "retries": str(retries),
                "bytes_in": "0", "bytes_out": "0"}
    assert expected.items() <= line.items(), line
    assert int(line["queue_ms"]) >= (200 if reason == "queue_timeout" else 0)
    assert "ended_by" not in line and "connect_us" not in line


def test_turned_away(start):
    """Who is over a limit never becomes a session; and many of them cost no more than lines."""
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s", max_connections=1) + pool("s", origin.addresses), workers=1))
    first = start(connect(daemon.address("s")))
    first.sendall(b"x")
    assert first.recv(1) == b"x"
    names, listening = set(), daemon.address("s")
    for _ in range(20):
        client = start(socket.socket())
        client.settimeout(sluice.WAIT)
        client.bind(("127.0.0.1", 0))
        names.add("%s:%d" % client.getsockname())
        with pytest.raises(ConnectionError):
            client.connect(sluice.split(listening))
            client.recv(1)
    found = wait_for(lambda: len(ends(daemon.log())) == 20 and ends(daemon.log()))
    assert {line["client"] for line in found} == names
    assert {line["refused_by"] for line in found} == {"service_limit"}


def test_requests(start):
    """A session of request mode says how many there were, and where its last backend came from."""
    origin = start(Origin("http"))
    daemon = start(Daemon(service("s", session_log="all")
                          + pool("s", origin.addresses, reuse={"mode": "request", "framing": "http1",
                                                               "policy": "always"}), workers=1))
    for _ in range(2):
        client = start(connect(daemon.address("s")))
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += client.recv(65536)
        client.close()
    found = wait_for(lambda: len(ends(daemon.log())) == 2 and ends(daemon.log()))
    assert [line["requests"] for line in found] == ["3", "3"]
    assert [line["backend"] for line in found] == ["a", "a"]
    assert found[1]["reuse"] == "kept" and found[1]["connect_us"] == "0"
    assert all(int(line["bytes_out"]) > 300 for line in found)


# --- which sessions ---

@pytest.mark.parametrize("which, lines", [("off", 0), ("errors", 2), ("all", 42), ("1/10", 4)])
def test_which(start, which, lines):
    origin = start(Origin("echo"))
    daemon = start(Daemon(service("s", session_log=which, idle_timeout="1h")
                          + pool("s", origin.addresses), workers=1))
    for nth in range(42):
        client = start(connect(daemon.address("s")))
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        reset(client) if nth in (7, 18) else client.close()
        wait_for(lambda: daemon.service("s")["connections_active"] == 0)
    assert daemon.stop() == 0
    found = ends(daemon.log(), lines + (which == "1/10"))
    assert sum(line["ended_by"] == "client_reset" for line in found) == \
        {"off": 0, "errors": 2, "all": 2, "1/10": 0}[which]


def test_by_command_and_after_removal(start):
    """session_log is set like any option of a service; who outlives its backend still names it."""
    origin = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s", session_log="off") + pool("s", origin.addresses), workers=1))
    clients = [start(connect(daemon.address("s"))) for _ in range(2)]
    for client in clients:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    daemon.ctl("set service s session_log=all")
    daemon.ctl("remove backend s a")
    for client in clients:
        client.close()
    found = wait_for(lambda: len(ends(daemon.log())) == 2 and ends(daemon.log()))
    assert {line["backend"] for line in found} == {"a", "b"}
    assert {line["address"] for line in found} == set(origin.addresses)


def test_json(start, folder):
    """Hostile names stay within their value, in both forms."""
    path = f'{folder}/a "b\\" c=d'
    listener = start(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen()
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    for form in "json", "logfmt":
        daemon = start(Daemon(service("s", session_log="all") + pool("s", [f"unix:{quoted}"]),
                              log_format=form))
        client = start(connect(daemon.address("s")))
        start(listener.accept()[0]).close()
        assert client.recv(1) == b""
        client.close()
        wait_for(lambda: "session ended" in daemon.log())
        assert daemon.stop() == 0
        read = json.loads if form == "json" else parse
        line, = [fields for fields in map(read, daemon.log().splitlines())
                 if fields["msg"] == "session ended"]
        assert line["address"] == f"unix:{path}"
        assert line["bytes_in"] == (0 if form == "json" else "0")


# --- sinks ---

def echo(daemon, count):
    """So many short sessions, one after the other."""
    for _ in range(count):
        with connect(daemon.address("s")) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"


def dropped(daemon):
    return daemon.ctl_json("show info")["log_dropped"]


def logging(start, log, **options):
    origin = start(Origin("echo"))
    options = {"workers": 2, "log": log, **options}
    return start(Daemon(service("s", session_log="all") + pool("s", origin.addresses), **options))


def test_rotation(start, folder):
    """After SIGUSR1 every process writes to the new file, and no line is lost."""
    os.chmod(folder, 0o777)
    path = folder / "log"
    daemon = logging(start, path)
    echo(daemon, 40)
    wait_for(lambda: len(ends(path.read_text())) == 40, what="40 lines")
    path.rename(folder / "log.1")
    daemon.signal(signal.SIGUSR1)
    wait_for(path.exists, what="a new file")
    old = len(ends((folder / "log.1").read_text()))
    for child in daemon.workers():
        wait_for(lambda: str(path) in [os.readlink(f"/proc/{child}/fd/{fd}")
                                       for fd in os.listdir(f"/proc/{child}/fd")])
    echo(daemon, 40)
    wait_for(lambda: len(ends(path.read_text())) == 40, what="40 more lines")
    assert len(ends((folder / "log.1").read_text())) == old == 40
    assert dropped(daemon) == 0


def test_full_disk(start):
    daemon = logging(start, "/dev/full")
    echo(daemon, 50)
    wait_for(lambda: dropped(daemon) >= 50, what="the lines to be counted")


def test_lines_that_the_monitor_loses(start):
    """All processes count, and the monitor's are told apart."""
    gone = start(Port())
    daemon = start(Daemon(service("s", "p") + pool("p", {"a": gone.address},
                          checks={"tcp": {"interval": "100ms"}}), workers=1, log="/dev/full"))
    def info():
        return daemon.ctl_json("show info")
    wait_for(lambda: info()["monitor_log_dropped"] > 0, what="what the monitor says of the check")
    assert info()["log_dropped"] > info()["monitor_log_dropped"]  # master has lost some, too


def test_pipe_that_nobody_reads(start, folder):
    path = folder / "fifo"
    os.mkfifo(path)
    os.chmod(path, 0o666)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        daemon = logging(start, path, workers=1)
        echo(daemon, 400)
        wait_for(lambda: dropped(daemon) > 0, what="lines to be dropped")
        wait_for(lambda: daemon.service("s")["connections_active"] == 0)
        text = os.read(reader, 1 << 20).decode()
        echo(daemon, 1)
        wait_for(lambda: daemon.service("s")["connections_active"] == 0)
        def told():
            nonlocal text
            try:
                text += os.read(reader, 1 << 20).decode()
            except BlockingIOError:
                pass
            return '"log lines were dropped"' in text and text.endswith("\n")
        wait_for(told, what="the number of lost lines")
        found = [parse(line) for line in text.splitlines() if line]
        count = sum(int(line["count"]) for line in found if line["msg"] == "log lines were dropped")
        assert count == 401 - len(ends(text))
        wait_for(lambda: dropped(daemon) == count, what="the same in show info")
    finally:
        os.close(reader)


def test_level_by_command(start):
    """Said beside the file: shown, for a time, and it outlives a reload."""
    origin = start(Origin("echo"))
    config = service("s", session_log="off") + pool("s", origin.addresses)
    daemon = start(Daemon(config, workers=1))
    reply = daemon.ctl("set global log_level=debug why=looking")
    assert "global: log_level info -> debug" in reply
    assert "override: global: log_level = debug; the file says info (by " in reply
    assert 'global {\n    # info in the file; by ' in daemon.ctl("show diff")
    assert '    log_level = "debug"\n}\n' in daemon.ctl("show diff")
    daemon.reload(config)
    assert 'log_level = "debug"' in daemon.ctl("show config")
    daemon.ctl("set global log_level=error for=300ms")
    assert 'log_level = "error"' in daemon.ctl("show config")
    wait_for(lambda: 'log_level = "debug"' in daemon.ctl("show config"), what="debug to return")
    daemon.ctl("set global log_level=error")
    known = daemon.log()
    daemon.reload(config)
    assert daemon.log() == known  # which would be info
    assert "log_level error -> info" in daemon.ctl("reset all")
    assert "nothing stands" in daemon.ctl("show diff")
    with pytest.raises(sluice.CtlError, match='"loud": unknown'):
        daemon.ctl("set global log_level=loud")


def test_level_over_a_restart(start, folder):
    """Where there is a state file it is kept there, like what was said of backends."""
    os.chmod(folder, 0o777)
    origin = start(Origin("echo"))
    config = service("s") + pool("s", origin.addresses)
    for nth in range(2):
        daemon = start(Daemon(config, workers=1, state_file=folder / "state"))
        if nth == 0:
            daemon.ctl("set global log_level=warning for=1h")
        assert "log_level = warning; the file says info" in daemon.ctl("reload")
        assert daemon.stop() == 0


# --- syslog and the journal: their paths are fixed, so the daemon sees a /dev and a /run of its own

@pytest.fixture
def apart(folder, monkeypatch):
    """Daemons that are started afterwards find folder/log and folder/journal at the two paths."""
    script = folder / "sluiced"
    script.write_text(f"""#!/bin/sh
if [ "$1" != inside ]; then exec unshare -m "$0" inside "$@"; fi
shift
mkdir -p {folder}/dev && mount -t tmpfs dev {folder}/dev && cp -a /dev/null /dev/full /dev/urandom \\
    {folder}/dev && ln -s /proc/self/fd {folder}/dev/fd && mkdir {folder}/dev/shm &&
    chmod 1777 {folder}/dev/shm && ln -s {folder}/log {folder}/dev/log &&
    mount --move {folder}/dev /dev && mount -t tmpfs run /run && mkdir -p /run/systemd/journal &&
    ln -s {folder}/journal /run/systemd/journal/socket && exec {sluice.SLUICED} "$@"
""")
    script.chmod(0o755)
    try:
        sluice.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/run"])
    except (AssertionError, OSError) as error:
        pytest.skip(f"no mount namespace can be had: {error}")
    monkeypatch.setattr(sluice, "SLUICED", script)
    return folder


class Sink:
    """A datagram socket that takes what a daemon logs."""

    def __init__(self, path):
        self.path = path
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o777)
        self.socket.setblocking(False)
        self.got = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self):
        """Everything that has come so far."""
        while True:
            try:
                self.got.append(self.socket.recv(1 << 16))
            except BlockingIOError:
                return self.got


def entry(data):
    """The fields of a journal entry: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""
    fields = {}
    while data:
        head, _, data = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8:8 + size], data[9 + size:]
        assert re.fullmatch(b"[A-Z][A-Z_]*", name), head
        fields[name.decode()] = value.decode()
    return fields


def test_syslog(start, apart):
    sink = start(Sink(apart / "log"))
    daemon = logging(start, "syslog")
    echo(daemon, 5)
    wait_for(lambda: sum(b"session ended" in line for line in sink.read()) == 5)
    for line in sink.read():
        head, text = re.fullmatch(r"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d sluiced\[\d+\]: "
                                  r"(.*[^\n])", line.decode()).groups()
        assert {"30": "info", "28": "warning"}[head] == parse(text)["level"]
    tags = {int(re.search(rb"\[(\d+)\]", line)[1]) for line in sink.got if b"session" in line}
    assert tags <= set(daemon.workers())
    # Its successor is found without a word to the daemon, and what was lost meanwhile is told.
    sink.socket.close()
    sink.path.unlink()
    echo(daemon, 3)
    wait_for(lambda: dropped(daemon) > 0, what="lines to be dropped")
    sink = start(Sink(apart / "log"))
    def told():
        echo(daemon, 1)
        return any(b"log lines were dropped" in line for line in sink.read())
    wait_for(told, what="the new one to be found")
    assert b"level=" in sink.got[-1]


def test_syslog_that_nobody_reads(start, apart):
    """Clients are served while its queue is full."""
    sink = start(Sink(apart / "log"))
    daemon = logging(start, "syslog", log_format="json")
    echo(daemon, 200)
    wait_for(lambda: dropped(daemon) > 50, what="lines to be dropped")
    line = json.loads(sink.read()[-1].decode().partition("]: ")[2])
    assert "time" not in line and line["level"] == "info"


def test_journal(start, apart):
    sink = start(Sink(apart / "journal"))
    daemon = logging(start, "journal")
    echo(daemon, 5)
    def found():
        entries = [entry(data) for data in sink.read()]
        return [fields for fields in entries if fields["MESSAGE"].startswith("session ended ")]
    wait_for(lambda: len(found()) == 5, what="five entries")
    for fields in found():
        assert {"PRIORITY": "6", "SYSLOG_FACILITY": "3", "SYSLOG_IDENTIFIER": "sluiced",
                "SLUICE_SERVICE": "s", "SLUICE_BACKEND": "a", "SLUICE_BYTES_IN": "1",
                "SLUICE_ENDED_BY": "client_fin", "SLUICE_SIDE": "client"}.items() <= fields.items()
        words = parse(fields["MESSAGE"][len("session ended "):])
        assert {f"SLUICE_{key.upper()}": value for key, value in words.items()}.items() <= \
            fields.items()


def test_a_file_that_others_write_to_as_well(start, backend, folder):
    """Standard error sent to a file with > and not >>: whoever has it writes behind the others."""
    path = folder / "all.log"
    with open(path, "wb") as out:
        out.write(b"somebody=before\n")
        out.flush()
        Redirected = type("Redirected", (Daemon,), {"stderr": out})
        daemon = start(Redirected(service("s", session_log="all") + pool("s", [address_of(backend)])
                                  + pool("unused", ["127.0.0.1:9"])))
        for nth in range(40):
            client = connect(daemon.address("s"))
            server, _ = backend.accept()
            client.sendall(b"x")
            assert server.recv(1) == b"x"
            os.write(out.fileno(), b"somebody=else nth=%d\n" % nth)
            client.close()
            assert server.recv(1) == b""
            server.close()
        wait_for(lambda: path.read_text().count("session ended") == 40, what="all sessions' lines")
        daemon.stop()
    first, second, *lines = path.read_text().splitlines()
    assert first == "somebody=before" and "no service uses this pool" in second
    rows = [parse(line) for line in lines]
    assert [row["nth"] for row in rows if "somebody" in row] == [str(nth) for nth in range(40)]
    assert {"master", "worker 0", "worker 1"} <= {row.get("proc") for row in rows}
    assert sum(row.get("msg") == "session ended" for row in rows) == 40
    assert rows[-1]["msg"] == "ended"


def test_no_daemon_to_log_to(start, apart):
    """A check warns of it, a start is refused: both say what would be right."""
    for sink in "syslog", "journal":
        config = apart / "sluice.conf"
        config.write_text(f'global {{ log = "{sink}" workers = 1\n'
                          f'control_socket = "{apart}/ctl" state_file = "none" }}\n'
                          + service("s") + pool("s", ["127.0.0.1:9"]))
        checked = sluice.run([sluice.SLUICED, "-t", "-c", config])
        assert f'log "{sink}": nobody takes it here' in checked.stderr
        strict = sluice.run([sluice.SLUICED, "-t", "--strict", "-c", config], check=False)
        assert strict.returncode == 1
        started = sluice.run([sluice.SLUICED, "-c", config], check=False)
        assert started.returncode == 1
        assert f'cannot open log "{sink}": ' in started.stderr
