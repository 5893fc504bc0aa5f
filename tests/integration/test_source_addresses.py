"""Addresses to connect to backends from: backends see them, each its share; changes, kept
connections, workers that die, and what the operator reads of all that."""

import http.client
import pathlib
import re
import socket
import threading
from collections import Counter

import pytest

from sluice import (SLUICED, CtlError, Daemon, Origin, connect, pool, run, service, split,
                    wait_for)

SOURCES = ["127.0.0.2-127.0.0.5", "127.0.0.8/30", "127.0.0.20"]
ALL = [f"127.0.0.{last}" for last in (2, 3, 4, 5, 8, 9, 10, 11, 20)]


class Whois:
    """A backend that tells each client the address that it comes from, and then echoes nothing."""

    def __init__(self, family=socket.AF_INET, host="127.0.0.1"):
        self.socket = socket.create_server((host, 0), family=family, backlog=1000)
        port = self.socket.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.accepted = []
        self.thread = threading.Thread(target=self._serve)

    def _serve(self):
        while True:
            try:
                sock, peer = self.socket.accept()
            except OSError:
                return
            self.accepted.append(sock)
            sock.sendall(f"{peer[0]}\n".encode())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()
        for sock in self.accepted:
            sock.close()


def ask(start, daemon, name="s"):
    """A session that stays, and the address that its backend saw."""
    sock = start(connect(daemon.address(name)))
    return sock, sock.makefile().readline().strip()


def ports(daemon, words=""):
    rows = daemon.ctl_json(f"show source-ports {words}")["source_ports"]
    return {row["source"]: row for row in rows}


def in_use(daemon):
    return {source: row["in_use"] for source, row in ports(daemon).items()}


def config(addresses, sources, **options):
    if sources is not None:
        options["source_addresses"] = sources
    # Its backends never close.
    return service("s", half_close_timeout="200ms") + pool("s", addresses, **options)


def test_backends_see_them_evenly(start):
    """Each in turn; workers take turns each by itself."""
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address], SOURCES), workers=1))
    seen = [ask(start, daemon) for _ in range(len(ALL) * 4)]
    count = Counter(address for _, address in seen)
    assert set(count) == set(ALL)
    assert in_use(daemon) == dict(count) and set(count.values()) == {4}
    rows = ports(daemon)
    assert all(row["headroom"] == row["limit"] - 4 and row["limit"] > 1000 and row["failures"] == 0
               for row in rows.values())
    backend = daemon.backend("s", "a")
    assert backend["source_ports_used"] == len(seen)
    assert backend["source_ports_limit"] == sum(row["limit"] for row in rows.values())
    for sock, _ in seen:
        sock.close()
    wait_for(lambda: set(in_use(daemon).values()) == {0}, what="all ports to be given back")


def test_other_families_are_left_to_the_kernel(start):
    """Backends of a family that is not in the list; Unix sockets have no ports."""
    six = start(Whois(socket.AF_INET6, "::1"))
    unix = start(Origin("echo@unix:echo.sock"))
    path = unix.addresses[0].removeprefix("unix:")
    address = f"unix:{unix.folder / path}" if not path.startswith("/") else f"unix:{path}"
    daemon = start(Daemon(config([six.address], ["127.0.0.2"]) +
                          service("u") + pool("u", [address], source_addresses=["127.0.0.2"])))
    assert ask(start, daemon)[1] == "::1"
    with connect(daemon.address("u")) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    rows = daemon.ctl_json("show source-ports")["source_ports"]
    assert [(row["pool"], row["source"], row["in_use"]) for row in rows] == [("s", "any", 1)]
    assert 'the kernel chooses where connections to it come from' in daemon.log()


def test_reload(start):
    """Sessions stay where they are; new ones come from the new addresses; counts follow both."""
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address], None), workers=1))
    _, first = ask(start, daemon)
    assert first == "127.0.0.1" and in_use(daemon) == {"any": 1}
    reply = daemon.reload(config([whois.address], ["127.0.0.2", "127.0.0.3"]))
    assert any("source_addresses" in line for line in reply["changes"]), reply
    old = [ask(start, daemon) for _ in range(4)]
    assert in_use(daemon) == {"127.0.0.2": 2, "127.0.0.3": 2}
    daemon.reload(config([whois.address], ["127.0.0.3", "127.0.0.4"]))
    assert in_use(daemon) == {"127.0.0.3": 2, "127.0.0.4": 0}
    seen = Counter(ask(start, daemon)[1] for _ in range(4))
    assert seen == {"127.0.0.3": 2, "127.0.0.4": 2}
    for sock, _ in old:
        sock.close()
    wait_for(lambda: in_use(daemon) == {"127.0.0.3": 2, "127.0.0.4": 2}, what="the old to end")
    # And back: what the first session holds was counted all the time.
    daemon.reload(config([whois.address], None))
    assert in_use(daemon) == {"any": 1}


def test_kept_connections_follow_a_reload(start):
    """Idle ones of the old addresses are closed."""
    origin = start(Origin("http"))
    reuse = '    reuse { mode = "request"  framing = "http1"  idle_max = "0s" }\n}\n'

    def with_sources(*sources):
        text = pool("s", origin.addresses, source_addresses=list(sources))
        return service("s") + text.removesuffix("}\n") + reuse
    daemon = start(Daemon(with_sources("127.0.0.2"), workers=1))
    client = http.client.HTTPConnection(*split(daemon.address("s")))

    def get():
        client.request("GET", "/")
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200
    get()
    get()
    assert daemon.backend("s", "a")["upstreams_opened"] == 1
    assert in_use(daemon) == {"127.0.0.2": 1}
    daemon.reload(with_sources("127.0.0.3"))
    get()
    backend = daemon.backend("s", "a")
    assert backend["upstreams_opened"] == 2 and backend["upstreams_discarded_by"]["changed"] == 1
    assert in_use(daemon) == {"127.0.0.3": 1}
    client.close()


def test_a_dead_workers_ports_are_given_back(start):
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address], ["127.0.0.2", "127.0.0.3"]), workers=2))
    socks = [ask(start, daemon)[0] for _ in range(40)]
    rows = daemon.ctl_json("show workers")["workers"]
    active = [row["connections_active"] for row in rows]
    assert sum(in_use(daemon).values()) == 40 and all(active), active
    daemon.kill_child(rows[0]["pid"])
    wait_for(lambda: sum(in_use(daemon).values()) == active[1], what="its ports to be given back")
    for sock in socks:
        sock.close()
    wait_for(lambda: set(in_use(daemon).values()) == {0}, what="the others' too")
    seen = Counter(ask(start, daemon)[1] for _ in range(8))
    assert set(seen) == {"127.0.0.2", "127.0.0.3"}


def test_many_pairs_are_shown_together(start):
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address, "127.0.0.1:9"], ["127.0.1.0/26"])))
    text = daemon.ctl("show source-ports")
    assert len(re.findall("64 addresses", text)) == 2 and len(text.splitlines()) == 3
    assert len(ports(daemon, "s a")) == 64
    assert ports(daemon, "s a")["127.0.1.0"]["addresses"] == 1
    with pytest.raises(CtlError, match='pool s has no backend "c"'):
        daemon.ctl("show source-ports s c")
    with pytest.raises(CtlError):
        daemon.ctl("show source-ports t")


def check(tmp_path, text, *words):
    path = tmp_path / "sluice.conf"
    path.write_text(text)
    result = run([SLUICED, "-t", *words, "-c", path], check=False)
    return result.returncode, result.stdout + result.stderr


def test_absent_addresses_are_told(tmp_path):
    """Only the machine can know: a warning, or an error where asked for."""
    text = config(["203.0.113.1:80"], ["203.0.113.16/30", "127.0.0.2"])
    status, said = check(tmp_path, text)
    assert status == 0
    assert "warning: source_addresses: this machine does not have 203.0.113.16 and 3 more now" in said
    status, said = check(tmp_path, text, "--strict")
    assert status == 1 and "does not have 203.0.113.16" in said


def events(daemon):
    return [event["text"] for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == "ports"]


def test_absent_addresses_cost_no_client(start):
    """Though none has a port in use, none is preferred; what is wrong is told as it is."""
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address], ["203.0.113.1-203.0.113.20", "127.0.0.2"]), 2))
    seen = Counter(ask(start, daemon)[1] for _ in range(60))
    assert seen == {"127.0.0.2": 60}
    assert not any(daemon.service("s")["refused_by"].values())
    told = wait_for(lambda: events(daemon), what="an event")[0]
    assert re.fullmatch(r"pool s: source address 203\.0\.113\.1 and \d+ more cannot be used: Cannot assign "
                        r"requested address \(are they on this machine\?\)", told), told
    rows = ports(daemon)
    absent = rows.pop("203.0.113.1")
    assert absent["state"] == "unusable: Cannot assign requested address"
    assert absent["headroom"] == 0 and absent["failures"] > 0
    assert rows["127.0.0.2"]["state"] == "ok" and rows["127.0.0.2"]["in_use"] == 60


def test_the_only_address_is_absent(start):
    """No port is short, and nobody is told to add some."""
    whois = start(Whois())
    daemon = start(Daemon(config([whois.address], ["203.0.113.1"]), 1))
    with pytest.raises(ConnectionError):  # which may come before connect() is back
        with connect(daemon.address("s")) as sock:
            assert sock.recv(10) == b"" and False, "an end where a reset was due"
    wait_for(lambda: daemon.service("s")["refused_by"]["source_ports"] == 1, what="a refusal")
    wait_for(lambda: len(events(daemon)) == 2, what="both events")
    alone = "source address 203.0.113.1 cannot be used: Cannot assign requested address (is it on " \
            "this machine?)"
    assert events(daemon)[0] == f"pool s: {alone}"
    assert events(daemon)[1] == f"pool s: {alone}, and backend a has no other to be connected to " \
                                "from, 1 times since this was last told"
    assert "no port was left" not in daemon.log()


def test_the_watch_for_missing_ports_takes_no_memory(start):
    """Even to read a record takes a part of the shared memory, which master leaves alone until there
    is something to read."""
    addresses = {f"b{n}": f"127.1.{n // 250}.{n % 250 + 1}:9" for n in range(1000)}
    daemon = start(Daemon(service("s", listen=["127.0.0.1:0"]) + pool("s", addresses), 1))
    wait_for(lambda: daemon.ctl_json("show info")["uptime_seconds"] > 2, what="master to have looked")
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    assert int(re.search(r"^RssShmem:\s+(\d+) kB$", status, re.MULTILINE)[1]) < 2000, status
