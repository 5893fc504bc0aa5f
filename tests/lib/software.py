"""Real servers behind the balancer: nginx, Redis, PostgreSQL, MariaDB, Postfix, OpenSSH, memcached,
iperf3; and a certificate authority.

Each is a Process (sluice.py) with ports that the kernel chose and all its files in its own folder;
.address is where it listens, as the daemon's configuration writes it. Those that refuse to serve as
root, or should not, are run by root as the user that Debian made for them.
"""

import contextlib
import grp
import os
import pathlib
import pwd
import re
import shutil
import signal

from sluice import Port, Process, connect, family, make_folder, run


def answers(address):
    """Whether somebody listens there."""
    try:
        connect(address, 5).close()
    except OSError:
        return False
    return True


def run_as(user, folder):
    """What makes a program of root's run as user instead, who is given the folder. Else nothing."""
    if os.geteuid() != 0:
        return {}
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    shutil.chown(folder, user, group)
    return {"user": user, "group": group, "extra_groups": []}


class PortProcess(Process):
    """A Process with a port that it holds until it is left, also while its program does not run."""

    def __init__(self, port, args, folder, **popen):
        self.port = port
        self.address = port.address
        self.command = args, popen
        self.log_start = 0
        self._run(folder)

    def _run(self, folder):
        args, popen = self.command
        super().__init__(args, folder, **popen)
        self.own_folder = True
        self.ready_when(self.is_ready)

    def is_ready(self):
        return answers(self.address)

    def news(self):
        """Its log since it was started last."""
        return self.log()[self.log_start:]

    def restart(self):
        """Starts it again with the same files, however it ended."""
        self.kill()
        self.log_start = len(self.log())
        self._run(self.folder)

    @contextlib.contextmanager
    def paused(self):
        """Meanwhile it stands still with all its processes: only the kernel accepts, for it."""
        still = set()

        def signal_all(pids, number):
            for pid in pids:
                still.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        try:
            while new := set(family(self.pid)) - still:  # the last of them may have made more
                signal_all(new, signal.SIGSTOP)
            yield
        finally:
            signal_all(set(family(self.pid)), signal.SIGCONT)

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

    def served(self):
        """Requests, bytes received and bytes sent, of the requests logged so far."""
        lines = (self.folder / "access.log").read_text().splitlines()
        pairs = [tuple(map(int, line.split())) for line in lines]
        return len(pairs), sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    def errors(self):
        return (self.folder / "error.log").read_text()


class Redis(PortProcess):
    """redis-server without persistence, with more of its command line; also on .unix_address."""

    def __init__(self, *options):
        port = Port()
        folder = make_folder("redis")
        local = folder / "redis.sock"
        self.unix_address = f"unix:{local}"
        super().__init__(port, ["redis-server", "--bind", port.host, "--port", port.number,
                                "--unixsocket", local, "--unixsocketperm", "777", "--save", "",
                                "--appendonly", "no", "--dir", folder, *options], folder)

    def is_ready(self):
        return answers(self.address) and answers(self.unix_address)


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
        as_user = run_as("postgres", folder)
        data = folder / "data"
        run([_postgresql("initdb"), "-D", data, "-U", "test", "-A", "trust", "--no-sync",
             "--locale", "C", "-E", "UTF8"], cwd=folder, **as_user)
        super().__init__(port, [_postgresql("postgres"), "-D", data, "-h", port.host,
                                "-p", port.number, "-k", folder, "-c", "fsync=off",
                                "-c", "shared_buffers=64MB", "-c", "max_connections=50"],
                         folder, **as_user)

    def is_ready(self):
        return "ready to accept connections" in self.news()


class MariaDB(PortProcess):
    """A fresh MariaDB, with the superuser "root" and no passwords; sql() talks as that one.

    hosts: {"127.0.0.2": "client.test"}, names of clients. (It counts what clients with a name do
    wrong, and blocks them in the end; others, and 127.0.0.1, it never blocks.)
    """

    def __init__(self, *options, hosts=None):
        port = Port()
        folder = make_folder("mariadb")
        as_user = run_as("mysql", folder)
        common = ["--no-defaults", f"--datadir={folder}/data", "--innodb-log-file-size=8M",
                  "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"]
        run(["mariadb-install-db", *common, "--auth-root-authentication-method=normal",
             "--skip-test-db", "--skip-name-resolve"], cwd=folder, **as_user)
        self.socket = folder / "mariadb.sock"
        if hosts:
            lines = [f"{address} {name}\n" for address, name in hosts.items()]
            (folder / "hosts").write_text("".join(lines))
            self.environment = {"LD_PRELOAD": "libnss_wrapper.so",
                                "NSS_WRAPPER_HOSTS": str(folder / "hosts")}
        super().__init__(port, ["/usr/sbin/mariadbd", *common, f"--socket={self.socket}",
                                f"--bind-address={port.host}", f"--port={port.number}",
                                "--innodb-buffer-pool-size=16M", *options], folder, **as_user)

    def is_ready(self):
        return "ready for connections" in self.news()

    def sql(self, *statements, user="root", path=None, check=True):
        """Runs them and returns what they show, a row a line, tabs between columns, or what was
        wrong if check is not. path: of another socket than its own."""
        result = run(["mariadb", "--no-defaults", f"--socket={path or self.socket}", "-u", user,
                      "-N", "-B", "-e", "; ".join(statements)], check=check)
        return result.stdout + result.stderr


POSTFIX = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mail.test
smtpd_peername_lookup = no
smtpd_client_event_limit_exceptions =
alias_maps =
local_recipient_maps =
{settings}
"""
POSTFIX_SERVICES = """
{address} inet n - n - - smtpd
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(PortProcess):
    """Postfix's SMTP server, with settings of main.cf; mail would go nowhere. Needs root.

    Its parts are run by its own master, without the scripts that look after an installation.
    """

    program = pathlib.Path("/usr/lib/postfix/sbin/master")
    folders = {"queue": ("root", "root", 0o755), "queue/pid": ("root", "root", 0o755),
               "queue/private": ("postfix", "root", 0o700),
               "queue/public": ("postfix", "postdrop", 0o710), "data": ("postfix", "root", 0o700)}

    def __init__(self, **settings):
        port = Port()
        folder = make_folder("postfix")
        for name, (user, group, mode) in self.folders.items():
            (folder / name).mkdir()
            shutil.chown(folder / name, user, group)
            (folder / name).chmod(mode)
        (folder / "master.cf").write_text(POSTFIX_SERVICES.format(address=port.address))
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (folder / "main.cf").write_text(POSTFIX.format(folder=folder, settings="\n".join(lines)))
        os.utime(folder / "main.cf", (0, 0))  # a new one it would wait for, lest it be half written
        super().__init__(port, [self.program, "-c", folder, "-d"], folder)

    def log(self):
        """What its parts say."""
        path = self.folder / "mail.log"
        return super().log() + (path.read_text(errors="replace") if path.exists() else "")

    def is_ready(self):
        return "daemon started" in self.news()


class Sshd(PortProcess):
    """OpenSSH's server with options of sshd_config; it lets nobody in, as it is not root."""

    def __init__(self, *options):
        port = Port()
        folder = make_folder("sshd")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"])
        as_user = run_as("sshd", folder)
        if as_user:
            shutil.chown(folder / "key", as_user["user"])
        super().__init__(port, ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h",
                                folder / "key", "-o", f"ListenAddress={port.address}",
                                "-o", "PidFile=none",
                                *(word for option in options for word in ("-o", option))],
                         folder, **as_user)

    def is_ready(self):
        return "Server listening" in self.news()


class Memcached(PortProcess):
    """memcached without UDP, with more of its command line."""

    def __init__(self, *options):
        port = Port()
        folder = make_folder("memcached")
        super().__init__(port, ["memcached", "-l", port.host, "-p", port.number, "-U", 0, "-m", 8,
                                *options], folder, **run_as("memcache", folder))


class Iperf3(PortProcess):
    """iperf3 as server."""

    stop_signal = signal.SIGINT

    def __init__(self):
        port = Port()
        folder = make_folder("iperf3")
        super().__init__(port, ["iperf3", "-s", "-B", port.host, "-p", port.number,
                                "--forceflush"], folder)

    def is_ready(self):
        return "Server listening" in self.out()


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
