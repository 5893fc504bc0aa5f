"""The contenders: Sluice, its peers and the direct path, all told to do the same work.

Each is started afresh for each measurement, by running(): a context that gives a Running.
"""

import contextlib
import json
import os
import shutil
import socket
import string
import subprocess
import tempfile
from dataclasses import dataclass, field

from procs import BenchError, Process, children, free_port, wait_listening, wait_until


@dataclass
class Running:
    """One contender at work; port is where clients go."""
    port: int
    configuration: str = ""
    traffic: list = field(default_factory=list)  # the processes that carry the traffic
    rest: list = field(default_factory=list)     # its others: master, monitor
    held: int = 0  # idle connections that stand beside the traffic; growth_rows.py holds them


@dataclass
class Site:
    """Where a contender stands: its core, its origin, its limits."""
    cores: object
    backends: list  # "IP:PORT"; the first one's port is where clients of the direct path go
    check_port: int  # None: nobody checks
    sessions: int


def fill(name, **values):
    """The text of conf/NAME with the values in place, without the lines that stay empty."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conf", name)
    with open(path, encoding="utf-8") as text:
        filled = string.Template(text.read()).substitute(values)
    return "".join(line for line in filled.splitlines(True) if line.strip())


class Contender:
    """peer: something that Sluice is compared with; ours: something that is compared."""
    name = file = backend = check = backend_more = ""
    peer = ours = False
    more = {}

    def configuration(self, site, port, work):
        check = self.check.format(port=site.check_port) if site.check_port else ""
        backends = "\n".join(self.backend.format(name=f"s{i}", address=address, check=check,
                                                 more=self.backend_more)
                             for i, address in enumerate(site.backends))
        return fill(self.file, port=port, work=work, sessions=site.sessions, backends=backends,
                    check=check, descriptors=2 * site.sessions + 100, **self.more)

    def command(self, path):
        raise NotImplementedError

    def ready(self, process, running, work):
        """Whether clients are served; fills in which processes do that."""
        raise NotImplementedError

    @contextlib.contextmanager
    def running(self, site):
        work = tempfile.mkdtemp(prefix="sluice-bench-")
        process = None
        try:
            port = free_port()
            running = Running(port, self.configuration(site, port, work))
            path = os.path.join(work, self.file)
            with open(path, "w", encoding="utf-8") as text:
                text.write(running.configuration)
            process = Process(self.command(path), os.path.join(work, "log"), site.cores.balancer)
            wait_listening(process, port)
            if not wait_until(lambda: self.ready(process, running, work), 10):
                raise BenchError(f"{self.name} does not get ready")
            yield running
            process.check()
            if not all(os.path.exists(f"/proc/{pid}") for pid in running.traffic):
                raise BenchError(f"a process of {self.name} died under load")
        finally:
            if process:
                process.stop()
            shutil.rmtree(work, ignore_errors=True)


class Direct(Contender):
    """No balancer: shows what generator and origin can do."""
    name = "direct"

    @contextlib.contextmanager
    def running(self, site):
        yield Running(int(site.backends[0].rsplit(":", 1)[1]))


class Sluice(Contender):
    file, ours = "sluice.conf", True
    backend = '    backend "{name}" {{ address = "{address}" {more}}}'
    check = 'check "tcp" {{ port = {port}  interval = "2s"  timeout = "1s" }}'

    def __init__(self, sluiced, name="sluice", pool_more="", backend_more="", *, scheduler="rr",
                 workers=1, session_log="off"):
        self.sluiced, self.name, self.backend_more = sluiced, name, backend_more
        self.more = {"service_more": f'session_log = "{session_log}"', "pool_more": pool_more,
                     "scheduler": scheduler, "workers": workers}
        if not self.usable():  # a build that does not log sessions at all
            self.more["service_more"] = ""

    def usable(self):
        """Whether this build knows all the settings."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as text:
            text.write(self.configuration(Site(None, ["127.0.0.1:1"], 1, 100), 1, "/tmp"))
            text.flush()
            return subprocess.run([self.sluiced, "-t", "-c", text.name], capture_output=True,
                                  check=False).returncode == 0

    def command(self, path):
        return [self.sluiced, "-c", path]

    @staticmethod
    def _stats(work):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(os.path.join(work, "control.sock"))
            control.sendall(b"show stats json\n")
            reply = b""
            while not reply.endswith(b"\n\n"):
                more = control.recv(65536)
                if not more:
                    raise BenchError("sluice ends the control connection")
                reply += more
        return json.loads(reply)

    def ready(self, process, running, work):
        process.check()
        try:
            stats = self._stats(work)
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # the control socket comes after the listeners
        running.traffic = [worker["pid"] for worker in stats["workers"]]
        running.rest = [pid for pid in [process.pid, *children(process.pid)]
                        if pid not in running.traffic]
        return all(backend["state"] == "up"
                   for pool in stats["pools"] for backend in pool["backends"])


class HAProxy(Contender):
    file, peer = "haproxy.cfg", True
    backend = "    server {name} {address}{check}{more}"
    check = " check port {port} inter 2s"

    def __init__(self, name="haproxy", more="", mode="tcp", backend_more=""):
        self.name, self.more, self.backend_more = name, {"mode": mode, "more": more}, backend_more

    def command(self, path):
        return ["haproxy", "-db", "-f", path]

    def ready(self, process, running, work):
        running.traffic = [process.pid]
        return True


class Nginx(Contender):
    name, file, peer = "nginx", "nginx.conf", True
    backend = "        server {address};"

    def command(self, path):
        return ["nginx", "-e", "stderr", "-c", path]

    def ready(self, process, running, work):
        process.check()
        running.rest, running.traffic = [process.pid], children(process.pid)
        return len(running.traffic) == 1


class NginxHTTP(Nginx):
    """As a proxy for HTTP, which keeps as many connections as an origin's clients may use."""
    name, file = "nginx http", "nginx-http.conf"
