"""Another binary takes over while clients come and go; what goes wrong leaves the old one serving;
and a supervisor that keeps the listening sockets brings a daemon back that was killed."""

import array
import json
import os
import re
import signal
import socket
import threading

import pytest

import sluice
from sluice import (CtlError, Daemon, Origin, Port, Process, connect, family, is_alive, pool,
                    run, service, wait_for)
from software import Nginx


class Upgraded(Daemon):
    """A daemon whose master may be another process than the one that was started."""

    def master(self):
        return self.ctl_json("show info")["pid"]

    def stop(self, timeout=sluice.WAIT):
        pids = family(self.pid)
        os.kill(self.master(), signal.SIGTERM)
        wait_for(lambda: not any(is_alive(pid) for pid in pids), timeout, "the end of all")
        self.check_end()
        return 0

    def __exit__(self, *_):
        try:
            if not self.checked:
                self.stop()
        finally:
            self.kill()
            print(self.log()[-20000:])
            self.clean()

    def upgrade(self, words=""):
        """Upgrades; returns the new master's pid."""
        before = self.master()
        reply = self.ctl(f"upgrade {words}")
        pid = self.master()
        assert pid != before and f"(pid {pid}) serves, pid {before} drains" in reply, reply
        return pid


def echo(sock, text=b"hello"):
    sock.sendall(text)
    return sock.recv(100) == text


def ended(sock):
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def daemon(start):
    backend = start(Origin("echo"))
    return start(Upgraded(service("echo") + pool("echo", backend.addresses, checks={"tcp": {}})))


def write_script(folder, text):
    path = folder / "other-sluiced"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- what goes well ---

def test_no_request_fails_under_load(start):
    nginx = start(Nginx({"page": b"x" * 1000}))
    daemon = start(Upgraded(service("web") + pool("web", [nginx.address], checks={"tcp": {}})))
    address = daemon.address("web")
    results = []
    clients = [["ab", "-q", "-n", str(sluice.amount(20000, 4000)), "-c", "8"],
               ["wrk", "-t1", "-c8", f"-d{sluice.amount(10, 4)}s", "-H", "Connection: close"],
               ["wrk", "-t1", "-c8", f"-d{sluice.amount(10, 4)}s"]]
    threads = [threading.Thread(target=lambda words=words: results.append(
        run([*words, f"http://{address}/page"]).stdout)) for words in clients]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: daemon.service("web")["connections_total"] > 100, what="clients")
        for _ in range(3):
            daemon.upgrade()
            wait_for(lambda: daemon.service("web")["connections_total"] > 100, what="clients")
    finally:
        for thread in threads:
            thread.join()
    text = "".join(results)
    assert re.search(r"^Failed requests: +0$", text, re.MULTILINE), text
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert len(results) == 3
    assert daemon.address("web") == address


def test_sessions_and_their_count_go_on(daemon):
    with connect(daemon.address("echo")) as old:
        assert echo(old)
        first = daemon.pid
        daemon.upgrade()
        info = daemon.ctl_json("show info")
        assert info["draining_pid"] == first
        wait_for(lambda: daemon.ctl_json("show info")["draining_sessions"] == 1, what="its count")
        assert daemon.service("echo")["connections_active"] == 0
        assert daemon.backend("echo", "a")["connections_active"] == 1, "the old one's are foreign"
        assert daemon.backend("echo", "a")["health"] == "up"
        with connect(daemon.address("echo")) as new:
            assert echo(new) and echo(old)
            second = daemon.upgrade()
            assert echo(new) and echo(old)
            wait_for(lambda: daemon.backend("echo", "a")["connections_active"] == 2,
                     what="both olds' sessions to count")
        assert second == daemon.master()
    wait_for(lambda: not is_alive(first), what="the end of the oldest")
    wait_for(lambda: daemon.ctl_json("show info").get("draining_pid") is None, what="all to end")
    assert daemon.backend("echo", "a")["connections_active"] == 0


def test_a_stop_ends_both(daemon):
    with connect(daemon.address("echo")) as old:
        assert echo(old)
        daemon.upgrade()
        pids = family(daemon.pid)
        daemon.ctl("stop within=1s")
        assert ended(old)
        wait_for(lambda: not any(is_alive(pid) for pid in pids), what="the end of both")
    daemon.check_end()


def test_upgrade_timeout_bounds_old_sessions(start):
    backend = start(Origin("echo"))
    daemon = start(Upgraded(service("echo") + pool("echo", backend.addresses),
                            upgrade_timeout="500ms"))
    socks = [connect(daemon.address("echo")) for _ in range(5)]
    assert all(echo(sock) for sock in socks)
    daemon.upgrade()
    assert all(ended(sock) for sock in socks)
    for sock in socks:
        sock.close()
    wait_for(lambda: not daemon.running(), what="the end of the old one")
    with connect(daemon.address("echo")) as sock:
        assert echo(sock)


def test_what_was_said_by_command_is_kept(start, folder):
    with Port() as a, Port() as b:
        daemon = start(Upgraded(service("web") + pool("web", [a.address, b.address]),
                                state_file=folder / "state.json"))
        daemon.ctl("drain backend web a")
        daemon.ctl("set global health=fail")
        first = daemon.pid
        daemon.signal(signal.SIGUSR2)
        wait_for(lambda: daemon.master() != first, what="an upgrade by signal")
        assert daemon.backend("web", "a")["admin"] == "drain"
        assert daemon.ctl_json("show info")["health_answers"] == "fail"
        daemon.ctl("ready backend web a")
        daemon.upgrade()
        assert daemon.backend("web", "a")["admin"] == "ready"
        assert '"drain"' not in (folder / "state.json").read_text()


def test_the_number_of_workers_changes(start, folder):
    """Fewer serve the sockets of more; no client is lost in one that nobody looks after."""
    backend = start(Origin("echo"))
    listen = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", f"unix:{folder}/listener"]
    config = service("echo", listen=listen) + pool("echo", backend.addresses)
    daemon = start(Upgraded(config, workers=3))
    addresses = daemon.service("echo")["listen"]
    for workers in (1, 4):
        daemon.options["workers"] = workers
        daemon.write(config)
        daemon.upgrade()
        assert daemon.service("echo")["listen"] == addresses
        assert len(daemon.workers()) == workers
        for address in addresses:
            for _ in range(20):
                with connect(address) as sock:
                    assert echo(sock)


def test_what_is_no_longer_listened_on_is_closed(start):
    backend = start(Origin("echo"))
    with Port() as kept, Port() as gone:
        text = pool("echo", backend.addresses)
        daemon = start(Upgraded(service("echo", listen=[kept.address, gone.address]) + text))
        daemon.write(service("echo", listen=[kept.address]) + text)
        daemon.upgrade()
        wait_for(lambda: not daemon.running(), what="the end of the old one")
        with pytest.raises(ConnectionRefusedError):
            connect(gone.address)
        with connect(kept.address) as sock:
            assert echo(sock)


# --- what goes wrong ---

def refused(daemon, words):
    before = daemon.master()
    with pytest.raises(CtlError) as failure:
        daemon.ctl(f"upgrade {words}")
    assert daemon.master() == before
    with connect(daemon.address("echo")) as sock:
        assert echo(sock)
    return str(failure.value)


def test_a_bad_program_changes_nothing(daemon, folder):
    text = refused(daemon, "/bin/false")
    assert "/bin/false: it ended with status 1 before it was ready" in text
    assert f"this daemon goes on (pid {daemon.pid})" in text
    assert "No such file or directory" in refused(daemon, "/no/such/program")
    script = write_script(folder, "echo 'library libx.so is missing' >&2; exit 3")
    assert "status 3 before it was ready: library libx.so is missing" in refused(daemon, script)
    script = write_script(folder, "kill -SEGV $$")
    assert "ended by signal 11" in refused(daemon, script)
    daemon.ctl("drain backend echo a force")
    daemon.ctl("ready backend echo a")
    daemon.upgrade()


def test_a_bad_configuration_changes_nothing(daemon):
    good = daemon.config_path.read_text()
    daemon.config_path.write_text(good + 'pool "x" { nonsense = 1 }\n')
    text = refused(daemon, "")
    assert "nonsense" in text and "is not usable" in text
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = "127.0.0.1:%d" % other.getsockname()[1]
        daemon.config_path.write_text(good + service("x", pool="echo", listen=[taken]))
        assert "another process listens there" in refused(daemon, "")
    daemon.config_path.write_text(good)
    daemon.upgrade()


def test_a_program_that_hangs_is_given_up_and_meanwhile_nothing_changes(daemon, folder):
    script = write_script(folder, "exec sleep 600")
    failures = []
    def ask():
        try:
            daemon.ctl(f"upgrade {script}")
        except CtlError as error:
            failures.append(str(error))
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_for(lambda: "another program is started" in daemon.ctl("show events"),
                 what="the attempt to begin")
        assert "another upgrade is under way" in refused(daemon, "")
        for words in ("drain backend echo a force", "reload", "set global health=fail"):
            with pytest.raises(CtlError, match="an upgrade is under way"):
                daemon.ctl(words)
    finally:
        thread.join()
    assert "did not say within 5 s" in failures[0]
    assert not [pid for pid in family(daemon.pid) if "sleep" in name_of(pid)]
    daemon.ctl("reload")


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read()
    except OSError:
        return ""


def test_a_stop_meanwhile_ends_both(daemon, folder):
    script = write_script(folder, "exec sleep 600")
    daemon.ctl("show info")
    with connect(f"unix:{daemon.control}") as sock:
        sock.sendall(f"upgrade {script}\n".encode())
        wait_for(lambda: "another program is started" in daemon.ctl("show events"),
                 what="the attempt to begin")
        daemon.stop()


def test_a_master_killed_meanwhile_leaves_nobody(start, folder):
    backend = start(Origin("echo"))
    config = write_config(folder, service("echo") + pool("echo", backend.addresses))
    script = write_script(folder, "exec sleep 600")
    daemon = start(Process([sluice.SLUICED, "-c", config], folder))
    daemon.ready_when(lambda: (folder / "ctl.sock").exists())
    with connect(f"unix:{folder}/ctl.sock") as sock:
        sock.sendall(f"upgrade {script}\n".encode())
        wait_for(lambda: any("sleep" in name_of(pid) for pid in family(daemon.pid)),
                 what="the attempt to begin")
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
        wait_for(lambda: not family(daemon.pid), what="the end of all")
    again = start(Process([sluice.SLUICED, "-c", config], folder))
    def answers():
        try:
            return ask(folder, "show services")["services"]
        except OSError:
            return None
    again.ready_when(answers)
    again.stop()


# --- the supervisor ---

class Supervisor:
    """Plays systemd: hears what the daemon says, keeps its sockets, starts it with them."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.said, self.kept, self.folder = [], [], folder

    def hear(self):
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(300 * 4))
            except BlockingIOError:
                return self.said
            text = data.decode()
            self.said.append(text)
            fds = array.array("i")
            for _, _, value in control:
                fds.frombytes(value)
            name = re.search("^FDNAME=(.*)$", text, re.MULTILINE)
            if "FDSTORE=1" in text:
                self.kept += [(name[1], fd) for fd in self.move(fds)]
            elif "FDSTOREREMOVE=1" in text:
                for kept in [kept for kept in self.kept if kept[0] == name[1]]:
                    os.close(kept[1])
                    self.kept.remove(kept)

    @staticmethod
    def move(fds):
        """To high numbers, each socket once: systemd keeps no copies either."""
        import fcntl
        for fd in fds:
            yield fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
            os.close(fd)

    def heard(self, pattern):
        """Waits until it was said; the number of the message."""
        return wait_for(lambda: [n + 1 for n, text in enumerate(self.hear())
                                 if re.search(pattern, text, re.MULTILINE)],
                        what=f"{pattern!r} among {self.said}")[-1]

    def forget(self):
        self.hear()
        self.said.clear()

    def start(self, config, **more):
        script = self.folder / "start"
        moves = " ".join(f"{3 + n}<&{fd}" for n, (_, fd) in enumerate(self.kept))
        names = ":".join(name for name, _ in self.kept)
        script.write_text(f"exec {moves}\nexport LISTEN_FDS={len(self.kept)} LISTEN_PID=$$ "
                          f"LISTEN_FDNAMES='{names}'\nexec {sluice.SLUICED} -c {config}\n")
        return Process(["/bin/bash", script], self.folder, pass_fds=[fd for _, fd in self.kept])

    def close(self):
        self.socket.close()
        for _, fd in self.kept:
            os.close(fd)


@pytest.fixture
def supervisor(folder, monkeypatch):
    made = Supervisor(folder)
    monkeypatch.setenv("NOTIFY_SOCKET", str(made.path))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    yield made
    made.close()


def write_config(folder, text):
    path = folder / "sluice.conf"
    path.write_text(f'global {{\n    workers = 2\n    control_socket = "{folder}/ctl.sock"\n'
                    f'    state_file = "{folder}/state.json"\n}}\n{text}')
    return path


def ask(folder, words):
    with connect(f"unix:{folder}/ctl.sock") as sock:
        sock.sendall(f"{words} json\n".encode())
        reply = b""
        while not reply.endswith(b"\n\n"):
            data = sock.recv(65536)
            assert data, f"{words}: {reply}"
            reply += data
    return json.loads(reply)


def test_the_supervisor_hears_all_and_brings_back_what_was_killed(start, folder, supervisor):
    backend = start(Origin("echo"))
    config = write_config(folder, service("echo", listen=["127.0.0.1:0", f"unix:{folder}/l"])
                          + pool("echo", backend.addresses, checks={"tcp": {}}))
    first = start(supervisor.start(config))
    ready = supervisor.heard(f"^READY=1\nMAINPID={first.pid}$")
    supervisor.heard("^STATUS=0 connections, 1 of 1 backends up$")
    supervisor.heard("^WATCHDOG=1$")
    assert sum(name == "echo,127.0.0.1+0" for name, _ in supervisor.kept) == 2
    assert len(supervisor.kept) == 3
    supervisor.forget()
    ask(folder, "reload")
    reloading = supervisor.heard(r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
    assert supervisor.heard("^READY=1") > reloading > 0 and ready > 0
    address, local = ask(folder, "show services")["services"][0]["listen"]
    pids = ask(folder, "show info")["worker_pids"]
    ask(folder, "drain backend echo a force")
    ask(folder, "ready backend echo a")

    with connect(address) as session:
        assert echo(session)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        # These may be taken by the old workers, or wait for the new ones: none is lost.
        queued = [connect(at) for at in [address] * 20 + [local] * 5]
        supervisor.forget()
        second = start(supervisor.start(config))
        supervisor.heard("^READY=1")
        for sock in queued:
            assert echo(sock)
            sock.close()
        assert echo(session), "sessions of the old workers go on"
        assert ask(folder, "show services")["services"][0]["listen"] == [address, local]
    wait_for(lambda: not any(is_alive(pid) for pid in pids), what="the end of the old workers")
    supervisor.forget()
    # An upgrade under a supervisor: it is told of the new master, by the old one first.
    assert "error" not in ask(folder, "upgrade")
    third = ask(folder, "show info")["pid"]
    told = supervisor.heard(rf"\AMAINPID={third}\Z")
    assert supervisor.heard(f"^READY=1\nMAINPID={third}$") > told
    supervisor.forget()
    supervisor.heard("^WATCHDOG=1$")
    second.wait()
    os.kill(third, signal.SIGTERM)
    supervisor.heard("^STOPPING=1$")
    wait_for(lambda: not is_alive(third), what="the end")
    supervisor.hear()
    assert not supervisor.kept, "what is not listened on any more is forgotten"


def test_socket_activation(start, folder):
    backend = start(Origin("echo"))
    with Port() as port, Port() as other:
        config = write_config(folder, service("echo", listen=[port.address])
                              + pool("echo", backend.addresses))
        daemon = start(Process(["systemd-socket-activate", "-l", port.address, "-l", other.address,
                                sluice.SLUICED, "-c", config], folder))
        def begin():
            try:
                return connect(port.address)
            except ConnectionRefusedError:
                return None
        with wait_for(begin, what="systemd-socket-activate to listen") as sock:
            assert echo(sock)
        log = folder / "systemd-socket-activate.log"
        wait_for(lambda: re.search(r'closed: no service listens there" address=127.0.0.1:'
                                   f"{other.number}", log.read_text()), what="the other to be told")
        daemon.stop()
