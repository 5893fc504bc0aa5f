"""Options of checks, outlier and what goes with them: refused with reasons, read back, reloaded."""

import re

import pytest

from sluice import SLUICED, CtlError, Daemon, Origin, pool, run, service


@pytest.fixture
def echo(start):
    return start(Origin("echo", "echo"))


def own_socket(folder):
    """Not everybody may make the default one."""
    return f'global {{ control_socket = "{folder}/ctl" }}\n'


def check(folder, text, *words):
    path = folder / "sluice.conf"
    path.write_text(text if "global" in text else text + own_socket(folder))
    return run([SLUICED, "-c", path, "-t", *words], check=False)


def web(checks=None, outlier=None, address="127.0.0.1:1", of_backend=None, **options):
    """A service and its pool of one backend. outlier: the lines of that section."""
    text = pool("web", {"a": {"address": address, **(of_backend or {})}}, checks, **options)
    if outlier is not None:
        text = text.replace("{\n", f"{{\noutlier {{\n{outlier}\n}}\n", 1)
    return service("web") + text


# --- what a file may say ---

HTTP = {"method": "HEAD", "path": "/a?b=%20", "host": "h.example:81", "status": "200,204,301-303",
        "headers": ["Accept: text/plain", "X-Token: $1"], "tls": True, "sni": "h.example",
        "verify": True, "source": "::1"}

EVERYTHING = web(
    {"http": HTTP, "http:body": {"body": "^a.*\\\\d$", "port": 82}, "redis": {},
     "expect": {"steps": ["send PING\\r\\n", "expect(500ms) +PONG"]},
     "exec": {"command": ["/bin/echo", "a b", "#"], "dynamic": False},
     "agent": {"port": 83, "send": "hello\\n"}, "mysql": {"user": "monitor"}},
    'on = { "reset", "first_byte" }\nfirst_byte_timeout = "5s"\nconsecutive_failures = 3\n'
    'eject_time = "90s"\nmax_ejected = 50',
    address="[::1]:1", of_backend={"check_address": "[::1]"}, require="any", notify="/bin/true")

SHOWN = (
    'headers = { "Accept: text/plain", "X-Token: $1" }', 'path = "/a?b=%20"',
    'body = "^a.*\\\\d$"', 'steps = { "send PING\\r\\n", "expect(500ms) +PONG" }',
    'command = { "/bin/echo", "a b", "#" }', "dynamic = false", 'on = { "reset", "first_byte" }',
    'eject_time = "90s"', 'require = "any"', 'notify = "/bin/true"', 'check_address = "[::1]"',
    'stop_delay = "0s"', "healthz = true", 'user = "monitor"', 'send = "hello\\n"',
    'source = "::1"')


def test_everything_reads_back(folder):
    """What -T prints says the same, and so does what that prints; each kind has its own options."""
    path, again = folder / "sluice.conf", folder / "again.conf"
    path.write_text(EVERYTHING + own_socket(folder))
    first = run([SLUICED, "-c", path, "-T"])
    assert first.stderr == ""
    again.write_text(first.stdout)
    assert run([SLUICED, "-c", again, "-T"]).stdout == first.stdout
    for piece in SHOWN:
        assert piece in first.stdout, first.stdout
    assert first.stdout.count("dynamic") == first.stdout.count("steps") == 1
    assert first.stdout.count("method") == 2


# What is written, what is said of it, and whether it is refused.
SAID = [
    (web({"tcp": {"path": "/"}}),
     r'check "tcp": path: check "tcp" has no such option; .* that have it: "http"$', True),
    (web({"exec": {"command": ["/bin/true"], "source": "127.0.0.1"}}),
     r'source: check "exec" has no such option; .*"tcp", .*"memcached"$', True),
    (web({"htpp": {}}), r'"htpp": unknown kind of check; did you mean "http"\?', True),
    (web({"expect": {}}), r"steps is missing; write steps = ", True),
    (web({"exec": {}}), r"command is missing; write command = ", True),
    (web({"agent": {}}), r"port is missing; write port = NUMBER", True),
    (web({"expect": {"steps": []}}), r"steps: the list is empty; write at least one", True),
    (web({"expect": {"steps": ["send x", "exepct y"]}}), r'did you mean "expect"', True),
    (web({"exec": {"command": ["probe"]}}), r"write the program's absolute path", True),
    (web({"exec": {"command": ["/bin/true"], "dynamic": "x"}}),
     r'dynamic: "x": neither true nor false', True),
    (web({"http": {"path": "x"}}), r'path: "x" is no path; write one that begins with "/"', True),
    (web({"http": {"status": "20x"}}), r"write statuses from 100 to 599", True),
    (web({"http": {"headers": ["A: b", "Host: c"]}}), r'headers: .*write host = "', True),
    (web({"http": {"body": "("}}), r'body: bad expression "\("', True),
    (web({"http": {"sni": "h"}}), r'check "http": .*write tls = true', True),
    (web({"http": {"source": "eth0"}}), r'source: "eth0": not an IP address; write one', True),
    (web({"tcp": {"source": "::1"}}),
     r"address: an IPv4 address cannot be reached from ::1, the source of check", True),
    (web({"tcp": {}}, of_backend={"check_address": "localhost"}),
     r'check_address: "localhost": a name, and names are not looked up here; write a numeric',
     True),
    (web({"tcp": {"port": 1}}, of_backend={"check_address": "unix:/x"}),
     r"check_address: a Unix socket has no ports, but check", True),
    (web({"tcp": {}}, address="unix:/x", of_backend={"check_address": "127.0.0.1"}),
     r"check_address: no port, and the backend's Unix socket has none either", True),
    (web(of_backend={"check_address": "127.0.0.1"}), r"nothing looks there", False),
    (web(require="most"), r'require: "most": unknown; write "all" or "any"', True),
    (web(notify="mail"), r'notify: "mail": not an absolute path; begin it with /', True),
    (web(outlier='on = "timeouts"'), r'write "connect", "reset" or "first_byte"', True),
    (web(outlier="on = { }"), r"on: the list is empty", True),
    (web(outlier='on = "first_byte"'), r"write first_byte_timeout = ", True),
    (web(outlier='first_byte_timeout = "1s"'), r"has no effect without", False),
    (web(outlier='eject_time = "2d"'), r"write a time from 1s to 1d", True),
]


@pytest.mark.parametrize("text,what,is_error", SAID, ids=range(len(SAID)))
def test_what_is_said(folder, text, what, is_error):
    """One message each, with its place."""
    result = check(folder, text)
    assert result.returncode == is_error, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("sluiced: ")]
    assert len(lines) == 1 and re.search(what, lines[0]), result.stderr
    assert re.match(r"/.*:\d+: pool \"web\"", lines[0]), lines
    assert ("warning: " in lines[0]) != is_error, lines


def test_items_are_found_at_their_lines(folder):
    text = web({"expect": {"steps": []}}).replace(
        "{  }", '{\n"send a",\n"snd b",\n"expect c",\n"expct d" }')
    result = check(folder, text)
    for wrong in "snd b", "expct d":
        line = text[:text.index(wrong)].count("\n") + 1
        assert re.search(rf"sluice.conf:{line}: .*steps: .*\"{wrong}\"", result.stderr), result


@pytest.mark.parametrize("text", [
    EVERYTHING, web({"ssh": {}, "smtp": {}, "memcached": {}, "postgresql": {}}), web(outlier=""),
    web({"tcp": {"port": 81}}, address="unix:/x", of_backend={"check_address": "127.0.0.1"}),
    web({"tcp": {}}, address="unix:/x", of_backend={"check_address": "unix:/y"}),
], ids=range(5))
def test_what_is_good(folder, text):
    result = check(folder, text, "--strict")
    assert result.returncode == 0 and result.stderr == "", result


# --- while it runs ---

def test_secrets_of_checks_are_not_shown(start, echo, folder):
    """Not in any answer, though the check uses them; nor in a message when they are wrong."""
    secret = folder / "token"
    secret.write_text("X-Token: blue-whale\n")
    checks = {"http": {"headers": ["Accept: */*", f"${{file:{secret}}}"]}}
    daemon = start(Daemon(service("web") + pool("web", echo.addresses, checks)))
    assert f'headers = {{ "Accept: */*", "${{file:{secret}}}" }}' in daemon.ctl("show config")
    secret.write_text("X-Token: red-panda\n")
    text = daemon.ctl("reload")
    assert re.search(rf"check http: headers .*{secret}.* added", text), text
    secret.write_text("Host: grey-wolf\n")
    with pytest.raises(CtlError, match="headers: .*will not do") as refused:
        daemon.ctl("reload")
    assert "wolf" not in str(refused.value)
    for words in "show config", "show events", "show stats json":
        assert not re.search("whale|panda|wolf", daemon.ctl(words))
    assert not re.search("whale|panda|wolf", daemon.log())


def test_reload_says_what_changes(start, echo):
    def config(checks, of_service=None, of_backend=None, **of_pool):
        return service("web", **(of_service or {})) + pool(
            "web", {"a": {"address": echo.addresses[0], **(of_backend or {})}}, checks, **of_pool)
    daemon = start(Daemon(config({"exec": {"command": ["/bin/true", "a", "b"]}})))
    reply = daemon.reload(
        config({"exec": {"command": ["/bin/true", "b", "a"], "dynamic": False}},
               {"healthz": False}, {"check_address": "127.0.0.1"}, require="any")
        .replace('pool "web" {\n', 'pool "web" {\noutlier { }\n'))
    assert reply["needs_restart"] is False
    assert set(reply["changes"]) >= {
        "service web: healthz true -> false", "pool web: require all -> any",
        "pool web: outlier added", "pool web: check exec: command in another order",
        "pool web: check exec: dynamic true -> false",
        "pool web: backend a: check_address unset -> 127.0.0.1"}, reply
