"""sluicectl doctor on this machine, and the limits that the daemon tells: what decides, what cannot
be reached. No figure here depends on the machine but that it has fewer than 5,000,000 connections in
it, for want of ports."""
import configparser
import json
import pathlib
import re
import resource

import pytest

from sluice import REPOSITORY, SLUICECTL, SLUICED, Daemon, Origin, connect, pool, run, service, wait_for

BACKENDS = ["127.0.0.1:9", "127.0.0.1:10"]
SMALL = service("s") + pool("s", BACKENDS)
HUGE = 5000000


@pytest.fixture
def doctor(folder):
    """doctor("--json", text=…): runs it with a file of that text, for a daemon that is not there."""
    def call(*words, text=SMALL, before=(), **options):
        path = folder / "sluice.conf"
        path.write_text(f'global {{ workers = 2  control_socket = "{folder}/none.sock"\n'
                        + "".join(f"{key} = {value}\n" for key, value in options.items())
                        + f"}}\n{text}")
        return run([SLUICECTL, *before, "doctor", "-c", path, *words], check=False)
    return call


def rows_of(result):
    return {row["setting"]: row for row in json.loads(result.stdout)["rows"]}


def test_a_small_configuration_is_ready(doctor):
    result = doctor(max_connections=100)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^SETTING +NOW +NEEDED +STATE +WHY$", result.stdout, re.MULTILINE)
    assert re.search(r"^fs\.nr_open +\d+ +\d+ +ok +\w+", result.stdout, re.MULTILINE)
    assert "100 connections; this machine carries" in result.stdout
    assert re.search(r"^verdict: ready\b.*\n\Z", result.stdout, re.MULTILINE)


def test_without_a_number_it_is_what_is_possible(doctor):
    """Nothing that the daemon's own limit is made of can be too low for it then."""
    told = json.loads(doctor("--json").stdout)
    assert told["connections"] == told["connections_possible"] > 0
    assert told["connections"] == told["connections_by"][told["limited_by"]]
    states = {row["setting"]: row["state"] for row in told["rows"]}
    for setting in "descriptors of a process", "memory", "net.ipv4.ip_local_port_range":
        assert states[setting] != "too low"


@pytest.mark.parametrize("words,options", [(["--connections", HUGE], {}),
                                           ([], {"max_connections": HUGE})])
def test_a_scale_out_of_reach(doctor, words, options):
    result = doctor("--json", *words, **options)
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert told["ready"] is False and told["connections"] == HUGE
    ports = rows_of(result)["net.ipv4.ip_local_port_range"]
    assert (ports["state"], ports["needed"]) == ("too low", "2500000 ports")
    assert "here 2" in ports["why"]
    assert re.search(r"\d+ pairs of a source and a backend address are the least", ports["command"])

    text = doctor(*words, **options)
    assert text.returncode == 1
    assert re.search(r"^net\.ipv4\.ip_local_port_range .* too low ", text.stdout, re.MULTILINE)
    assert re.search(r"^needed:\n(  \S.*\n)+", text.stdout, re.MULTILINE)
    assert re.search(r"^verdict: not ready, \d+ too low", text.stdout, re.MULTILINE)


def test_more_backends_are_more_ports(doctor):
    many = service("s") + pool("s", {f"b{n}": f"10.0.{n // 250}.{n % 250 + 1}:80"
                                     for n in range(1000)})
    row = rows_of(doctor("--json", "--connections", HUGE, text=many))["net.ipv4.ip_local_port_range"]
    assert row["needed"] == "5000 ports" and "here 1000" in row["why"]
    local = service("s") + pool("s", ["unix:/run/a.sock"])
    row = rows_of(doctor("--json", "--connections", HUGE, text=local))["net.ipv4.ip_local_port_range"]
    assert row["state"] == "ok"


def test_for_sysctl(doctor):
    """Comments, and settings that this kernel has."""
    result = doctor("--sysctl", "--connections", HUGE)
    assert result.returncode == 1
    settings = {}
    for line in result.stdout.splitlines():
        if line and not line.startswith("#"):
            key, value = re.fullmatch(r"([a-z][\w.-]*) = ([\d ,-]+)", line).groups()
            assert key not in settings
            settings[key] = value
            assert pathlib.Path("/proc/sys", *key.split(".")).exists(), key
    assert settings or "Nothing needs to be changed" in result.stdout
    for setting, row in rows_of(doctor("--json", "--connections", HUGE)).items():
        is_changed = (row["command"] or "").startswith(f'sysctl -w {setting}="')
        assert is_changed == (setting in settings), row


ABSENT = service("s") + pool("s", BACKENDS, source_addresses=["203.0.113.1-203.0.113.3"])
PARTLY = service("s") + pool("s", BACKENDS, source_addresses=["203.0.113.1", "127.0.0.2"])


def test_absent_source_addresses(doctor):
    """They carry nothing."""
    result = doctor("--json", "--connections", 10, text=ABSENT)
    row = rows_of(result)["source addresses"]
    assert result.returncode == 1
    assert (row["now"], row["needed"], row["state"]) == ("0 here", "3", "too low")
    assert "203.0.113.1 and 2 more that this machine does not have" in row["why"]
    assert json.loads(result.stdout)["connections_by"]["ports"] == 0
    partly = doctor("--json", "--connections", 10, text=PARTLY)
    alone = doctor("--json", "--connections", 10, text=SMALL)
    assert partly.returncode == 0
    assert rows_of(partly)["source addresses"]["state"] == "advice"
    assert (json.loads(partly.stdout)["connections_by"]["ports"] ==
            json.loads(alone.stdout)["connections_by"]["ports"])


def test_a_unit_takes_nothing_away(doctor):
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(doctor("--systemd", "--connections", 1).stdout)
    asked = int(unit["Service"]["LimitNOFILE"])
    assert asked >= resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    packaged = (REPOSITORY / "packaging/systemd/sluice.service.in").read_text()
    assert asked >= int(re.search(r"^LimitNOFILE=(\d+)$", packaged, re.MULTILINE)[1])


def test_the_check_of_a_file_warns(folder):
    path = folder / "sluice.conf"
    path.write_text(f'global {{ workers = 2  max_connections = {HUGE} control_socket = "{folder}/c" }}\n'
                    + SMALL)
    result = run([SLUICED, "-t", "--strict", "-c", path], check=False)
    assert result.returncode == 0
    assert f"max_connections = {HUGE} cannot be reached: ports allow" in result.stdout + result.stderr


def test_more_for_buffers_than_there_is(folder, doctor, start):
    """As much as no machine has is told with its place, at -t, by the log, and by doctor."""
    path = folder / "sluice.conf"
    path.write_text(f'global {{\n  workers = 2\n  buffer_memory = "1024g"\n}}\n{SMALL}')
    said = r"buffer_memory is 1048576 MiB, and (this machine|the control group) has \d+ MiB of memory"
    told = run([SLUICED, "-t", "-c", path]).stderr
    assert re.search(rf"^{path}:3: global: warning: {said}", told, re.MULTILINE)
    daemon = start(Daemon(SMALL, buffer_memory="1024g"))
    assert re.search(said, daemon.log())

    result = doctor("--json", "--connections", 10, buffer_memory='"1024g"')
    row = rows_of(result)["memory"]
    assert (row["needed"], row["state"]) == ("1048576 MiB", "too low")
    assert "lower buffer_memory" in row["command"]
    assert rows_of(doctor("--json", "--connections", 10, buffer_memory='"1m"'))["memory"]["state"] == "ok"


def test_too_few_descriptors_to_listen(folder):
    """Master's sockets alone are too many: told once by -t, once at the start, and by doctor."""
    path = folder / "sluice.conf"

    def limited(*words):
        return run(["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *words], check=False)

    listen = [f"127.0.0.{n}:0" for n in range(1, 4)]
    for workers in 64, 33:
        path.write_text(f'global {{\n  workers = {workers}\n  control_socket = "{folder}/ctl.sock"\n'
                        f'  state_file = "none"\n}}\n' + service("s", listen=listen) + pool("s", BACKENDS))
        told = limited(SLUICED, "-t", "-c", path)
        said = (f"{path}:2: global: warning: master needs 352 descriptors to listen on 3 addresses for "
                "64 workers, and may have 200: start it with LimitNOFILE=352 in its unit, or after "
                "ulimit -Hn 352, or with workers = 33")
        assert (told.returncode, said in told.stderr) == (0, workers == 64)
        told = json.loads(limited(SLUICECTL, "doctor", "--json", "-c", path).stdout)
        assert (told["connections_by"]["descriptors"] == 0) == (workers == 64)
        if workers == 64:
            failed = limited(SLUICED, "-c", path)
            assert failed.returncode == 1
            assert failed.stderr.count("master needs 352 descriptors") == 1
            assert failed.stderr.count("cannot listen on ") == 1


def test_an_unbounded_service_hides_no_other(doctor):
    """One with Unix sockets makes ports unlimited for the daemon, and not for its neighbour."""
    both = SMALL + service("u") + pool("u", ["unix:/run/none.sock"])
    result = doctor("--json", "--connections", HUGE, text=both)
    assert json.loads(result.stdout)["connections_by"]["ports"] is None
    row = rows_of(result)["ports of one service"]
    assert (row["needed"], row["state"]) == (str(HUGE), "advice") and "service s " in row["why"]


def test_the_check_of_a_file_warns_of_a_service(folder):
    path = folder / "sluice.conf"
    path.write_text(f"global {{ workers = 2  max_connections = {HUGE} }}\n{SMALL}"
                    + service("u") + pool("u", ["unix:/run/none.sock"]))
    told = run([SLUICED, "-t", "-c", path], check=False).stderr
    assert re.search(rf'^{path}:2: service "s": warning: this service cannot have max_connections = {HUGE}: '
                     "ports towards", told, re.MULTILINE)
    assert 'service "u": warning' not in told


LIMITED = service("s", max_connections=50) + \
    pool("s", {"a": {"address": "127.0.0.1:9", "max_connections": 20}}, queue=10)


def test_limits_that_the_file_sets_itself(folder, doctor, start):
    """They are told where a number asks for more, and lower nothing."""
    path = folder / "own.conf"
    path.write_text(f"global {{ workers = 1  max_connections = 60 }}\n{LIMITED}")
    told = run([SLUICED, "-t", "-c", path]).stderr
    assert "global: warning: max_connections = 60 cannot be reached: services allow 50; " in told
    assert "global: warning: max_connections = 60 cannot be reached: backends allow 30; " in told
    assert 'service "s": warning: this service cannot have max_connections = 50: max_connections of its' in told

    result = doctor("--json", text=LIMITED, max_connections=60)
    rows = rows_of(result)
    assert result.returncode == 1
    assert rows["max_connections of services"]["state"] == "too low"
    assert rows["max_connections of backends"]["state"] == "too low"
    assert rows["max_connections of one service"]["state"] == "advice"
    assert json.loads(result.stdout)["limited_by"] == "backends"
    result = doctor("--json", text=LIMITED)  # what is possible
    assert result.returncode == 0 and json.loads(result.stdout)["connections"] == 30

    daemon = start(Daemon(LIMITED, 1, max_connections=60))
    told = info(daemon)
    assert (told["connections_limit"], told["connections_limited_by"]) == (60, "backends")
    assert told["connections_by"]["services"] == 50 and told["connections_by"]["backends"] == 30
    assert re.search(r"^allowed by .* services=50 backends=30$", daemon.ctl("show info"),
                     re.MULTILINE)


def test_for_systemd(doctor):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(doctor("--systemd", "--connections", HUGE).stdout)
    assert unit.sections() == ["Service"]
    assert "# First raise fs.nr_open to " in doctor("--systemd", "--connections", HUGE).stdout
    assert int(unit["Service"]["LimitNOFILE"]) >= HUGE


@pytest.mark.parametrize("before,words", [((), ("--json",)), (("--json",), ())])
def test_json_may_be_asked_for_on_either_side(doctor, before, words):
    assert json.loads(doctor(*words, before=before).stdout)["rows"]


@pytest.mark.parametrize("words", [["--frobnicate"], ["word"], ["--connections", "0"],
                                   ["--connections", "many"], ["--connections"],
                                   ["--json", "--sysctl"], ["--sysctl", "--systemd"]])
def test_usage(doctor, words):
    result = doctor(*words)
    assert result.returncode == 2 and result.stdout == ""
    assert "Usage: sluicectl doctor" in result.stderr


def test_help():
    result = run([SLUICECTL, "doctor", "--help"])
    assert result.stdout.startswith("Usage: sluicectl doctor") and "--systemd" in result.stdout


@pytest.mark.parametrize("text", ['service "s" { lisen = "127.0.0.1:80" }\npool "p" { }\n',
                                  'pool "p" { check "http" { status = "20x" } }\n', None])
def test_a_bad_file_is_told_of_as_by_the_daemon(folder, text):
    path = folder / "bad.conf"
    if text is not None:
        path.write_text(text)
    told = run([SLUICECTL, "doctor", "--config", path], check=False)
    daemon = run([SLUICED, "-c", path, "-t"], check=False)
    assert told.returncode == daemon.returncode == 1 and told.stdout == ""
    assert told.stderr.splitlines()[-1] == f"sluicectl: {path} is not usable"
    assert told.stderr.splitlines()[:-1] == daemon.stderr.splitlines()[:-1] != []


def test_limits_are_those_of_the_running_daemon(start, limited):
    limited(150)
    daemon = start(Daemon(SMALL, 2))

    def row():
        result = run([SLUICECTL, "doctor", "--json", "-c", daemon.config_path], check=False)
        return rows_of(result)["descriptors of a process"]
    assert row()["now"] == "150/150"
    assert f"the running daemon (pid {daemon.pid})" in row()["why"]
    daemon.stop()
    assert "this process (no daemon answers at" in row()["why"]
    assert row()["now"] != "150/150"


def test_the_file_is_that_of_the_running_daemon(start, folder):
    """Unless one is named; where nobody answers it is the usual one."""
    daemon = start(Daemon(SMALL, 1, max_connections=77))
    for words in ["-s", daemon.control, "doctor"], ["doctor", "-s", daemon.control]:
        told = json.loads(run([SLUICECTL, *words, "--json"]).stdout)
        assert (told["file"], told["file_is_of_daemon"]) == (str(daemon.config_path), True)
        assert told["connections"] == 77
    text = run([SLUICECTL, "-s", daemon.control, "doctor"]).stdout
    assert f"\n{daemon.config_path} (which the running daemon was started with), as asked: 77" in text

    other = folder / "other.conf"
    other.write_text(f"global {{ max_connections = 33 }}\n{SMALL}")
    told = json.loads(run([SLUICECTL, "-s", daemon.control, "doctor", "-c", other, "--json"]).stdout)
    assert (told["file"], told["file_is_of_daemon"]) == (str(other), False)
    assert told["connections"] == 33
    result = run([SLUICECTL, "-s", folder / "none.sock", "doctor"], check=False)
    assert "/etc/sluice/sluice.conf" in result.stdout + result.stderr


# --- what the daemon tells ---

def info(daemon):
    return daemon.ctl_json("show info")


def warnings(daemon):
    return re.findall(r'level=warning .*?msg="(.*max_connections.*)"', daemon.log())


def test_descriptors_decide(start, limited):
    limited(150)
    daemon = start(Daemon(SMALL, 2))
    told = info(daemon)
    assert told["connections_limited_by"] == "descriptors"
    assert told["connections_limit"] == told["connections_by"]["descriptors"] < 150
    assert told["connections_by"]["ports"] >= 2 and told["connections_by"]["memory"] > 150
    assert re.search(r"^limited by +descriptors$", daemon.ctl("show info"), re.MULTILINE)
    assert re.search(r"^allowed by +descriptors=\d+ ports=\d+ memory=\d+$", daemon.ctl("show info"),
                     re.MULTILINE)
    assert re.search(r"msg=ready .* connections_limited_by=descriptors", daemon.log())
    assert warnings(daemon) == []


def test_each_of_those_that_descriptors_allow_is_served(start, limited):
    """The kernel spreads them over workers unevenly: there is room for that."""
    limited(200)
    echo = start(Origin("echo"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses), 8))
    limit = info(daemon)["connections_limit"]
    assert limit == info(daemon)["connections_by"]["descriptors"] > 8 * 30
    clients = [start(connect(daemon.address("s"))) for _ in range(limit)]
    for client in clients:
        client.sendall(b"hello")
    assert all([client.recv(5) == b"hello" for client in clients])
    assert set(daemon.service("s")["refused_by"].values()) == {0}


def test_a_number_within_reach_decides(start):
    daemon = start(Daemon(service("s") + pool("s", ["unix:/run/none.sock"]), max_connections=100))
    told = info(daemon)
    assert (told["connections_limit"], told["connections_limited_by"]) == (100, "max_connections")
    assert told["connections_by"]["ports"] is None  # Unix sockets need none
    assert "ports=" not in daemon.ctl("show info")
    assert warnings(daemon) == []


def test_a_number_out_of_reach(start, limited):
    """Kept as it is, warned of at the start and at each reload, with what would allow it."""
    limited(150)
    daemon = start(Daemon(SMALL, 2, max_connections=400))
    told = info(daemon)
    assert (told["connections_limit"], told["connections_limited_by"]) == (400, "descriptors")
    wait_for(lambda: warnings(daemon), what="a warning")
    assert len(warnings(daemon)) == 1
    expected = (f"max_connections = 400 cannot be reached: descriptors allow "
                f"{told['connections_by']['descriptors']}; .*LimitNOFILE=.*ulimit -Hn .*workers = ")
    assert re.search(expected, warnings(daemon)[0])
    assert re.search(expected, daemon.ctl("check config"))
    assert re.search(expected, daemon.ctl("reload"))
    assert "cannot be reached" not in daemon.ctl("drain backend s a")

    daemon.options["max_connections"] = 50
    assert "cannot be reached" not in "".join(map(str, daemon.reload(SMALL)["warnings"]))
    assert info(daemon)["connections_limited_by"] == "max_connections"
    daemon.options["max_connections"] = "auto"
    daemon.reload(SMALL)
    assert info(daemon)["connections_limited_by"] == "descriptors"
    assert info(daemon)["connections_limit"] == told["connections_by"]["descriptors"]


def test_limits_follow_the_backends(start):
    """And not what sessions use of the memory meanwhile: that is as it was at the start."""
    daemon = start(Daemon(SMALL))
    before = info(daemon)["connections_by"]
    daemon.reload(service("s") + pool("s", BACKENDS + ["127.0.0.1:11", "127.0.0.2:9"]))
    assert info(daemon)["connections_by"] == {**before, "ports": 2 * before["ports"]}
