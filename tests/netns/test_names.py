"""Backends by name, against name servers with every bad manner, in a network namespace of the test's
own: the addresses 127.0.0.x are all there, and port 53 is free. The daemon has hosts and resolv.conf
of its own, in a mount namespace."""

import contextlib
import pathlib
import shutil
import socket
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import sluice  # noqa: E402
from nameserver import NameServer  # noqa: E402
from sluice import (CtlError, Daemon, Load, Origin, Process, amount, connect, pool, run,  # noqa: E402
                    service, wait_for)
from test_namespace import namespace, start  # noqa: E402, F401: fixtures too

LISTEN = "127.0.0.1:8080"
SERVER = "127.0.0.53"
ONE, TWO, THREE = "127.0.0.11", "127.0.0.12", "127.0.0.13"
V6 = "fd00::11"
FAILURES = {  # manner: what people read
    "drop": "no answer in time",
    "servfail": "SERVFAIL",
    "refused": "REFUSED",
    "notimp": "answers with an error",
    "nxdomain": "NXDOMAIN",
    "empty": "the answer is empty",
    "unspecified": "the answer is empty",
    "garbage": "makes no sense",
    "counts_lie": "makes no sense",
    "pointer_loop": "makes no sense",
    "short_data": "makes no sense",
    "alias_loop": "in a circle",
    "wrong_id": "do not match",
    "wrong_question": "do not match",
    "a_question": "do not match",
    "head_only": "do not match",
    "nothing": "do not match",
    "truncated_always": "cut short",
    "truncated_then_closed": "cannot be reached",
    "truncated_then_silent": "no answer in time",
}


class Machine:
    """What the daemon finds in /etc."""

    def __init__(self, folder):
        self.hosts, self.resolv = folder / "hosts", folder / "resolv.conf"
        self.write_hosts()
        self.write_resolv()

    def write_hosts(self, *lines):
        self.hosts.write_text("".join(f"{line}\n" for line in ("127.0.0.1 localhost", *lines)))

    def write_resolv(self, *lines, server=SERVER, timeout=1):
        self.resolv.write_text("".join(f"{line}\n" for line in (
            f"nameserver {server}", f"options timeout:{timeout} attempts:1", "search .", *lines)))


@pytest.fixture
def machine(namespace, tmp_path, monkeypatch):  # noqa: F811
    """Bind mounts, so the files are written in place, never replaced."""
    folder = sluice.make_folder("names")
    found = Machine(folder)
    script = folder / "sluiced"
    script.write_text(
        "#!/bin/sh\n"
        f"exec unshare -m sh -c 'mount --bind {found.hosts} /etc/hosts && "
        f'mount --bind {found.resolv} /etc/resolv.conf && exec {sluice.SLUICED} "$@"\' sluiced "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sluice, "SLUICED", script)
    run(["ip", "addr", "add", f"{V6}/128", "dev", "lo", "nodad"])
    yield found
    shutil.rmtree(folder)


@pytest.fixture
def server(namespace):  # noqa: F811
    with NameServer() as one:
        yield one


@pytest.fixture
def origins(start):  # noqa: F811
    """Three servers on the same port, one more by IPv6; their names are what they say in X-Origin."""
    return start(Origin(*(f"http@{host}:8000" for host in (ONE, TWO, THREE, f"[{V6}]"))))


def config(address="b.test:8000", name="b", **options):
    return service("s", listen=[LISTEN]) + pool("s", {name: address}, **options)


def backends(daemon, pool_name="s"):
    pools = {row["name"]: row for row in daemon.stats()["pools"]}
    return sorted(row["name"] for row in pools[pool_name]["backends"])


def wait_backends(daemon, *names):
    wait_for(lambda: backends(daemon) == sorted(names), what=f"backends {names}")


def events(daemon, *words):
    return [row["text"] for row in daemon.ctl_json("show events")["events"]
            if all(word in row["text"] for word in words)]


def wait_event(daemon, *words):
    return wait_for(lambda: events(daemon, *words), what=f"an event with {words}")


def ask(sock):
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock.recv(65536)


def monitor_pid(daemon):
    return next(pid for pid in sluice.family(daemon.pid)
                if "monitor" in pathlib.Path(f"/proc/{pid}/cmdline").read_text())


# --- what resolves ---

def test_both_families_and_every_question_for_itself(start, machine, server, origins):
    server.set("b.test", a=[TWO, ONE], aaaa=[V6], ttl=1)
    daemon = start(Daemon(config()))
    wait_backends(daemon, f"b@{ONE}", f"b@{TWO}", f"b@{V6}")
    wait_for(lambda: server.count("b.test") >= 4, what="four looks")
    asked = list(server.asked)
    assert len({one.port for one in asked}) > len(asked) / 2, "ports are not by chance"
    assert len({one.id for one in asked}) > len(asked) / 2, "ids are not by chance"
    rows = daemon.ctl_json("show workers")["workers"]
    assert all(row["generation"] == 1 for row in rows), "the same in another order is no change"


def test_time_to_live(start, machine, server, origins):
    """Neither sooner than it says, nor more often than once a second."""
    server.set("slow.test", a=[ONE], ttl=3)
    server.set("fast.test", a=[TWO], ttl=0)
    daemon = start(Daemon(
        service("s", listen=[LISTEN]) +
        pool("s", {"a": "slow.test:8000", "b": "fast.test:8000"})))
    wait_for(lambda: server.count("fast.test") >= 4 and server.count("slow.test") >= 3,
             what="looks")
    # The first is that of the start; the monitor's own begin with the second.
    fast, slow = server.times("fast.test")[1:], server.times("slow.test")[1:]
    assert all(later - sooner > 0.95 for sooner, later in zip(fast, fast[1:])), fast
    assert all(later - sooner > 2.9 for sooner, later in zip(slow, slow[1:])), slow
    assert daemon.running()


def test_srv(start, machine, server, origins):
    """Ports and weights; of several priorities the lowest number; weight 0 counts as 1."""
    server.set("one.test", a=[ONE], ttl=1)
    server.set("two.test", a=[TWO], aaaa=[V6], ttl=1)
    server.set("_web._tcp.test", ttl=1, srv=[(5, 30, 8000, "one.test"), (5, 0, 8000, "two.test"),
                                             (9, 10, 8001, "one.test")])
    daemon = start(Daemon(config("srv:_web._tcp.test")))
    wait_backends(daemon, f"b@{ONE}:8000", f"b@{TWO}:8000", f"b@{V6}:8000")
    assert daemon.backend("s", f"b@{ONE}:8000")["weight"] == 30
    assert daemon.backend("s", f"b@{TWO}:8000")["weight"] == 1
    server.set("_web._tcp.test", ttl=1, srv=[(5, 7, 8000, "one.test")])
    wait_for(lambda: backends(daemon) == [f"b@{ONE}:8000"] and
             daemon.backend("s", f"b@{ONE}:8000")["weight"] == 7, what="the new weight")


def test_search_and_aliases(start, machine, server, origins):
    machine.write_resolv("search one.example two.example", "options ndots:1")
    server.set("b.two.example", cname="real.example", ttl=1)
    server.set("real.example", a=[ONE], ttl=1)
    daemon = start(Daemon(config("b:8000")))
    wait_backends(daemon, f"b@{ONE}")
    assert server.count("b.one.example") > 0 and server.count("b") == 0


def test_a_long_answer_comes_by_tcp(start, machine, server, origins):
    many = [f"127.0.1.{n}" for n in range(1, 71)]
    server.set("b.test", a=many, ttl=1)
    server.manner["*"] = "truncated"
    daemon = start(Daemon(config()))
    wait_backends(daemon, *(f"b@127.0.1.{n}" for n in range(1, 65)))
    assert any(one.transport == "tcp" for one in server.asked)
    wait_event(daemon, "b.test has more addresses than the 64", "6 are left out")


def test_answers_of_others_do_not_count(start, machine, server, origins):
    """Before the right one come one with another id, one to another question, and rubbish."""
    server.set("b.test", a=[ONE], ttl=1)
    server.manner["*"] = "spoofed_first"
    daemon = start(Daemon(config()))
    wait_backends(daemon, f"b@{ONE}")
    wait_for(lambda: server.count("b.test") >= 3, what="more looks")
    assert not events(daemon, "does not resolve")


# --- what fails ---

def test_every_failure_keeps_the_last_good_set(start, machine, server, origins):
    """One daemon, a name for each failure: all fail at once, nothing changes; all recover, with
    other addresses than before, and these come into force."""
    names = {manner: f"{manner.replace('_', '-')}.test" for manner in FAILURES}
    for name in names.values():
        server.set(name, a=[ONE], ttl=1)
    daemon = start(Daemon(
        service("s", listen=[LISTEN]) +
        pool("s", {manner: f"{name}:8000" for manner, name in names.items()})))
    good = sorted(f"{manner}@{ONE}" for manner in names)
    assert backends(daemon) == good
    wait_for(lambda: all(server.count(name) >= 2 for name in names.values()), what="looks")
    for manner, name in names.items():
        server.manner[name] = manner
    for manner, words in FAILURES.items():
        wait_event(daemon, f"{names[manner]} does not resolve", words, "addresses hold (1)")
    assert backends(daemon) == good
    rows = daemon.ctl_json("show names")["names"]
    assert all(row["state"] == "held" and row["addresses"] == [ONE] for row in rows), rows
    for name in names.values():
        server.set(name, a=[TWO], ttl=1)
    server.manner.clear()
    wait_backends(daemon, *(f"{manner}@{TWO}" for manner in names))
    for name in names.values():
        assert len(events(daemon, f"{name} does not resolve")) == 1, "once, not each time"
        assert len(events(daemon, f"{name} resolves again")) == 1


def test_one_family_that_fails_spoils_nothing(start, machine, server, origins):
    """What is not known of one family is kept; what is known of the other holds at once."""
    server.set("b.test", a=[ONE], aaaa=[V6], ttl=1)
    daemon = start(Daemon(config()))
    wait_backends(daemon, f"b@{ONE}", f"b@{V6}")
    server.manner["b.test", "AAAA"] = "servfail"
    server.set("b.test", a=[TWO], ttl=1)
    wait_backends(daemon, f"b@{TWO}", f"b@{V6}")
    server.manner["b.test", "AAAA"] = "good"  # and there are none: that is an answer
    wait_backends(daemon, f"b@{TWO}")
    assert not events(daemon, "does not resolve")


def test_another_server_is_asked(start, machine, server, origins):
    """One that is not there costs nothing, one that fails one question."""
    machine.write_resolv(server="127.0.0.52")
    machine.resolv.write_text("nameserver 127.0.0.52\nnameserver 127.0.0.53\n")
    server.set("b.test", a=[ONE], ttl=1)
    daemon = start(Daemon(config()))
    wait_backends(daemon, f"b@{ONE}")


def test_a_start_does_not_wait_for_a_silent_server(start, machine, server, origins):
    """Three seconds at most, whatever resolv.conf says; the others are served, and the name comes
    when it resolves."""
    machine.resolv.write_text(f"nameserver {SERVER}\noptions timeout:30 attempts:5\n")
    server.set("b.test", a=[TWO], ttl=1)
    server.manner["b.test"] = "drop"
    began = time.monotonic()
    daemon = start(Daemon(
        service("s", listen=[LISTEN]) +
        pool("s", {"a": f"{ONE}:8000", "b": "b.test:8000"}), workers=1))
    assert time.monotonic() - began < 4.5  # a sanitizer's start, too
    assert backends(daemon) == ["a", "b"]
    assert daemon.backend("s", "b")["state"] != "up"
    assert 'address "b.test:8000" does not resolve (no answer in time)' in daemon.all()
    wait_event(daemon, "b.test does not resolve")
    assert daemon.backend("s", "b")["reason"].endswith("does not resolve: no answer in time")
    server.manner.clear()
    wait_backends(daemon, "a", f"b@{TWO}")


def test_refuse_means_refuse(start, machine, server, origins):
    server.set("b.test", a=[ONE], ttl=1)
    daemon = start(Daemon(config(on_unresolved="refuse")))
    daemon.write(config("nowhere.test:8000", on_unresolved="refuse"))
    with pytest.raises(CtlError, match=r'"nowhere.test:8000" does not resolve \(.*NXDOMAIN'):
        daemon.ctl("reload")
    server.manner["*"] = "drop"
    wait_event(daemon, "b.test does not resolve")
    assert backends(daemon) == [f"b@{ONE}"]


# --- what changes ---

def test_the_set_grows_and_shrinks_under_load(start, machine, server, origins):
    """Not one request fails; sessions on what stays are not disturbed; who leaves drains."""
    sets = [[ONE, TWO], [ONE, THREE], [ONE, TWO]]
    server.set("b.test", a=[TWO], ttl=1)
    daemon = start(Daemon(config(), drain_timeout="60s"))
    kept = [start(contextlib.closing(connect(LISTEN))) for _ in range(2)]
    assert all(b"127.0.0.12" in ask(each) for each in kept)
    load = start(Load("crc", LISTEN, "--connections", 4, "--rate", "100/s", "--duration", 600))
    for addresses in sets * amount(5, 1):
        server.set("b.test", a=addresses, ttl=1)
        wait_backends(daemon, *(f"b@{each}" for each in addresses))
    report = load.finish()
    assert report["requests"] > 0
    assert all(b"127.0.0.12" in ask(each) for each in kept)
    assert events(daemon, f"b@{THREE}")


def test_hosts_and_resolv_are_read_again(start, machine, server, origins):
    machine.write_hosts(f"{ONE} b.test")
    server.set("b.test", a=[TWO], ttl=3600)
    daemon = start(Daemon(config()))
    wait_backends(daemon, f"b@{ONE}")
    assert server.count("b.test") == 0
    machine.write_hosts(f"{ONE} b.test", f"{THREE} b.test")
    wait_backends(daemon, f"b@{ONE}", f"b@{THREE}")
    machine.write_hosts()
    wait_backends(daemon, f"b@{TWO}")
    with NameServer("127.0.0.54") as other:  # long before the hour is over
        other.set("b.test", a=[ONE], ttl=1)
        machine.write_resolv(server="127.0.0.54")
        wait_backends(daemon, f"b@{ONE}")


def test_hosts_where_nobody_is(start, machine, server, origins):
    """A file that blocks a name says 0.0.0.0: a backend that is down, and no fault of ours."""
    machine.write_hosts("0.0.0.0 b.test")
    daemon = start(Daemon(config()))
    text = 'address "b.test:8000" does not resolve (0.0.0.0, where nobody can be reached), so'
    assert text in daemon.log() and backends(daemon) == ["b"]
    assert any(text in row["text"] for row in daemon.ctl_json("reload")["warnings"])
    machine.write_hosts("0.0.0.0 b.test", f"{ONE} b.test")
    wait_backends(daemon, f"b@{ONE}")
    machine.write_hosts("224.0.0.1 b.test")
    wait_backends(daemon, "b")


def test_changes_meet_reloads_and_edits(start, machine, server, origins):
    """None undoes another's work."""
    server.set("b.test", a=[ONE], ttl=1)
    server.set("c.test", a=[TWO], ttl=1)
    daemon = start(Daemon(config()))
    daemon.ctl("add backend s c c.test:8000")
    wait_backends(daemon, f"b@{ONE}", f"c@{TWO}")
    server.set("c.test", a=[THREE], ttl=1)
    wait_backends(daemon, f"b@{ONE}", f"c@{THREE}")
    daemon.reload(config(scheduler="rr"))
    wait_backends(daemon, f"b@{ONE}", f"c@{THREE}")
    server.set("b.test", a=[ONE, TWO], ttl=1)
    wait_backends(daemon, f"b@{ONE}", f"b@{TWO}", f"c@{THREE}")


def test_maintenance_closes_all_addresses_at_once(start, machine, server, origins):
    """Not one after the other."""
    server.set("b.test", a=[ONE, TWO, THREE], ttl=60)
    daemon = start(Daemon(config(scheduler="rr")))
    wait_backends(daemon, f"b@{ONE}", f"b@{TWO}", f"b@{THREE}")
    socks = [start(connect(LISTEN)) for _ in range(6)]
    assert all(b"200 OK" in ask(sock) for sock in socks)
    reply = daemon.ctl_json("maintain backend s b close=true within=300ms force")
    assert reply["warnings"] == []
    closing = [line.split(" over")[0] for line in reply["changes"] if "closing" in line]
    assert closing == ["pool s, backend b: closing 6 sessions"]
    assert [sock.recv(1) for sock in socks] == [b""] * 6


def test_a_monitor_that_dies_is_replaced(start, machine, server, origins):
    server.set("b.test", a=[ONE], ttl=3600)
    daemon = start(Daemon(config()))
    wait_for(lambda: server.count("b.test") >= 2, what="the monitor's look")
    server.set("b.test", a=[TWO], ttl=3600)
    daemon.kill_child(monitor_pid(daemon))
    wait_backends(daemon, f"b@{TWO}")


# --- a real one ---

def test_dnsmasq(start, machine, origins):
    """Ports and weights of srv, by a server that is not ours."""
    start(Process(["/usr/sbin/dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                   "--conf-file=/dev/null", "--no-daemon", "--user=root", "--pid-file=",
                   f"--listen-address={SERVER}", "--bind-interfaces", "--local-ttl=1",
                   f"--host-record=one.test,{ONE}", f"--host-record=two.test,{TWO},{V6}",
                   "--srv-host=_web._tcp.test,one.test,8000,1,20",
                   "--srv-host=_web._tcp.test,two.test,8000,1,10",
                   "--cname=alias.test,two.test"])).ready_when(lambda: answers(SERVER))
    daemon = start(Daemon(
        service("s", listen=[LISTEN]) +
        pool("s", {"b": "srv:_web._tcp.test", "c": "alias.test:8000", "d": "none.test:8000"})))
    wait_backends(daemon, f"b@{ONE}:8000", f"b@{TWO}:8000", f"b@{V6}:8000", f"c@{TWO}", f"c@{V6}",
                  "d")
    assert daemon.backend("s", f"b@{ONE}:8000")["weight"] == 20


def answers(host):
    with socket.socket() as sock:
        return sock.connect_ex((host, 53)) == 0
