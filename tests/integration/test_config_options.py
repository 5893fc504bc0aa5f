"""Options of pools, services and backends that need each other: what is refused, warned of, kept."""

import re
import socket

import pytest

from sluice import SLUICED, CtlError, Daemon, Origin, pool, run, service, wait_for


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


def web(**options):
    """A pool with a primary and a backup; options of the primary."""
    return pool("web", {"a": {"address": "127.0.0.1:1", **options},
                        "b": {"address": "127.0.0.1:2", "backup": "yes"}})


SORRY = pool("sorry", ["127.0.0.1:3"])

# --- what a file may say ---

EVERYTHING = (
    service("web", fallback_pool="sorry", accept_rate="999999/s:500", persistence="10m",
            persistence_mask=24, persistence_mask6=64)
    + pool("web", {"a": {"address": "127.0.0.1:1", "max_connections": 9, "resume_connections": 4,
                         "connect_rate": "6000/m"},
                   "b": {"address": "127.0.0.1:2", "backup": "true"}},
           scheduler="maglev", hash_key="source_port", queue=100, queue_timeout="0s",
           slow_start="30s", panic_threshold=50, min_healthy=1, backup_use="all",
           on_return="close", on_down="close")
    + SORRY)


def test_everything_reads_back(folder):
    """What -T prints says the same, and so does what that prints."""
    path, again = folder / "sluice.conf", folder / "again.conf"
    path.write_text(EVERYTHING + own_socket(folder))
    first = run([SLUICED, "-c", path, "-T"])
    assert "warning" not in first.stderr
    again.write_text(first.stdout)
    assert run([SLUICED, "-c", again, "-T"]).stdout == first.stdout
    for piece in ('fallback_pool = "sorry"', 'accept_rate = "999999/s:500"', 'persistence = "10m"',
                  'hash_key = "source_port"', 'queue_timeout = "0s"', "resume_connections = 4",
                  'connect_rate = "6000/m"', "backup = true", 'backup_use = "all"',
                  'resume_connections = "auto"', 'connect_rate = "none"'):
        assert piece in first.stdout, first.stdout


ONE_UNIX = [service("web", listen=["127.0.0.1:0", "unix:/tmp/sluice-test.sock"], **options)
            for options in ({}, {"persistence": "1m"})]

def resetting(send, expect):
    return service("web") + pool("web", ["127.0.0.1:1"],
                                 reuse={"mode": "session", "reset_send": send,
                                        "reset_expect": expect})


def every_scheduler(folder):
    """Their names, as the refusal of an unknown one lists them."""
    text = check(folder, service("web") + pool("web", ["127.0.0.1:1"], scheduler="?")).stderr
    return re.findall(r'"(\w+)"', text[text.index("write one of"):])


REUSES = [{"mode": "warm"}, {"mode": "session", "reset_send": "PING {nonce}", "reset_expect": "{nonce}"},
          {"mode": "request", "framing": "line"}]


def test_what_is_printed_is_read_without_a_word(folder):
    """All defaults written out mean what they mean unwritten, with each scheduler and mode."""
    path, again = folder / "sluice.conf", folder / "again.conf"
    schedulers = every_scheduler(folder)
    assert len(schedulers) > 8
    texts = [service(f"s{nth}") + pool(f"s{nth}", ["127.0.0.1:1"], scheduler=name)
             for nth, name in enumerate(schedulers)]
    texts += [service(f"r{nth}") + pool(f"r{nth}", ["127.0.0.1:1"], reuse=reuse)
              for nth, reuse in enumerate(REUSES)]
    path.write_text(own_socket(folder) + "".join(texts))
    first = run([SLUICED, "-c", path, "-T"])
    again.write_text(first.stdout)
    second = run([SLUICED, "-c", again, "-T", "--strict"])
    assert second.stdout == first.stdout
    assert first.stderr == second.stderr == ""


# What is written, what is said of it, and whether it is refused.
SAID = [
    (service("web", fallback_pool="sory") + web() + SORRY,
     r'fallback_pool: "sory": no such pool; did you mean "sorry"\?', True),
    (service("web", fallback_pool="web") + web(),
     r'fallback_pool: "web": the same as pool; name another one', True),
    (service("web", accept_rate="100") + web(), r'accept_rate: "100": not a rate; write', True),
    (service("web", accept_rate="2000000/s") + web(), r'rate out of range; .*"1000000/s"', True),
    (service("web") + web(connect_rate="10/s:0"), r"burst out of range; 1 to 1000000", True),
    (service("web", persistence_mask=33) + web(), r"a whole number from 0 to 32", True),
    (service("web") + web(resume_connections=5), r"there is no max_connections", True),
    (service("web") + web(resume_connections=5, max_connections=4),
     r'resume_connections: "5": above max_connections = 4; write at most that', True),
    (service("web") + pool("web", ["127.0.0.1:1"], hash_key="source_port"),
     r'hash_key: "source_port": means nothing to scheduler "wlc"', False),
    (service("web") + web().replace("{\n", "{\nmin_healthy = 2\n", 1),
     r"min_healthy: 2, but only 1 of the backends are no backups", False),
    (service("web") + pool("web", {"b": {"address": "127.0.0.1:2", "backup": "yes"}}),
     r"every backend is a backup", False),
    (service("web") + web(weight=0) + SORRY, r'pool "sorry": warning: no service uses', False),
    (ONE_UNIX[1] + web(), r'"unix:.*": clients of a Unix socket have no address, so for persis',
     False),
    (ONE_UNIX[0] + pool("web", ["127.0.0.1:1"], scheduler="maglev"),
     r"no address, so for the scheduler all of them count as one", False),
    (service("web", fallback_pool="sorry") + pool("web", {"a": {"address": "127.0.0.1:1",
                                                                 "weight": 0}})
     + pool("sorry", {"z": {"address": "127.0.0.1:3", "admin": "drain"}}),
     r"nobody can reach.*nor of the fallback pool", False),
    (resetting("RESET", "+RESET"), r"reset_expect: .* passes for the answer", False),
    (resetting("PING {nonce}", "+PONG"), r"reset_expect: without the \{nonce\}", True),
    (resetting("PING", "+{nonce}"), r"\{nonce\} that it was never sent", True),
]


@pytest.mark.parametrize("text,what,is_error", SAID, ids=range(len(SAID)))
def test_what_does_not_go_together(folder, text, what, is_error):
    """One message each, with its place."""
    result = check(folder, text)
    assert result.returncode == is_error, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("sluiced: ")]
    assert len(lines) == 1 and re.search(what, lines[0]), result.stderr
    assert re.match(r"/.*:\d+: ", lines[0]) and ("warning: " in lines[0]) != is_error, lines


def test_a_good_file_is_said_to_be_good(folder):
    result = check(folder, service("web") + web())
    assert result.stdout == f"{folder}/sluice.conf: good: 1 service, 1 pool\n", result


@pytest.mark.parametrize("text,line,what", [
    ("upstream web {\n    server 10.0.0.1:80;\n}\n", 1,
     'unknown section "upstream"; known here: global, service, pool'),
    ("global { }\nfrontend web\n    bind :80\n", 2,
     'unknown option "frontend"; only sections stand here: global, service, pool'),
    (web() + "virtual_server { real_server { weight = 1 } }\n", 10,
     'unknown section "virtual_server"; known here: global, service, pool'),
], ids=["nginx", "haproxy", "keepalived"])
def test_what_belongs_to_others(folder, text, line, what):
    """A file of another program is refused with a message, and what else is wrong is told as well."""
    result = check(folder, text)
    assert result.returncode == 1 and f"sluice.conf:{line}: {what}\n" in result.stderr, result
    assert "no service" in result.stderr, result
    assert "unexpectedly" not in result.stderr, result


@pytest.mark.parametrize("text", [
    EVERYTHING,
    service("web", fallback_pool="sorry") + SORRY + pool("web", {"a": {"address": "127.0.0.1:1",
                                                                       "weight": 0}}),
    ONE_UNIX[0] + web(),
    service("web") + web(resume_connections="auto"),
    resetting("$${nonce} {a} ${HOME:-}", "{{nonce}"),
], ids=range(5))
def test_what_does(folder, text):
    result = check(folder, text, "--strict")
    assert result.returncode == 0 and result.stderr == "", result


def test_a_reset_without_a_nonce_is_warned_of(start):
    """At the start, and at each reload."""
    daemon = start(Daemon(resetting("RESET", "+RESET")))
    warning = "a client's data that ends like this passes for the answer"
    assert daemon.log().count(warning) == 1
    assert warning in daemon.ctl("reload")


def test_hash_seed_is_not_shown(start, echo, folder):
    """Not in any answer, and a reload does not change it."""
    secret = folder / "seed"
    secret.write_text("blue-whale\n")
    config = service("web") + pool("web", echo.addresses, scheduler="maglev")
    daemon = start(Daemon(config, hash_seed=f"${{file:{secret}}}"))
    assert f"hash_seed = \"${{file:{secret}}}\"" in daemon.ctl("show config")
    secret.write_text("red-panda\n")
    text = daemon.ctl("reload")
    assert re.search(r"global: hash_seed .* has another content: needs a restart", text), text
    for words in "show config", "show events", "show stats json":
        assert "whale" not in daemon.ctl(words) and "panda" not in daemon.ctl(words)
    assert "whale" not in daemon.log() and "panda" not in daemon.log()


# --- while it runs ---

def shown(daemon, option):
    """The values that show config has of an option, in its order."""
    return re.findall(rf"^ *{option} = (.*)$", daemon.ctl("show config"), re.M)


def test_limits_are_set_while_it_runs(start, echo):
    def config(**options):
        return service("web") + pool("web", {"a": {"address": echo.addresses[0], **options},
                                             "b": echo.addresses[1]})
    daemon = start(Daemon(config(max_connections=10)))

    def refused(words, what):
        with pytest.raises(CtlError, match=what):
            daemon.ctl(f"set backend web a {words}")
    refused("resume_connections=11", r'"11": above max_connections = 10; write at most that')
    refused("connect_rate=5", r'connect_rate: "5": not a rate; write')
    refused("backup=true", r"backup= cannot be given by command")
    daemon.ctl("set backend web a resume_connections=8 connect_rate=1000/s:50")
    refused("max_connections=7", r'resume_connections: "8": above max_connections = 7; write')
    refused("max_connections=0", r'resume_connections: "8": there is no max_connections')
    assert shown(daemon, "resume_connections") == ["8"]
    assert shown(daemon, "connect_rate") == ['"1000/s:50"']
    reply = daemon.reload(config(max_connections=10) + service("more", pool="web"))
    assert {row["option"]: row["value"] for row in reply["overrides"]} == {
        "resume_connections": "8", "connect_rate": "1000/s:50"}
    assert shown(daemon, "resume_connections") == ["8"]
    reply = daemon.reload(config(max_connections=6))  # the file lowers what the override needs
    assert [row["option"] for row in reply["overrides"]] == ["connect_rate"]
    assert "above max_connections = 6" in str(reply["warnings"]), reply
    daemon.ctl("set backend web a connect_rate=none")  # as the file has it
    assert daemon.reload(config(max_connections=6))["overrides"] == []
    assert shown(daemon, "connect_rate") == []


def test_an_edited_limit_holds_at_once(start, echo):
    """For sessions that are there already, up and down."""
    daemon = start(Daemon(service("web") + pool("web", {"a": {"address": echo.addresses[0],
                                                              "max_connections": 10}})))
    host, _, port = daemon.address("web").rpartition(":")
    for _ in range(4):
        sock = start(socket.create_connection((host, int(port)), 60))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

    def state():
        return daemon.backend("web", "a")["state"]
    assert state() == "up"
    for limit, expected in (4, "full"), (5, "up"), (2, "full"), (0, "up"):
        daemon.ctl(f"set backend web a max_connections={limit} force")
        wait_for(lambda: state() == expected, what=f"{expected} with a limit of {limit}")


def test_reload_says_what_changes(start, echo):
    def config(of_service, of_pool, **of_backend):
        return service("web", **of_service) + pool(
            "web", {"a": {"address": echo.addresses[0], **of_backend}, "b": echo.addresses[1]},
            **of_pool) + pool("spare", echo.addresses)
    daemon = start(Daemon(config({}, {})))
    reply = daemon.reload(config({"fallback_pool": "spare", "accept_rate": "100/s"},
                                 {"queue": 5, "on_down": "close"}, connect_rate="60/m",
                                 backup="true"))
    assert reply["needs_restart"] is False
    assert set(reply["changes"]) >= {
        "service web: fallback_pool unset -> spare", "service web: accept_rate none -> 100/s",
        "pool web: queue 0 -> 5", "pool web: on_down keep -> close",
        "pool web: backend a: connect_rate none -> 60/m",
        "pool web: backend a: backup false -> true"}, reply
