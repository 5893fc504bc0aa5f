"""Checks that talk, run and ask, against real servers; several together; ejection by what clients
meet; and the answer for those who watch from outside."""

import os
import signal
import socket
import threading

import pytest

from choosing import Backend, ask, pool_of
from software import Authority, Nginx, Postgres, Redis
from sluice import (Daemon, Origin, Port, SLUICECTL, connect, family, pool, run, service,
                    wait_for)

FAST = {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}


def wait_state(daemon, name, state):
    return wait_for(lambda: (row := daemon.backend("s", name))["state"] == state and row,
                    what=f"{name} to be {state}")


def checked(backends, checks, **options):
    return service("s") + pool("s", backends, checks=checks, **options)


class Answers:
    """Accepts, sends what it was told to each client, and closes. One thread."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
                client.sendall(self.answer)
                client.close()
            except OSError:
                if self.listener.fileno() < 0:
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# --- kinds ---

def test_http(start, tmp_path):
    """Status and body decide, over TLS too; a server that is stopped but connects is found down."""
    plain = start(Nginx({"healthz": b"all is ok\n"}))
    certificate = Authority(tmp_path).issue("web.test")
    secure = start(Nginx({"healthz": b"all is ok\n"}, certificate))
    daemon = start(Daemon(checked({
        "a": plain.address, "missing": plain.address, "other": plain.address,
    }, {}) .replace('backend "a" {', 'backend "a" { check "http" { path = "/healthz" '
                    'body = "ok$" interval = "50ms" fall = 2 }')
        .replace('backend "missing" {', 'backend "missing" { check "http" { path = "/none" }')
        .replace('backend "other" {', 'backend "other" { check "http" { path = "/healthz" '
                 'body = "wrong" }')
        .replace('pool "s" {', 'pool "s" { backend "tls" { address = "%s" check "http" { '
                 'path = "/healthz" tls = yes sni = "web.test" } }' % secure.address, 1)))
    assert wait_state(daemon, "a", "up")["reason"].startswith("HTTP 200")
    assert wait_state(daemon, "missing", "down")["reason"] == "HTTP 404, expected 200-399"
    assert "body" in wait_state(daemon, "other", "down")["reason"]
    wait_state(daemon, "tls", "up")
    processes = family(plain.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert "no answer" in wait_state(daemon, "a", "down")["reason"]
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    wait_state(daemon, "a", "up")


def test_https_is_verified_when_asked(start, tmp_path):
    server = start(Nginx({"x": b""}, Authority(tmp_path).issue("web.test")))
    daemon = start(Daemon(checked([server.address], {"http": {
        **FAST, "tls": True, "sni": "web.test", "verify": True}})))
    assert wait_state(daemon, "a", "down")["reason"].startswith("TLS: ")


def test_redis(start):
    """Up while it answers PING, down while it stands still though its kernel connects."""
    server = start(Redis())
    daemon = start(Daemon(checked([server.address], {"redis": FAST})))
    wait_state(daemon, "a", "up")
    server.signal(signal.SIGSTOP)
    try:
        wait_state(daemon, "a", "down")
    finally:
        server.signal(signal.SIGCONT)
    wait_state(daemon, "a", "up")


def test_postgresql_or_patroni(start):
    """The one that has the primary's word counts: any of both checks, or all of them."""
    server, patroni = start(Postgres()), start(Nginx({"primary": b"{}"}))
    port = int(patroni.address.rpartition(":")[2])
    checks = {"postgresql": {**FAST, "user": "test"},
              "http:primary": {**FAST, "path": "/primary", "port": port}}
    daemon = start(Daemon(checked([server.address], checks)))
    wait_state(daemon, "a", "up")
    patroni.stop()
    assert "http" in wait_state(daemon, "a", "down")["reason"]
    daemon.reload(checked([server.address], checks, require="any"))
    wait_state(daemon, "a", "up")
    server.stop()
    wait_state(daemon, "a", "down")


def test_expect(start):
    server = start(Redis())
    steps = ["send SET k v\\r\\n", "expect +OK", "send GET k\\r\\n", "expect-regex ^\\r\\n\\$1\\r\\nv"]
    daemon = start(Daemon(checked([server.address], {"expect": {
        **FAST, "steps": [step.replace("\\", "\\\\") for step in steps]}})))
    assert "4 steps" in wait_state(daemon, "a", "up")["reason"]
    steps[3] = "expect $9"
    daemon.reload(checked([server.address], {"expect": {
        **FAST, "timeout": "200ms", "steps": [step.replace("\\", "\\\\") for step in steps]}}))
    wait_state(daemon, "a", "down")


def test_exec_decides_and_weighs(start):
    """The program's exit status, for each backend by its environment."""
    origin = start(Origin("echo", "echo", "echo", "echo"))
    program = origin.folder / "probe"
    program.write_text('#!/bin/sh\ncase $SLUICE_BACKEND in a) exit 0;; b) echo broken; exit 1;; '
                       'c) exit 52;; d) exec sleep 60;; esac\n')
    os.chmod(program, 0o755)
    daemon = start(Daemon(checked(origin.addresses, {"exec": {
        **FAST, "timeout": "300ms", "command": [str(program)]}})))
    wait_state(daemon, "a", "up")
    assert "broken" in wait_state(daemon, "b", "down")["reason"]
    wait_for(lambda: daemon.backend("s", "c")["effective_weight_permille"] == 500,
             what="half the weight")
    assert "300 ms" in wait_state(daemon, "d", "down")["reason"]


def test_agent(start):
    """What the server asks for holds beside its health; silence changes nothing."""
    origin = start(Origin("echo"))
    agent = start(Answers(b"50%\n"))
    daemon = start(Daemon(checked([origin.addresses[0]], {
        "tcp": FAST, "agent": {**FAST, "port": agent.port}})))
    wait_for(lambda: daemon.backend("s", "a")["effective_weight_permille"] == 500,
             what="half the weight")
    agent.answer = b"drain\n"
    wait_state(daemon, "a", "draining")
    agent.answer = b"ready 100%\n"
    wait_for(lambda: daemon.backend("s", "a")["effective_weight_permille"] == 1000,
             what="the whole weight")
    agent.answer = b"down # for repair\n"
    assert "for repair" in wait_state(daemon, "a", "down")["reason"]
    agent.answer = b"up\n"
    wait_state(daemon, "a", "up")


@pytest.mark.parametrize("answer", [b"", b"\0" * 70000, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9999,
                                    b"garbage\r\n\r\n", b"HTTP/9.9 999\r\n\r\n"],
                         ids=["nothing", "zeroes", "endless", "garbage", "status"])
def test_hostile_answers(start, answer):
    """Whatever it says, the backend is down, the monitor lives, and the other one is up."""
    server, good = start(Answers(answer)), start(Nginx({"x": b""}))
    daemon = start(Daemon(checked([server.address, good.address], {
        "http": {**FAST, "path": "/x"}})))
    wait_state(daemon, "a", "down")
    wait_state(daemon, "b", "up")
    assert daemon.ctl_json("show info")["monitor_restarts"] == 0


# --- ejection ---

def test_ejected_by_what_clients_meet(start):
    """Five failed connects in a row, and it gets nobody for a while; then it is back."""
    a, b = start(Backend("a")), start(Backend("b"))
    a.off()
    text = (service("s") + pool_of("s", [a, b], scheduler="rr")).rsplit("}", 1)[0] + \
        '    outlier { consecutive_failures = 5 eject_time = "1s" }\n}\n'
    daemon = start(Daemon(text, workers=2))
    while daemon.backend("s", "a")["state"] != "ejected":
        assert ask(daemon.address("s")) == "b"
        assert daemon.backend("s", "a")["connect_failures"] < 20
    assert "5 consecutive" in daemon.backend("s", "a")["reason"]
    failures = daemon.backend("s", "a")["connect_failures"]
    a.on()
    wait_state(daemon, "a", "up")
    assert daemon.backend("s", "a")["connect_failures"] <= failures + 1
    wait_for(lambda: ask(daemon.address("s")) == "a", what="it to be used again")
    kinds = [event["text"].split(":")[0] for event in daemon.ctl_json("show events")["events"]
             if event["kind"] == "ejection"]
    assert kinds[:2] == ["ejected", "back"]


def test_the_last_one_stays(start):
    port = start(Port())
    text = (service("s") + pool("s", [port.address])).rsplit("}", 1)[0] + \
        '    outlier { consecutive_failures = 2 max_ejected = 100 }\n}\n'
    daemon = start(Daemon(text))
    for _ in range(10):
        with pytest.raises(OSError), connect(daemon.address("s")) as sock:
            sock.sendall(b"x")
            assert sock.recv(1)
            raise OSError
    assert daemon.backend("s", "a")["state"] == "up"


# --- for those who watch ---

def test_health_for_watchers(start):
    a = start(Backend("a"))
    daemon = start(Daemon(service("s") + pool_of("s", [a], checked=True)))

    def status(*words):
        return run([SLUICECTL, "-s", daemon.control, "health", *words, "--exit-code"],
                   check=False).returncode
    wait_state(daemon, "a", "up")
    wait_for(lambda: status() == 0, what="it to be healthy")
    a.sick()
    wait_for(lambda: status("s") == 1, what="it to be unhealthy")
    a.well()
    wait_for(lambda: status("s") == 0, what="it to be healthy again")
    daemon.ctl("set global health=fail")
    assert status() == 1
    daemon.ctl("set global health=auto")
    wait_for(lambda: status() == 0, what="it to say yes again")
    daemon.stop()
    assert status() == 3
