"""The status address: metrics as Prometheus reads them, figures, health answers, the dashboard; and
clients that mean no good."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
from sluice import (CtlError, Daemon, Origin, Port, Process, REPOSITORY, SLUICED, connect,
                    descriptors, load, pool, run, service, split, wait_for)

FAST = {"interval": "100ms", "fall": 1, "rise": 1}
ALERTS = REPOSITORY / "packaging/prometheus/alerts.yml"
GRAFANA = REPOSITORY / "packaging/grafana/sluice.json"


class Status:
    """The status address of a daemon."""

    def __init__(self, daemon):
        self.address = daemon.ctl_json("show info")["status"]

    def get(self, path, method="GET", headers=()):
        """Status, header fields and body."""
        host, port = split(self.address)
        connection = http.client.HTTPConnection(host, port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers=dict(headers))
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read().decode()

    def healthz(self, name=""):
        return self.get(f"/healthz{'/' + name if name else ''}")[0]

    def metrics(self):
        """{'sluice_x{a="b"}': 1.0}"""
        code, _, text = self.get("/metrics")
        assert code == 200, text
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        assert len({row[0] for row in rows}) == len(rows), "a series stands there twice"
        return {name: float(value) for name, _, value in rows}

    def send(self, data):
        """All that comes as an answer to these bytes, until the server closes."""
        with connect(self.address, 30) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


def read_all(sock):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            got += part
    return got


def promtool(*words, stdin=""):
    return subprocess.run(["promtool", *map(str, words)], input=stdin, capture_output=True,
                          text=True, timeout=60)


def small(**more):
    """One service on one origin; the origin is the caller's."""
    return lambda address: service("web") + pool("web", {"a": address}, {"tcp": FAST}, **more)


def test_metrics_and_figures_are_those_of_show_stats(start):
    origin = start(Origin("http"))
    daemon = start(Daemon(
        service("web") + pool("web", {"a": origin.addresses[0]}, {"tcp": FAST},
                              source_addresses=["127.0.0.1", "127.0.0.2"]) +
        service("kept") + pool("kept", {"a": origin.addresses[0]}, {"tcp": FAST},
                               reuse={"mode": "warm"}),
        status="127.0.0.1:0"))
    status = Status(daemon)
    load("crc", daemon.address("web"), "--connections", 4, "--requests", 40)
    load("crc", daemon.address("kept"), "--connections", 4, "--requests", 40)
    daemon.check_accounts("web")
    daemon.check_accounts("kept")

    def both():
        """Two looks at the same state: the page is at most a second old."""
        stats, page = daemon.stats(), status.metrics()
        row = stats["services"][0]
        return (row, page) if (page['sluice_service_connections_total{service="web"}'] ==
                               row["connections_total"] and
                               page['sluice_service_connections{service="kept"}'] == 0) else None
    row, page = wait_for(both, what="the page after the load")
    backend = daemon.backend("web", "a")
    labels = '{pool="web",backend="a"}'
    for reason, count in row["ended_by"].items():
        assert page[f'sluice_service_ended_total{{service="web",reason="{reason}"}}'] == count
    for reason, count in row["refused_by"].items():
        assert page[f'sluice_service_refused_total{{service="web",reason="{reason}"}}'] == count
    assert page['sluice_service_in_bytes_total{service="web"}'] == row["bytes_in"] > 0
    assert page["sluice_backend_connections_total" + labels] == backend["connections_total"]
    assert page["sluice_backend_out_bytes_total" + labels] == backend["bytes_out"] > 0
    assert page['sluice_backend_state{pool="web",backend="a",state="up"}'] == 1
    assert page["sluice_connections_limit"] == daemon.stats()["connections_limit"]
    ended = sum(row["ended_by"].values())
    assert page['sluice_service_session_seconds_count{service="web"}'] == ended > 0
    assert page['sluice_service_session_seconds_bucket{service="web",le="+Inf"}'] == ended
    connects = page["sluice_backend_connect_seconds_count" + labels]
    assert connects >= 1 and page["sluice_backend_connect_seconds_sum" + labels] > 0
    assert ('sluice_source_ports_headroom{pool="web",backend="a",source="127.0.0.2"}') in page
    kept = daemon.backend("kept", "a")
    for way in ("opened", "warm", "reused"):
        series = f'sluice_upstreams_{way}_total{{pool="kept",backend="a"}}'
        assert page[series] == kept[f"upstreams_{way}"]
    assert page['sluice_check_state{pool="web",backend="a",check="tcp",state="up"}'] == 1
    assert page['sluice_process_memory_bytes{process="worker 0"}'] > 0

    figures = json.loads(status.get("/api/stats")[2])
    assert figures["services"][0]["ended_by"] == row["ended_by"]
    assert figures.keys() == daemon.stats().keys()

    checked = promtool("check", "metrics", stdin=status.get("/metrics")[2])
    assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked
    check_packaging(page, status.get("/metrics")[2])

    assert page['sluice_pool_paused{pool="web"}'] == 0 and page["sluice_events_dropped_total"] == 0
    daemon.ctl("pause pool web")
    wait_for(lambda: status.metrics()['sluice_pool_paused{pool="web"}'] == 1, what="the pause")


def check_packaging(page, text):
    """Alerts and the Grafana dashboard ask for metrics that there are."""
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked
    assert "SUCCESS" in checked.stdout
    board = json.loads(GRAFANA.read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    names = set(re.findall(r"\bsluice_\w+", ALERTS.read_text() + asked))
    known = {re.sub(r"\{.*", "", name) for name in page}
    assert len(names) > 20
    assert names <= known, names - known
    assert len(re.findall("^# HELP ", text, re.MULTILINE)) == \
        len(re.findall("^# TYPE ", text, re.MULTILINE)) > 80


class Prometheus(Process):
    """Debian's, scraping one target each second."""

    def __init__(self, folder, target):
        self.port = Port()
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [{ALERTS}]\n"
            f"scrape_configs:\n- job_name: sluice\n  static_configs:\n  - targets: ['{target}']\n")
        super().__init__(["prometheus", f"--config.file={folder}/prometheus.yml",
                          f"--storage.tsdb.path={folder}/data",
                          f"--web.listen-address={self.port.address}"])
        self.ready_when(lambda: self.query("up") is not None)

    def query(self, words):
        """The values of an expression by their labels; None while it is not there yet."""
        host, port = split(self.port.address)
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/api/v1/query?" +
                                   urllib.parse.urlencode({"query": words}))
                reply = connection.getresponse()
                body = reply.read()
                if reply.status != 200:
                    return None
        except OSError:
            return None
        return [(row["metric"], float(row["value"][1]))
                for row in json.loads(body)["data"]["result"]]

    def __exit__(self, *words):
        super().__exit__(*words)
        self.port.socket.close()


def test_prometheus_scrapes_it(start, folder):
    origin = start(Origin("http"))
    daemon = start(Daemon(small()(origin.addresses[0]), status="127.0.0.1:0"))
    prometheus = start(Prometheus(folder, Status(daemon).address))
    wait_for(lambda: [value for _, value in prometheus.query("up") or ()] == [1.0],
             what="a scrape that went well")
    load("crc", daemon.address("web"), "--connections", 2, "--requests", 20)
    total = daemon.service("web")["connections_total"]
    wait_for(lambda: [value for _, value in
                      prometheus.query("sluice_service_connections_total") or ()] == [total],
             what="the figure in Prometheus")
    rows = prometheus.query('sluice_backend_state{backend="a"}')
    assert [(labels["pool"], labels["state"], value) for labels, value in rows] == \
        [("web", "up", 1.0)]
    assert prometheus.query("histogram_quantile(0.5, sluice_backend_connect_seconds_bucket)")[0][1] > 0


def test_health_answers(start):
    """200 and 503: by service, with backups, after health=fail, without a service that counts."""
    first, spare = start(Origin("http")), start(Origin("http"))
    config = (service("web", "web") + service("own", "own", healthz=False) +
              pool("web", {"a": first.addresses[0],
                           "b": {"address": spare.addresses[0], "backup": True}}, {"tcp": FAST}) +
              pool("own", {"x": "127.0.0.1:1"}, {"tcp": FAST}))
    daemon = start(Daemon(config, status="127.0.0.1:0"))
    status = Status(daemon)
    wait_for(lambda: status.healthz() == 200, what="healthy")
    assert (status.healthz("web"), status.healthz("nobody")) == (200, 404)
    wait_for(lambda: status.healthz("own") == 503, what="own is unhealthy")
    assert status.healthz() == 200, "a service with healthz = false counts"

    first.kill()
    wait_for(lambda: daemon.backend("web", "a")["state"] == "down")
    assert status.healthz() == status.healthz("web") == 200, "the backup serves"
    assert "backup b serves" in status.get("/healthz/web")[2]
    spare.kill()
    wait_for(lambda: status.healthz() == 503, what="unhealthy")
    code, _, text = status.get("/healthz")
    assert (code, text) == (503, "unhealthy: web\n")
    assert status.healthz("web") == 503


def test_health_fail_and_stop_delay(start):
    origin = start(Origin("http"))
    daemon = start(Daemon(small()(origin.addresses[0]), status="127.0.0.1:0", stop_delay="30s"))
    status = Status(daemon)
    wait_for(lambda: status.healthz() == 200)
    daemon.ctl("set global health=fail")
    assert status.healthz() == status.healthz("web") == 503
    assert "health=fail" in status.get("/healthz")[2]
    assert not status.metrics()["sluice_healthy"]
    daemon.ctl("set global health=auto")
    assert status.healthz() == 200
    daemon.ctl("stop")  # done once the answer is on its way
    wait_for(lambda: status.healthz() == 503, what="its health answer")
    assert "stopping" in status.get("/healthz")[2]
    load("crc", daemon.address("web"), "--connections", 1, "--requests", 1)  # still accepted


def test_answers_go_on_over_the_death_of_the_monitor_and_without_master_s_help(start):
    origin = start(Origin("http"))
    daemon = start(Daemon(small()(origin.addresses[0]), status="127.0.0.1:0"))
    status = Status(daemon)
    wait_for(lambda: status.healthz() == 200)
    info = daemon.ctl_json("show info")
    daemon.kill_child(info["monitor_pid"])
    assert status.healthz() == 200, "the socket outlives the monitor"
    os.kill(info["pid"], signal.SIGSTOP)  # master answers nobody
    try:
        assert status.healthz() == status.healthz("web") == 200
        began = time.monotonic()
        code, _, text = status.get("/metrics")
        assert code == 503 and "master" in text
        assert time.monotonic() - began < 10
    finally:
        os.kill(info["pid"], signal.SIGCONT)
    wait_for(lambda: status.get("/metrics")[0] == 200, what="metrics again")


def test_requests_that_are_refused(start):
    origin = start(Origin("http"))
    daemon = start(Daemon(small()(origin.addresses[0]), status="127.0.0.1:0"))
    status = Status(daemon)
    wait_for(lambda: status.healthz() == 200)
    host = b"Host: x\r\n"
    for request, code in [
            (b"GET /nothing HTTP/1.1\r\n" + host + b"\r\n", 404),
            (b"POST /metrics HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n\r\nabc", 405),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n" + host + b"\r\n", 414),
            (b"GET /" + b"a" * 9000, 414),
            (b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 9000, 431),
    ]:
        reply = status.send(request)
        assert reply.startswith(f"HTTP/1.1 {code} ".encode()), (request[:60], reply[:200])
    head = status.send(b"HEAD /metrics HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")
    two = status.send((b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n") * 2)
    assert two.count(b"HTTP/1.1 200 OK") == 2, "two requests at once"


def test_hostile_clients_harm_nobody(start):
    """Slow heads, none at all, endless ones, readers of nothing, and far too many."""
    origin = start(Origin("http"))
    backends = {f"b{nth}": origin.addresses[0] for nth in range(300)}
    daemon = start(Daemon(service("web") + pool("web", backends), status="127.0.0.1:0"))
    status = Status(daemon)
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    wait_for(lambda: status.healthz() == 200)
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(connect(status.address))
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        silent = stack.enter_context(connect(status.address))
        endless = stack.enter_context(connect(status.address))
        with contextlib.suppress(OSError):
            for _ in range(100):
                endless.sendall(b"X: " + b"a" * 4000 + b"\r\n")
        deaf = [stack.enter_context(connect(status.address, receive_buffer=2048))
                for _ in range(20)]
        for sock in deaf:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        def crowd():
            """Whoever comes when nobody has kept a place for long is sent away, and counted."""
            for _ in range(200):
                stack.enter_context(connect(status.address))
            assert descriptors(monitor) < 64 + 60, "no more than a bounded number at once"
            page = answers(status.metrics)
            return page and page["sluice_status_refused_total"] > 0
        wait_for(crowd, what="clients without a place")
        # Who gets no answer gives way after half a second, so that others find a place.
        assert wait_for(lambda: answers(status.healthz), what="an answer among them") == 200
        slow.settimeout(20)
        assert read_all(slow)[:12] in (b"HTTP/1.1 408", b""), "told, or given up for another"
        silent.settimeout(20)
        assert read_all(silent) == b""
        assert daemon.ctl_json("show info")["monitor_pid"] == monitor


def answers(ask):
    """None when there was no place for it."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask()
    return None


def test_a_slow_head_is_told(start):
    origin = start(Origin("http"))
    daemon = start(Daemon(small()(origin.addresses[0]), status="127.0.0.1:0"))
    with connect(Status(daemon).address, 30) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_a_refused_file(start):
    """Until one is taken; that another configuration came back meanwhile does not mend it."""
    origin = start(Origin("http"))
    config = small()(origin.addresses[0])
    daemon = start(Daemon(config, status="127.0.0.1:0"))
    status = Status(daemon)

    def file():
        page = status.metrics()
        return page["sluice_file_runs"], page["sluice_file_refused"]

    wait_for(lambda: file() == (1, 0), what="the start")
    daemon.reload(small(retries=1)(origin.addresses[0]))
    daemon.write(config + "pool {")
    with pytest.raises(CtlError):
        daemon.ctl("reload")
    wait_for(lambda: file() == (0, 1), what="the refusal")
    daemon.ctl("rollback")
    assert file() == (0, 1)
    daemon.reload(config)
    wait_for(lambda: file() == (1, 0), what="a file that is taken")


def test_who_may_use_it(start, folder):
    origin = start(Origin("http"))
    config = small()(origin.addresses[0])
    daemon = start(Daemon(config, status="[::1]:0", status_allow=["10.0.0.0/8"]))
    status = Status(daemon)
    wait_for(lambda: status.get("/healthz")[0] == 403, what="denied")
    assert "status_allow" in status.get("/metrics")[2]
    daemon.options["status_allow"] = ["::1"]
    daemon.reload(config)
    wait_for(lambda: status.get("/metrics")[0] == 200, what="allowed by reload")
    daemon.options["status"] = "127.0.0.1:0"
    daemon.write(config)
    assert "needs a restart" in daemon.ctl("reload")
    assert status.get("/healthz")[0] == 200

    path = folder / "status.sock"
    local = start(Daemon(config, status=f"unix:{path}", status_allow=[]))
    assert local.ctl_json("show info")["status"] == f"unix:{path}"
    wait_for(lambda: ask_locally(path).startswith(b"HTTP/1.1 200 "))
    local.stop()
    assert not path.exists()


def ask_locally(path):
    with connect(f"unix:{path}") as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return read_all(sock)


def test_a_network_with_a_hosts_address(start):
    """Taken as the network, and told."""
    daemon = start(Daemon(small()("127.0.0.1:9"), status="127.0.0.1:0", status_allow=["127.0.0.1/8"]))
    assert "stands for all of 127.0.0.0/8; write that, or 127.0.0.1 alone" in daemon.log()
    assert Status(daemon).get("/metrics")[0] == 200


@pytest.mark.parametrize("options, fault", [
    ({"status": "localhost:80"}, "names are not looked up"),
    ({"status": "9480"}, "status"),
    ({"status_allow": ["10.0.0.0/33"]}, "status_allow"),
])
def test_faults_in_the_file(folder, options, fault):
    lines = "".join(f"  {key} = " + (f'"{value}"' if isinstance(value, str)
                                     else '{ "' + '", "'.join(value) + '" }') + "\n"
                    for key, value in options.items())
    (folder / "c.conf").write_text("global {\n" + lines + "}\n" + service("web") +
                                   pool("web", ["127.0.0.1:1"]))
    result = run([SLUICED, "-t", "-c", folder / "c.conf"], check=False)
    assert result.returncode == 1 and fault in result.stderr + result.stdout, result


def test_a_thousand_backends(start):
    """What a page costs is printed; that it delays no check and no worker is what is asked."""
    origin = start(Origin("http"))
    backends = {f"backend-{nth}": origin.addresses[0] for nth in range(1000)}
    daemon = start(Daemon(service("web") + pool("web", backends, {"tcp": {"interval": "10s"}}),
                          status="127.0.0.1:0"))
    status = Status(daemon)
    wait_for(lambda: status.healthz() == 200)
    times = []
    for _ in range(3):
        began = time.monotonic()
        page = status.metrics()
        times.append(time.monotonic() - began)
        time.sleep(1.01)  # so old a page may be: then it is made anew
    assert sum(name.startswith("sluice_backend_weight{") for name in page) == 1000
    monitor = daemon.ctl_json("show info")["monitor_pid"]
    held = descriptors(monitor)
    asked = threading.Thread(target=lambda: [status.get("/metrics") for _ in range(30)])
    before = page["sluice_status_requests_total"]
    asked.start()
    load("crc", daemon.address("web"), "--connections", 2, "--requests", 50)
    asked.join()
    time.sleep(1.01)
    assert status.metrics()["sluice_status_requests_total"] == before + 31
    assert descriptors(monitor) <= held + 2, "old pages are let go"
    print("a page of 1,000 backends:", [f"{1000 * t:.0f} ms" for t in times], len(page), "samples")


def test_the_dashboard_shows_the_backends(start, folder):
    origin = start(Origin("http"))
    config = service("web") + pool("web", {"only-one": origin.addresses[0]}, {"tcp": FAST})
    daemon = start(Daemon(config, status="127.0.0.1:0"))
    status = Status(daemon)
    wait_for(lambda: daemon.backend("web", "only-one")["state"] == "up")
    code, fields, page = status.get("/")
    assert code == 200 and "default-src 'none'" in fields["Content-Security-Policy"]
    assert not re.search(r"innerHTML|https?://", page), "nothing from elsewhere, no text as markup"
    shown = run(["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", f"--user-data-dir={folder}/chromium",
                 "--virtual-time-budget=5000", "--dump-dom", f"http://{status.address}/"],
                timeout=120).stdout
    assert re.search(r"<td[^>]*>only-one</td>", shown), shown[-3000:]
    assert re.search(r'<td class="up">up</td>', shown)
