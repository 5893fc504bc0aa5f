"""PROXY headers to backends: nginx and HAProxy that insist on them, for checks and for sessions."""

import contextlib
import re
import socket
import struct

import pytest

from peers import Server
from sluice import Daemon, Port, Process, connect, make_folder, pool, service, split, wait_for
from software import Authority, answers

VERSIONS = ["v1", "v2"]
FAST = {"interval": "50ms", "timeout": "2s", "rise": 1, "fall": 1}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

# What either server answers: what it takes for the client's address and port, and what the client
# connected to.
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ }}
http {{
    log_format told "$proxy_protocol_addr $remote_addr $request_uri";
    access_log {folder}/access.log told;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type text/plain;
    server {{
        listen {v4} proxy_protocol;
        listen {v6} proxy_protocol;
        listen {unix} proxy_protocol;
        listen {tls} ssl proxy_protocol;
        listen {plain};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr \
$proxy_protocol_server_port\\n";
        }}
    }}
}}
"""

HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    timeout client 60s
frontend told
    log global
    option httplog
    bind {v4} accept-proxy
    bind {v6} accept-proxy
    bind unix@{path} accept-proxy mode 666
    bind {tls} accept-proxy ssl crt {pem}
    bind {plain}
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] \
%[dst_port]\\n"
"""


class Told(Process):
    """A server with listeners that insist on a PROXY header: .v4, .v6, .unix, .tls; and .plain."""

    def __init__(self, *args):
        folder = make_folder(args[0])
        folder.chmod(0o777)  # nginx's workers give root up, and the daemon's processes do
        certificate, key = Authority(folder).issue("web.test")
        pem = folder / "both.pem"
        pem.write_text(certificate.read_text() + key.read_text())
        self.path = folder / "told.sock"
        with contextlib.ExitStack() as ports:
            self.v4, self.v6, self.tls, self.plain = (
                ports.enter_context(Port(host)).address
                for host in ("127.0.0.1", "::1", "127.0.0.1", "127.0.0.1"))
            self.ports = ports.pop_all()
        self.unix = f"unix:{self.path}"
        self.config = folder / "told.conf"
        self.config.write_text(self.text.format(
            folder=folder, certificate=certificate, key=key, pem=pem, path=self.path, v4=self.v4,
            v6=self.v6, unix=self.unix, tls=self.tls, plain=self.plain))
        super().__init__([word.format(folder=folder, config=self.config) for word in args], folder)
        self.own_folder = True
        self.ready_when(lambda: answers(self.plain))  # which is opened last

    def clean(self):
        self.ports.close()
        super().clean()


class Nginx(Told):
    text = NGINX
    nobody = "   "  # what it says of a client whom the header does not name

    def __init__(self):
        super().__init__("nginx", "-e", "{folder}/error.log", "-p", "{folder}", "-c", "{config}")

    def requests(self):
        """What its access log has: pairs of the client by the header, and by the connection."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [tuple(line.split()[:2]) for line in lines]

    def errors(self):
        return (self.folder / "error.log").read_text()


class HAProxy(Told):
    text = HAPROXY

    def __init__(self):
        super().__init__("haproxy", "-db", "-f", "{config}")

    def errors(self):
        return "".join(line for line in self.out().splitlines(True) if "PROXY" in line)


@pytest.fixture(scope="module", params=[Nginx, HAProxy], ids=["nginx", "haproxy"])
def server(request):
    with request.param() as made:
        yield made


@pytest.fixture
def nginx(start):
    return start(Nginx())


def wait_state(daemon, name, state):
    return wait_for(lambda: (row := daemon.backend("s", name))["state"] == state and row,
                    what=f"{name} to be {state}")


def config(backends, checks=None, listen=("127.0.0.1:0",), **options):
    return service("s", listen=listen) + pool("s", backends, checks=checks, **options)


# --- checks ---

@pytest.mark.parametrize("version", VERSIONS)
def test_http_checks_pass(start, server, version):
    """Over every kind of address, and before TLS; nothing that the server would find wrong."""
    before = len(server.errors())
    backends = {name: getattr(server, name) for name in ("v4", "v6", "unix")}
    text = config(backends, {"http": FAST}, send_proxy=version).replace(
        'backend "v4"', 'backend "tls" { address = "%s" check "http" { interval = "50ms" '
        'tls = true sni = "web.test" } }\n    backend "v4"' % server.tls)
    daemon = start(Daemon(text))
    for name in ("v4", "v6", "unix", "tls"):
        assert wait_state(daemon, name, "up")["reason"].startswith("HTTP 200")
        wait_for(lambda: daemon.backend("s", name)["checks_passed"] >= 5, what="more checks")
        assert daemon.backend("s", name)["checks_failed"] == 0
    assert server.errors()[before:] == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_checks_name_no_client(start, nginx, version):
    """What nginx knows of a check's client is the connection."""
    daemon = start(Daemon(config([nginx.v4], {"http": FAST}, send_proxy=version)))
    wait_state(daemon, "a", "up")
    wait_for(nginx.requests, what="nginx to log a check")
    assert set(nginx.requests()) == {("-", "127.0.0.1")}


def test_who_does_not_send_it_is_told(start, server):
    """A check without the header fails, and says how; a reload is enough to mend it."""
    backends = {name: getattr(server, name) for name in ("v4", "unix")}
    daemon = start(Daemon(config(backends, {"http": FAST})))
    for name in backends:
        reason = wait_state(daemon, name, "down")["reason"]
        assert reason in ("closed without an answer", "connection reset"), reason
    daemon.reload(config(backends, {"http": FAST}, send_proxy="v1"))
    failed = {name: wait_state(daemon, name, "up")["checks_failed"] for name in backends}
    reply = daemon.reload(config(backends, {"http": FAST}, send_proxy="v2"))
    assert reply["changes"] == ["pool s: send_proxy v1 -> v2"]
    for name in backends:
        passed = daemon.backend("s", name)["checks_passed"]
        wait_for(lambda: daemon.backend("s", name)["checks_passed"] >= passed + 5,
                 what="checks of the other version")
        assert daemon.backend("s", name)["checks_failed"] == failed[name]
    daemon.reload(config(backends, {"http": FAST}))
    for name in backends:
        wait_state(daemon, name, "down")


def test_who_does_not_expect_it_is_found_out(start, server):
    """The header is no request: a server that does not know it says so."""
    daemon = start(Daemon(config([server.plain], {"http": FAST}, send_proxy="v1")))
    assert wait_state(daemon, "a", "down")["reason"] == "HTTP 400, expected 200-399"


def test_checks_of_other_addresses_go_without(start, server):
    """By a check's own port, or the backend's check_address."""
    port = split(server.plain)[1]
    daemon = start(Daemon(config(
        {"a": server.v4, "b": {"address": server.v6, "check_address": server.plain}},
        {"http": FAST}, send_proxy="v2").replace(
            'backend "a" {', 'backend "a" { check "http" { interval = "50ms" port = %d }' % port)))
    wait_state(daemon, "a", "up")
    wait_state(daemon, "b", "up")


@pytest.mark.parametrize("version", VERSIONS)
def test_tcp_checks_leave_nothing_broken(start, version):
    """Over TCP they are over before the server accepts; over a Unix socket they say the header."""
    server = start(HAProxy())
    backends = {"v4": server.v4, "unix": server.unix}
    before = len(server.out())
    daemon = start(Daemon(config(backends, {"tcp": FAST}, send_proxy=version)))
    for name in backends:
        wait_for(lambda: daemon.backend("s", name)["checks_passed"] >= 10, what="ten checks")
    daemon.stop()
    lines = [line for line in server.out()[before:].splitlines() if line.startswith("unix:")]
    assert lines and not any("PROXY" in line for line in lines), lines


# --- sessions ---

LISTEN = {"v4": "127.0.0.1:0", "v6": "[::1]:0"}


def told(sock):
    """What the server says of the client behind sock: address, port, and those it connected to."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    reply = b""
    while data := sock.recv(65536):
        reply += data
    assert reply.startswith(b"HTTP/1.1 200 "), reply
    return reply.partition(b"\r\n\r\n")[2].decode().removesuffix("\n")


def names_of(sock):
    """The same, as the client itself knows it."""
    return " ".join(f"{host} {port}" for host, port, *_ in (sock.getsockname(), sock.getpeername()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("family", LISTEN)
def test_sessions_name_the_client(start, server, version, family):
    """Address and port of both ends of the client's connection, whatever way leads to the server."""
    for backend in ("v4", "v6", "unix"):
        with Daemon(config([getattr(server, backend)], listen=[LISTEN[family]],
                           send_proxy=version)) as daemon:
            for _ in range(5):
                with connect(daemon.address("s")) as sock:
                    expected = names_of(sock)
                    assert told(sock) == expected, backend
            assert daemon.check_accounts("s")["connections_total"] == 5


def test_nginx_logs_the_client(start, nginx):
    """$proxy_protocol_addr is where the client is, and no other address of this machine."""
    daemon = start(Daemon(config([nginx.v4], {"http": {**FAST, "path": "/check"}},
                                 send_proxy="v2")))
    wait_state(daemon, "a", "up")
    host, port = split(daemon.address("s"))
    with socket.create_connection((host, port), 60, source_address=("127.0.0.9", 0)) as sock:
        assert told(sock).startswith("127.0.0.9 ")
    wait_for(lambda: ("127.0.0.9", "127.0.0.1") in nginx.requests(), what="nginx to log it")


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_of_a_unix_socket_have_no_name(start, server, folder, version):
    """They are served, and the server knows that it knows nothing of them."""
    daemon = start(Daemon(config([server.v4], listen=[f"unix:{folder}/in.sock"],
                                 send_proxy=version)))
    with connect(daemon.address("s")) as sock:
        said = told(sock)
    if isinstance(server, Nginx):
        assert said == Nginx.nobody
    else:  # HAProxy then has the connection's own
        assert re.fullmatch(rf"127\.0\.0\.1 \d+ 127\.0\.0\.1 {split(server.v4)[1]}", said)


def header_of(version, sock):
    """What the header of a client over IPv4 has to be, byte for byte."""
    client, destination = sock.getsockname(), sock.getpeername()
    if version == "v1":
        return (f"PROXY TCP4 {client[0]} {destination[0]} {client[1]} {destination[1]}\r\n"
                .encode())
    return SIGNATURE + struct.pack(">BBH4s4sHH", 0x21, 0x11, 12, socket.inet_aton(client[0]),
                                   socket.inet_aton(destination[0]), client[1], destination[1])


def read_to_end(sock):
    received = bytearray()
    while data := sock.recv(1 << 20):
        received += data
    return bytes(received)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_byte_follows_the_header(start, version):
    """A large upload arrives whole, behind one header."""
    payload = bytes(range(256)) * 16384
    received = []
    def serve(sock):
        received.append(read_to_end(sock))
        sock.sendall(b"done")
    with Server(serve) as backend:
        daemon = start(Daemon(config([backend.address], send_proxy=version)))
        with connect(daemon.address("s")) as sock:
            header = header_of(version, sock)
            sock.sendall(payload)
            sock.shutdown(socket.SHUT_WR)
            assert read_to_end(sock) == b"done"
        assert received == [header + payload]
        daemon.check_accounts("s")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_header_waits_for_no_client(start, version):
    """A server that speaks first does so once it has the header, while the client is silent."""
    def serve(sock):
        header = b""
        while not (header.endswith(b"\r\n") if version == "v1" else len(header) == 28):
            header += sock.recv(1)
        sock.sendall(b"220 " + header)
        return read_to_end(sock)
    with Server(serve) as backend:
        daemon = start(Daemon(config([backend.address], send_proxy=version)))
        with connect(daemon.address("s")) as sock:
            expected = b"220 " + header_of(version, sock)
            assert sock.recv(len(expected), socket.MSG_WAITALL) == expected
        daemon.check_accounts("s")


@pytest.mark.parametrize("version", VERSIONS)
def test_another_try_has_its_own_header(start, version):
    """The first backend refuses: the second gets one header, and all that the client sent."""
    received = []
    with Server(lambda sock: received.append(read_to_end(sock))) as backend:
        refuses = start(Port())
        daemon = start(Daemon(config({"a": {"address": refuses.address, "weight": 100},
                                      "b": backend.address}, send_proxy=version, scheduler="first",
                                     retries=3)))
        expected = []
        for nth in range(5):
            with connect(daemon.address("s")) as sock:
                expected.append(header_of(version, sock) + b"hello %d" % nth)
                sock.sendall(b"hello %d" % nth)
                sock.shutdown(socket.SHUT_WR)
                assert read_to_end(sock) == b""
        assert received == expected
        daemon.check_accounts("s")


def test_a_reload_holds_for_new_sessions(start):
    """What has begun goes on as it began."""
    received = []
    with Server(lambda sock: received.append(read_to_end(sock))) as backend:
        daemon = start(Daemon(config([backend.address])))
        expected = []
        with contextlib.ExitStack() as stack:
            socks = []
            for version in ("off", "v1", "v2", "off"):
                daemon.reload(config([backend.address], send_proxy=version))
                sock = stack.enter_context(connect(daemon.address("s")))
                sock.sendall(b"one ")
                wait_for(lambda: len(backend.sockets) == len(socks) + 1, what="the session")
                socks.append(sock)
                expected.append((b"" if version == "off" else header_of(version, sock))
                                + b"one two")
            for sock in socks:
                sock.sendall(b"two")
                sock.shutdown(socket.SHUT_WR)
                assert read_to_end(sock) == b""
        assert received == expected
        daemon.check_accounts("s")
