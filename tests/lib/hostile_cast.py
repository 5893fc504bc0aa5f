"""Who plays in the tests of checks: manners of misbehaving for each kind of check, and what is to
be said of each: {name: (state, expression that is the whole reason)}."""

import ssl

from hostile import GARBAGE, Hostile, endless, late, over_tls, says, silent, trickle
from software import Authority
from sluice import pool, split

LATE = "no answer within 1000 ms"


def common(answer, first=False):
    """Of any protocol: {name: manner}."""
    return {
        "silent": silent,
        "late": late(answer),
        "trickle": trickle(answer, first),
        "garbage": says(GARBAGE, "stay", first),
        "endless": endless(b"", first),
        "accepted-end": says(b"", "end", True),
        "accepted-reset": says(b"", "reset", True),
        "asked-end": says(b"", "end"),
        "asked-reset": says(b"", "reset"),
    }


def cuts(**parts):
    """Ends, and resets, after each part of an answer."""
    return {f"{name}-{then}": says(part, then)
            for name, part in parts.items() for then in ("end", "reset")}


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
HTTP = {
    **common(HEAD + b"all well"),
    **cuts(status=b"HTTP/1.1 20", header=b"HTTP/1.1 200 OK\r\nContent-", head=HEAD,
           body=HEAD + b"all"),
    "gigabyte": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
    "chunk": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n"),
    "long-header": endless(b"HTTP/1.1 200 OK\r\nX: "),
    "many-headers": says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101, "stay"),
}
RESETS = {name: ("down", "connection reset") for name in HTTP if name.endswith("-reset")}
SAID_OF_HTTP_BODY = {
    **RESETS,
    "silent": ("down", LATE),
    "late": ("down", LATE),
    "trickle": ("down", "no whole answer within 1000 ms: its headers go on"),
    "garbage": ("down", 'no HTTP answer: got ".*…"'),
    "endless": ("down", 'no HTTP answer: got "z*…"'),
    "accepted-end": ("down", "closed without an answer"),
    "asked-end": ("down", "closed without an answer"),
    "status-end": ("down", 'no HTTP answer: got "HTTP/1.1 20"'),
    "header-end": ("down", "closed within the headers"),
    "head-end": ("down", "closed within the body"),
    "body-end": ("down", "closed within the body"),
    "gigabyte": ("down", "body does not match /well/: got .*"),
    "chunk": ("down", "body does not match /well/: got .*"),
    "long-header": ("down", "headers over 16 KiB"),
    "many-headers": ("down", "more than 100 header lines"),
}
# Where the body does not matter, an answer whose headers are whole is one.
SAID_OF_HTTP = {**SAID_OF_HTTP_BODY, **dict.fromkeys(
    ["head-end", "head-reset", "body-end", "body-reset", "gigabyte", "chunk"],
    ("up", r"HTTP 200 in [\d.]+ (us|ms)"))}

NO_TLS = {
    **common(b"\x16\x03\x03\x00\x7a\x02"),
    **cuts(record=b"\x16\x03\x03\x02\x00\x02"),
    "record-stay": says(b"\x16\x03\x03\x02\x00\x02", "stay"),
}
SAID_OF_NO_TLS = {
    **{name: ("down", "connection reset") for name in NO_TLS if name.endswith("-reset")},
    **{name: ("down", "TLS: closed by the backend in the handshake")
       for name in NO_TLS if name.endswith("-end")},
    **dict.fromkeys(["garbage", "endless"], ("down", "TLS: the backend does not speak it")),
    **dict.fromkeys(["silent", "late", "trickle", "record-stay"],
                    ("down", "no TLS handshake within 1000 ms")),
}

PONG = {
    **common(b"+PONG\r\n"),
    **cuts(part=b"+PO", whole=b"+PONG\r\n"),
    "loading": says(b"-LOADING dataset\r\n", "stay"),
}
SAID_OF_REDIS = {
    **{name: ("down", "connection reset") for name in PONG if name.endswith("-reset")},
    "silent": ("down", LATE),
    "late": ("down", LATE),
    "trickle": ("down", 'got "\\+P?"'),
    "garbage": ("down", 'got ".*…"'),
    "endless": ("down", "64 KiB without .*PONG.*"),
    "accepted-end": ("down", "closed by the backend"),
    "asked-end": ("down", "closed by the backend"),
    "part-end": ("down", 'got "\\+PO", then closed'),
    "loading": ("down", 'got "-LOADING dataset…?"'),
    "whole-end": ("up", r"answered in [\d.]+ (us|ms)"),
    "whole-reset": ("up", r"answered in [\d.]+ (us|ms)"),
}
SAID_OF_EXPECT = {name: (state, f"expect step 2: expected .*PONG.*, {reason}") if state == "down"
                  else (state, r"2 steps in [\d.]+ (us|ms)")
                  for name, (state, reason) in SAID_OF_REDIS.items()}
SAID_OF_EXPECT["endless"] = "down", "expect step 2: expected .*PONG.*, 64 KiB without it"
SAID_OF_EXPECT["accepted-reset"] = "down", "(expect step 2: .*)?connection reset"  # which is faster?

AGENT = {
    **{name: manner for name, manner in common(b"up\n", True).items() if name != "late"},
    "part-end": says(b"rea", "end", True),
    "part-reset": says(b"dow", "reset", True),
    "whole-reset": says(b"up\n", "reset", True),
}
SAID_OF_AGENT = {  # where it does not answer, nothing changes
    "silent": ("up", LATE),
    "trickle": ("up", LATE),
    "garbage": ("up", "agent says nothing known: .*"),
    "endless": ("up", "the agent's line does not end"),
    "accepted-end": ("up", "the agent does not answer"),
    "accepted-reset": ("up", "the agent does not answer: connection reset"),
    "asked-end": ("up", "the agent does not answer"),
    "asked-reset": ("up", "the agent does not answer: connection reset"),
    "part-end": ("up", "agent says nothing known: rea"),
    "part-reset": ("up", "the agent does not answer: connection reset"),
    "whole-reset": ("up", "agent says up"),
}

PROGRAMS = {
    "hangs": "exec sleep 100",
    "deaf": "trap '' HUP INT TERM; sleep 100 & sleep 100",
    "mute": "exec >&- 2>&-; exec sleep 100",
    "stopped": "kill -STOP $$",
    "killed": "echo about to; kill -KILL $$",
    "floods": "echo much; head -c 20000000 /dev/zero; exit 1",
    "garbage": r"printf '\377\000\033[31m\n'; exit 126",
    "leaves": "sleep 100 & exit 0",
    "writes-on": "(exec yes) & echo first; exit 0",
}
SAID_OF_PROGRAMS = {
    **dict.fromkeys(["hangs", "deaf", "mute", "stopped"], ("down", LATE)),
    "killed": ("down", "ended by signal 9: about to"),
    "floods": ("down", "exit status 1, expected 0 or from 2 on: much"),
    "garbage": ("up", r"exit status 126, weight 100%: \?*\[31m"),
    "leaves": ("up", "exit status 0"),
    "writes-on": ("up", "exit status 0: .*"),
}

EXPECT = {"steps": ["send PING\\\\r\\\\n", "expect +PONG"]}


def make_program(folder):
    """Behaves as the backend's name says."""
    cases = "".join(f"{name}) {line};;\n" for name, line in PROGRAMS.items())
    path = folder / "program"
    path.write_text(f"#!/bin/sh\ncase $SLUICE_BACKEND in\n{cases}esac\n")
    path.chmod(0o755)
    return path


def backend(name, address, checks):
    """Text of a backend with checks of its own."""
    return pool(name, [], checks).replace("pool", "backend", 1).replace(
        "{", f'{{\naddress = "{address}"', 1)


class Cast:
    """All of them, and the pools that check them."""

    def __init__(self, start, folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*Authority(folder).issue("web.test"))
        tls = {name: over_tls(context, manner) for name, manner in HTTP.items()}
        self.program = make_program(folder)
        self.exec_pool = f"exec-{folder.name}"
        # pool: kind, its options, who plays in it, what is said of them
        self.plays = {
            "http": ("http", {"path": "/x"}, start(Hostile(HTTP)), SAID_OF_HTTP),
            "body": ("http", {"body": "well"}, start(Hostile(HTTP)), SAID_OF_HTTP_BODY),
            "tls": ("http", {"body": "well", "tls": True}, start(Hostile(tls)), SAID_OF_HTTP_BODY),
            "no-tls": ("http", {"tls": True}, start(Hostile(NO_TLS)), SAID_OF_NO_TLS),
            "redis": ("redis", {}, start(Hostile(PONG)), SAID_OF_REDIS),
            "expect": ("expect", EXPECT, start(Hostile(PONG)), SAID_OF_EXPECT),
            "agent": ("agent", {"send": "how?\\\\n"}, start(Hostile(AGENT)), SAID_OF_AGENT),
        }

    def pools(self, **timing):
        text = "".join(pool(name, server.addresses(), {kind: {**timing, **options}})
                       for name, (kind, options, server, _) in self.plays.items()
                       if kind != "agent")
        text += self._agents(timing)
        # Each an address of its own, or they would be one check.
        text += pool(self.exec_pool, {name: f"127.0.0.1:{nth}"
                                      for nth, name in enumerate(PROGRAMS, 1)},
                     {"exec": {**timing, "command": [str(self.program)]}})
        return text + pool("no-exec", ["127.0.0.1:1"], {"exec": {
            **timing, "command": [f"{self.program}.not"]}})

    def _agents(self, timing):
        text = pool("agent", {})[:-2]
        _, options, server, _ = self.plays["agent"]
        for name, address in server.addresses().items():
            text += backend(name, "127.0.0.1:1", {
                "agent": {**timing, **options, "port": split(address)[1]}})
        return text + "}\n"

    def said(self):
        said = {(name, backend): what for name, (*_, said) in self.plays.items()
                for backend, what in said.items()}
        said.update({(self.exec_pool, name): what for name, what in SAID_OF_PROGRAMS.items()})
        said["no-exec", "a"] = "down", f"cannot run {self.program}.not: No such file or directory"
        return said
