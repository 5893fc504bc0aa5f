"""Transparent pools in three network namespaces: a client, the balancer, and a backend whose default
route leads through the balancer. The routes and rules are those that doctor tells."""

import contextlib
import json
import os
import pathlib
import socket
import struct
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from sluice import (REPOSITORY, SLUICECTL, SLUICED, WAIT, CtlError, Daemon, Origin, Process,  # noqa: E402
                    amount, pool, run, service, split, wait_for)
from test_namespace import CLONE_NEWNET, is_reset, libc, namespace, start  # noqa: E402, F401

NET_RAW = 1 << 13
IPV4 = "10.{}.0.{}"
IPV6 = "fd0{}::{}"
SETTINGS = pathlib.Path("/proc/sys/net/ipv4/conf")


def at(form, network, host, port):
    text = form.format(network, host)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


LISTEN = [at(IPV4, 1, 1, 8080), at(IPV6, 1, 1, 8080)]


class Host(Process):
    """Another machine on a network of its own: there it is 2, and the balancer 1, its gateway."""

    def __init__(self, network):
        super().__init__(["unshare", "--net", "sleep", "infinity"])
        ours = os.stat("/proc/thread-self/ns/net").st_ino
        wait_for(lambda: os.stat(f"/proc/{self.pid}/ns/net").st_ino != ours, what="a namespace")
        device = f"net{network}"
        ip(f"link add {device} type veth peer name eth0 netns {self.pid}")
        plug(device, network, 1)
        with self.inside():
            plug("eth0", network, 2)
            ip("link set lo up")
            ip(f"route add default via {IPV4.format(network, 1)}")
            ip(f"-6 route add default via {IPV6.format(network, 1)}")

    @contextlib.contextmanager
    def inside(self):
        """What is opened and started by the way belongs to that machine."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            assert libc.setns(there, CLONE_NEWNET) == 0
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
            os.close(home)
            os.close(there)

    def connect(self, address):
        family = socket.AF_INET6 if "[" in address else socket.AF_INET
        with self.inside():
            sock = socket.socket(family)
        sock.settimeout(WAIT)
        sock.connect(split(address))
        return sock

    def listen(self, address):
        family = socket.AF_INET6 if "[" in address else socket.AF_INET
        with self.inside():
            sock = socket.create_server(split(address), family=family)
        sock.settimeout(WAIT)
        return sock


def is_refused(client, address):
    try:
        with client.connect(address) as sock:
            return is_reset(sock)
    except ConnectionResetError:
        return True


def ip(words):
    run(["ip", *words.split()])


def plug(device, network, host):
    ip(f"address add {IPV4.format(network, host)}/24 dev {device}")
    ip(f"address add {IPV6.format(network, host)}/64 dev {device} nodad")
    ip(f"link set {device} up")


@pytest.fixture
def hosts(start):
    """The client's machine, and the backend's."""
    return start(Host(1)), start(Host(2))


def doctor(path):
    result = run([SLUICECTL, "doctor", "--json", "-c", path], check=False)
    report = json.loads(result.stdout)
    rows = {row["setting"]: row for row in report["rows"]}
    assert result.returncode == (0 if report["ready"] else 1), result
    return report["ready"], rows


def too_low(rows):
    return [setting for setting, row in rows.items() if row["state"] == "too low"]


def do_what_it_says(rows):
    for setting in too_low(rows):
        run(["sh", "-c", rows[setting]["command"]])


def balance(start, backends, listen=LISTEN, workers=2, **options):
    text = service("s", listen=listen) + pool("s", backends, transparent=True, **options)
    daemon = start(Daemon(text, workers, max_connections=100))
    do_what_it_says(doctor(daemon.config_path)[1])
    return daemon


def capabilities(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("form", [IPV4, IPV6], ids=["ipv4", "ipv6"])
def test_backend_sees_the_client(start, hosts, form, workers):
    """The client's address, and not its port; bytes, ends and resets both ways."""
    client, backend = hosts
    server = start(backend.listen(at(form, 2, 2, 9000)))
    daemon = balance(start, [at(form, 2, 2, 9000)], workers=workers)
    for _ in range(4 * workers):
        sock = start(client.connect(at(form, 1, 1, 8080)))
        served, seen = server.accept()
        start(served)
        assert seen[0] == form.format(1, 2)
        sock.sendall(b"ask")
        assert served.recv(10) == b"ask"
        served.sendall(b"answer")
        assert sock.recv(10) == b"answer"
    sock.shutdown(socket.SHUT_WR)
    assert served.recv(10) == b""
    served.close()
    assert sock.recv(10) == b""
    for nth in range(2):
        ends = start(client.connect(at(form, 1, 1, 8080))), server.accept()[0]
        start(ends[1])
        ends[nth].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends[nth].close()
        assert is_reset(ends[1 - nth])
    wait_for(lambda: daemon.service("s")["ended_by"]["backend_reset"] == 1, what="its count")
    assert daemon.service("s")["connections_refused"] == 0
    assert daemon.ctl_json("show source-ports")["source_ports"] == []


def test_bulk(start, hosts):
    client, backend = hosts
    with backend.inside():
        echo = start(Origin(f"echo@{at(IPV4, 2, 2, 0)}"))
    balance(start, echo.addresses, workers=1)
    sock = start(client.connect(LISTEN[0]))
    block = os.urandom(1 << 16)
    for _ in range(amount(1000, 100)):
        sock.sendall(block)
        got = b""
        while len(got) < len(block):
            got += sock.recv(len(block))
        assert got == block


def test_doctor(start, hosts):
    """What is missing, one after the other, by what it does; the same commands are in README."""
    client, backend = hosts
    start(backend.listen(at(IPV4, 2, 2, 9000)))
    backends = [at(IPV4, 2, 2, 9000), at(IPV6, 2, 2, 9000)]
    daemon = start(Daemon(service("s", listen=LISTEN) + pool("s", backends, transparent=True), 1,
                          max_connections=100))
    readme = (REPOSITORY / "README.md").read_text()
    missing = ["transparent: mark of replies", "transparent: IPv4 route", "transparent: IPv6 route"]
    ready, rows = doctor(daemon.config_path)
    assert (ready, too_low(rows)) == (False, missing)
    assert rows["transparent: capability"]["state"] == "ok"
    while missing:
        command = rows[missing.pop(0)]["command"]
        assert all(part in readme for part in command.split("; ip ")), command
        run(["sh", "-c", command])
        ready, rows = doctor(daemon.config_path)
        assert (ready, too_low(rows)) == (not missing, missing)
    assert rows["net.ipv4.ip_nonlocal_bind"]["state"] == "ok"

    ip("rule del fwmark 1")
    ip("rule add not fwmark 1 lookup 100")
    assert too_low(doctor(daemon.config_path)[1]) == ["transparent: IPv4 route"]
    ip("rule del not fwmark 1")
    ip("rule add fwmark 0x1/0x1 lookup 100")
    assert doctor(daemon.config_path)[0]

    ip("rule add pref 5 fwmark 1 blackhole")  # an earlier one takes them away
    rows = doctor(daemon.config_path)[1]
    assert too_low(rows) == ["transparent: IPv4 route"]
    assert 'the rule "5: from all fwmark 0x1 blackhole" takes them' in \
        rows["transparent: IPv4 route"]["why"]
    ip("rule del pref 5")
    ip("rule add pref 5 to 10.9.0.0/16 blackhole")
    assert doctor(daemon.config_path)[1]["transparent: IPv4 route"]["state"] == "unknown"
    ip("rule del pref 5")
    (SETTINGS / "net2" / "src_valid_mark").write_text("1")
    rows = doctor(daemon.config_path)[1]
    assert too_low(rows) == ["net.ipv4.conf.all.src_valid_mark"]
    assert rows[too_low(rows)[0]]["command"] == "sysctl -w net.ipv4.conf.net2.src_valid_mark=0"
    assert not any("transparent" in setting for setting in doctor(REPOSITORY / "conf/sluice.conf")[1])


def test_rp_filter(start, hosts):
    """As doctor says: of no consequence here, unlike src_valid_mark."""
    client, backend = hosts
    server = start(backend.listen(at(IPV4, 2, 2, 9000)))
    daemon = balance(start, [at(IPV4, 2, 2, 9000)], workers=1, connect_timeout="300ms", retries=0)
    for nth, rp_filter in enumerate(["0", "1", "2"]):
        for device in "all", "net2":
            (SETTINGS / device / "rp_filter").write_text(rp_filter)
        start(client.connect(LISTEN[0]))
        start(server.accept()[0])
        (SETTINGS / "all" / "src_valid_mark").write_text("1")
        assert is_refused(client, LISTEN[0])
        (SETTINGS / "all" / "src_valid_mark").write_text("0")
        wait_for(lambda: daemon.service("s")["refused_by"]["connect_failed"] == nth + 1,
                 what="its count")


def test_other_family(start, hosts):
    """A backend of the client's family is found; where there is none the client is refused, and no
    backend is blamed."""
    client, backend = hosts
    servers = [start(backend.listen(at(form, 2, 2, 9000))) for form in (IPV4, IPV6)]
    backends = {"four": at(IPV4, 2, 2, 9000), "six": at(IPV6, 2, 2, 9000)}
    daemon = balance(start, backends, scheduler="rr")
    for _ in range(4):
        for server, listen, form in zip(servers, LISTEN, (IPV4, IPV6)):
            start(client.connect(listen))
            served, seen = server.accept()
            start(served)
            assert seen[0] == form.format(1, 2)
    daemon.reload(service("s", listen=LISTEN)
                  + pool("s", {"four": backends["four"]}, transparent=True))
    assert is_refused(client, LISTEN[1])
    wait_for(lambda: daemon.service("s")["refused_by"]["client_address"] == 1, what="its count")
    assert daemon.backend("s", "four")["connect_failures"] == 0
    checked = run([SLUICED, "-t", "-c", daemon.config_path]).stderr
    assert f'listen {LISTEN[1]}: its clients are refused by pool "s", which is transparent' in checked


def test_ports_of_one_client(start, hosts):
    """Each client has its own; one that has used all is refused for that."""
    client, backend = hosts
    server = start(backend.listen(at(IPV4, 2, 2, 9000)))
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40003\n")
    daemon = balance(start, [at(IPV4, 2, 2, 9000)])
    with client.inside():
        ip(f"address add {IPV4.format(1, 3)}/24 dev eth0")
    for _ in range(4):
        start(client.connect(LISTEN[0]))
        start(server.accept()[0])
    assert is_refused(client, LISTEN[0])
    wait_for(lambda: daemon.service("s")["refused_by"]["source_ports"] == 1, what="its count")
    with client.inside():
        other = start(socket.socket())
    other.bind((IPV4.format(1, 3), 0))
    other.settimeout(WAIT)
    other.connect(split(LISTEN[0]))
    served, seen = server.accept()
    start(served)
    assert seen[0] == IPV4.format(1, 3)
    said = wait_for(lambda: [one["text"] for one in daemon.ctl_json("show events")["events"]
                             if one["kind"] == "ports"], what="an event")
    assert "each client's address has 4 ports towards each backend" in said[0]


def test_only_with_the_right(start, hosts):
    """Workers keep one capability, and only where a pool wants it; it cannot be turned on later."""
    backends = [at(IPV4, 2, 2, 9000)]
    plain = service("s", listen=LISTEN[:1]) + pool("s", backends)
    wanted = service("s", listen=LISTEN[:1]) + pool("s", backends, transparent=True)
    daemon = start(Daemon(plain, 1))
    assert [capabilities(pid) for pid in daemon.workers()] == [0]
    assert capabilities(daemon.pid) & NET_RAW == 0
    daemon.write(wanted)
    for words in "check config", "reload", "set pool s transparent=true":
        with pytest.raises(CtlError, match="can only be given that right when it starts; start it as "
                                           "root"):
            daemon.ctl(words)
    assert daemon.ctl_json("show info")["generation"] == 1
    assert too_low(doctor(daemon.config_path)[1])[0] == "transparent: capability"
    daemon.stop()

    daemon = start(Daemon(wanted, 1))
    (worker,) = daemon.workers()
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    assert (capabilities(worker), capabilities(monitor)) == (NET_RAW, 0)
    daemon.kill_child(worker)
    (worker,) = wait_for(lambda: [pid for pid in daemon.workers() if pid not in (0, worker)],
                         what="another worker")
    wait_for(lambda: capabilities(worker) == NET_RAW, what="its capability")
    daemon.reload(plain)
    daemon.reload(wanted)


def test_without_root(start, hosts, folder_of_nobody):
    """Told by -t, and no start."""
    path = folder_of_nobody / "sluice.conf"
    path.write_text(f'global {{ control_socket = "{folder_of_nobody}/s"  state_file = "none" }}\n'
                    + service("s", listen=["127.0.0.1:0"])
                    + pool("s", [at(IPV4, 2, 2, 9000)], transparent=True))
    checked = run([SLUICED, "-t", "-c", path], user=65534, group=65534, extra_groups=[])
    assert "a daemon started by this user may not connect from clients' addresses" in checked.stderr
    started = run([SLUICED, "-c", path], user=65534, group=65534, extra_groups=[], check=False)
    assert started.returncode == 1
    assert 'pool \\"s\\"' in started.stderr and "workers may not connect" in started.stderr


@pytest.fixture
def folder_of_nobody(start):
    import sluice
    folder = sluice.make_folder("nobody")
    os.chown(folder, 65534, 65534)
    yield folder
    sluice.remove_folder(folder)
