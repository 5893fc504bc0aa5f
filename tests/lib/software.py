"""Real servers behind the balancer: nginx, Redis, PostgreSQL, iperf3, and a certificate authority.

Each is a Process (sluice.py) with ports that the kernel chose and all its files in its own folder;
.address is where it listens, as the daemon's configuration writes it.
"""

import os
import pathlib
import re
import shutil
import signal

from sluice import Port, Process, connect, make_folder, run


def answers(address):
    """Whether somebody listens there."""
    try:
        connect(address, 5).close()
    except OSError:
        return False
    return True


class PortProcess(Process):
    """A Process with a port that it holds for its whole life."""

    def __init__(self, port, args, folder, **popen):
        self.port = port
        self.address = port.address
        super().__init__(args, folder, **popen)
        self.own_folder = True

    def clean(self):
        self.port.__exit__()
        super().clean()


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2000; }}
http {{
    log_format bytes "$request_length $bytes_sent";
    access_log {folder}/access.log bytes;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    keepalive_requests 1000000;
    server {{
        listen {address}{listen_options};
        root {folder}/root;
        ssl_protocols TLSv1.2 TLSv1.3;
        {server}
    }}
}}
"""


class Nginx(PortProcess):
    """Serves files = {"name": bytes}; certificate: an Authority's (certificate, key), for TLS."""

    stop_signal = signal.SIGQUIT  # once its connections have ended

    def __init__(self, files, certificate=None, server=""):
        folder = make_folder("nginx")
        (folder / "root").mkdir()
        for name, content in files.items():
            (folder / "root" / name).write_bytes(content)
        if certificate:
            server += f"ssl_certificate {certificate[0]};\nssl_certificate_key {certificate[1]};"
        port = Port()
        (folder / "nginx.conf").write_text(NGINX.format(
            folder=folder, address=port.address, server=server,
            listen_options=" ssl http2" if certificate else " backlog=4096"))
        super().__init__(port, ["nginx", "-e", folder / "error.log", "-p", folder,
                                "-c", folder / "nginx.conf"], folder)
        self.ready_when(lambda: answers(self.address))

    def served(self):
        """Requests, bytes received and bytes sent, of the requests logged so far."""
        lines = (self.folder / "access.log").read_text().splitlines()
        pairs = [tuple(map(int, line.split())) for line in lines]
        return len(pairs), sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    def errors(self):
        return (self.folder / "error.log").read_text()


class Redis(PortProcess):
    """redis-server without persistence; also on .unix_address."""

    def __init__(self):
        port = Port()
        folder = make_folder("redis")
        local = folder / "redis.sock"
        super().__init__(port, ["redis-server", "--bind", port.host, "--port", port.number,
                                "--unixsocket", local, "--unixsocketperm", "777", "--save", "",
                                "--appendonly", "no", "--dir", folder], folder)
        self.unix_address = f"unix:{local}"
        self.ready_when(lambda: answers(self.address) and answers(self.unix_address))


def _postgresql(program):
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    assert found, f"{program} is missing: install postgresql"
    return found[-1]


class Postgres(PortProcess):
    """A fresh PostgreSQL cluster, with the superuser "test" and no passwords.

    The server refuses to run as root, so root runs it as the user that Debian made for it.
    """

    stop_signal = signal.SIGINT  # its "fast" shutdown

    def __init__(self):
        port = Port()
        folder = make_folder("postgres")
        as_user = {}
        if os.geteuid() == 0:
            as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        run([_postgresql("initdb"), "-D", data, "-U", "test", "-A", "trust", "--no-sync",
             "--locale", "C", "-E", "UTF8"], cwd=folder, **as_user)
        super().__init__(port, [_postgresql("postgres"), "-D", data, "-h", port.host,
                                "-p", port.number, "-k", folder, "-c", "fsync=off",
                                "-c", "shared_buffers=64MB", "-c", "max_connections=50"],
                         folder, **as_user)
        self.ready_when(lambda: "ready to accept connections" in self.log())


class Iperf3(PortProcess):
    """iperf3 as server."""

    stop_signal = signal.SIGINT

    def __init__(self):
        port = Port()
        folder = make_folder("iperf3")
        super().__init__(port, ["iperf3", "-s", "-B", port.host, "-p", port.number,
                                "--forceflush"], folder)
        self.ready_when(lambda: "Server listening" in self.out())


class Authority:
    """A certificate authority in a folder: its own certificate is .certificate."""

    def __init__(self, folder, name="test authority"):
        self.folder = pathlib.Path(folder) / re.sub(r"\W", "-", name)
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name}",
             "-days", "2"])

    def issue(self, host):
        """Paths of a certificate for a host name, and of its key."""
        certificate, key = self.folder / f"{host}.pem", self.folder / f"{host}.key"
        request = self.folder / f"{host}.csr"
        run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", key, "-out", request, "-subj", f"/CN={host}",
             "-addext", f"subjectAltName=DNS:{host}"])
        run(["openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
             "-CAcreateserial", "-copy_extensions", "copy", "-days", "2", "-out", certificate])
        return certificate, key
