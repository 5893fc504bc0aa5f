"""What clients and backends of the torture say to each other, one class a framing.

Everything follows from the seed and a token: c12r3s is the third request of the twelfth client. So
a client knows what it must get, a backend what it must have been sent, byte by byte, and the token
is all over both: whoever gets bytes that are not his can say whose they were.
"""

import collections
import random
import re
import zlib

TOKEN = re.compile(rb"c(\d+)r(\d+)s")
FIND_BYTES = 4096  # a request has its token within as many
NEVER = 1 << 30


class Wrong(Exception):
    """Bytes that are not the right ones."""


def text(token, size):
    """So many bytes that say whose they are."""
    return (token * (size // len(token) + 1))[:size]


def show(got, expected):
    """Where two strings part."""
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
              min(len(got), len(expected)))
    start = max(0, at - 40)
    return (f"{bytes(got[start:at + 80])!r} instead of {bytes(expected[start:at + 80])!r}, "
            f"{len(got)} and {len(expected)} bytes from here, equal for {at}")


class Unit:
    """What a client asks for in one go. answer: what it must get, in parts: (is_head, bytes)."""

    __slots__ = ("request", "answer", "is_last")

    def __init__(self, request, answer, is_last=False):
        self.request = request
        self.answer = [(False, answer)] if isinstance(answer, bytes) else answer
        self.is_last = is_last  # the connection ends with it


class Item:
    """A request that a backend has got. is_safe: it may come twice; wrong: it is not what it should
    be; owns: from here on the connection is one client's; drops: it is closed behind the answer;
    goes_on: another one is on its way already, whose answer a second one to this would pass for."""

    __slots__ = ("token", "size", "answer", "is_safe", "wrong", "owns", "drops", "goes_on")

    def __init__(self, token, size, answer, is_safe=False, wrong=None, owns=False, drops=False):
        self.token, self.size, self.answer = token, size, answer
        self.is_safe, self.wrong, self.owns, self.drops = is_safe, wrong, owns, drops
        self.goes_on = False


def bare(head):
    """A head without what each hop says for itself."""
    return b"\r\n".join(line for line in head.split(b"\r\n")
                        if not line[:11].lower() == b"connection:")


class Checker:
    """Holds what comes against what must come, in order."""

    def __init__(self):
        self.parts = collections.deque()  # (is_head, bytes) and, behind each unit, None
        self.at = 0                       # of the first part
        self.head = b""                   # what there is of a head
        self.asked = self.answered = 0

    def expect(self, unit):
        self.parts.extend((part[0], part[1]) for part in unit.answer if part[1])
        self.parts.append(None)
        self.asked += 1
        self._settle()

    def _settle(self):
        while self.parts and self.parts[0] is None:
            self.parts.popleft()
            self.answered += 1

    def done(self):
        return not self.parts

    def feed(self, data):
        while data:
            if not self.parts:
                raise Wrong(f"{bytes(data[:200])!r} that nothing was asked for")
            is_head, expected = self.parts[0]
            data = self._feed_head(data, expected) if is_head else self._feed_body(data, expected)
            self._settle()

    def _feed_body(self, data, expected):
        n = min(len(data), len(expected) - self.at)
        if data[:n] != expected[self.at:self.at + n]:
            raise Wrong(show(data[:n], expected[self.at:self.at + n]))
        self.at += n
        if self.at == len(expected):
            self.parts.popleft()
            self.at = 0
        return data[n:]

    def _feed_head(self, data, expected):
        before = len(self.head)
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            if TOKEN.findall(self.head) not in ([], TOKEN.findall(expected)[:1]):
                raise Wrong(show(self.head, expected))
            return b""
        head = self.head[:end + 4]
        if bare(head) != expected:
            raise Wrong(show(bare(head), expected))
        self.head = b""
        self.parts.popleft()
        return data[end + 4 - before:]


class Wire:
    """name: of the framing. Subclasses say unit() and, unless requests are unit()'s bytes, take().

    reads: only what may be sent twice. largest: no message is longer.
    """

    name = ""
    largest = 300_000
    ends_patience = False  # whether a client that has ended is soon taken for gone

    def __init__(self, seed, reads=False):
        self.seed, self.reads = seed, reads

    def options(self):
        """Options of a reuse section."""
        return {"framing": self.name}

    def chance(self, *what):
        """Random numbers that are the same wherever the same is asked for."""
        return random.Random(zlib.crc32(repr((self.seed, *what)).encode()))

    def size(self, rng):
        n = rng.choice((100, 100, 100, 100, 100, 3000, 3000, 20_000))
        n = self.largest if rng.random() < 0.01 else n
        return rng.randrange(1, min(n, self.largest))

    def opening(self, client):
        """What a client begins with, or None."""

    def parting(self):
        """What a client may end with, or None."""

    def unit(self, client, seq):
        raise NotImplementedError

    def is_safe(self, client, seq):
        """Whether that request may come twice."""
        return False

    def find(self, conn):
        """The token of the first request in conn.buffer, as (client, seq), or None."""
        found = TOKEN.search(conn.buffer, 0, FIND_BYTES)
        if found:
            return int(found[1]), int(found[2])
        if len(conn.buffer) > FIND_BYTES:
            raise Wrong(f"no token in {bytes(conn.buffer[:200])!r}")
        return None

    def take(self, conn):
        """The first request in conn.buffer; None: it is not whole. Wrong: it is none."""
        who = self.find(conn)
        if who is None:
            return None
        unit = self.known(conn, who)
        size = len(unit.request)
        if len(conn.buffer) < size:
            return None
        got = bytes(conn.buffer[:size])
        return Item(b"c%dr%ds" % who, size, b"".join(part[1] for part in unit.answer),
                    self.is_safe(*who), None if got == unit.request else show(got, unit.request))

    def known(self, conn, who):
        """unit(), made once."""
        if conn.unit is None or conn.unit[0] != who:
            conn.unit = who, self.unit(*who)
        return conn.unit[1]

    def early(self, conn):
        """An Item for a request that has only begun, or None."""
        who = self.find(conn)
        if who is None:
            return None
        unit = self.known(conn, who)
        return Item(b"c%dr%ds" % who, len(unit.request), b"".join(p[1] for p in unit.answer),
                    self.is_safe(*who))


class Line(Wire):
    name = "line"

    def unit(self, client, seq):
        rng = self.chance(client, seq)
        token = b"c%dr%ds" % (client, seq)
        asks, gets = text(token, self.size(rng)), text(token, self.size(rng))
        return Unit(b"%b %b\n" % (token, asks),
                    b"%b %d %08x %b\n" % (token, len(gets), zlib.crc32(gets), gets))


class Length(Wire):
    name = "length"

    def __init__(self, seed, reads=False):
        super().__init__(seed, reads)
        rng = self.chance("length")
        self.bytes, self.order = rng.choice((2, 4, 8)), rng.choice(("big", "little"))
        self.whole = rng.random() < 0.5
        self.largest = 60_000 if self.bytes == 2 else self.largest

    def options(self):
        return {"framing": self.name, "length_bytes": self.bytes, "length_endian": self.order,
                "length_includes_header": self.whole}

    def message(self, data):
        size = len(data) + (self.bytes if self.whole else 0)
        return size.to_bytes(self.bytes, self.order) + data

    def unit(self, client, seq):
        rng = self.chance(client, seq)
        token = b"c%dr%ds" % (client, seq)
        asks, gets = text(token, self.size(rng)), text(token, self.size(rng))
        return Unit(self.message(token + asks),
                    self.message(b"%b %d %08x %b" % (token, len(gets), zlib.crc32(gets), gets)))


class Memcached(Wire):
    name = "memcached"
    reading = ("get", "get", "get", "gets", "mg", "miss")
    writing = ("set", "set", "ms", "noreply", "incr", "delete", "refused", "error")

    def parting(self):
        return Unit(b"quit\r\n", b"", True)

    def kind(self, rng):
        return rng.choice(self.reading if self.reads else self.reading + self.writing)

    def is_safe(self, client, seq):
        return self.kind(self.chance(client, seq)) in self.reading + ("refused", "error")

    def unit(self, client, seq):
        rng = self.chance(client, seq)
        kind = self.kind(rng)
        key = b"c%dr%ds" % (client, seq)
        data = text(key, self.size(rng))
        n = len(data)
        store = b"set %b 0 0 %d%b\r\n%b\r\n"
        return Unit(*{
            "get": (b"get %b\r\n" % key, b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, n, data)),
            "gets": (b"gets %b:1 %b:2 x\r\n" % (key, key),
                     b"VALUE %b:1 7 %d 99\r\n%b\r\nVALUE %b:2 0 2 98\r\n\r\n\r\nEND\r\n"
                     % (key, n, data, key)),
            "mg": (b"mg %b v O%b\r\n" % (key, key), b"VA %d O%b\r\n%b\r\n" % (n, key, data)),
            "miss": (b"get %b\r\n" % key, b"END\r\n"),
            "set": (store % (key, n, b"", data), b"STORED\r\n"),
            "noreply": (store % (key, n, b" noreply", data), b""),
            "ms": (b"ms %b %d O%b\r\n%b\r\n" % (key, n, key, data), b"HD O%b\r\n" % key),
            "incr": (b"incr %b 5\r\n" % key, b"%d\r\n" % (client * 1000 + seq)),
            "delete": (b"delete %b\r\n" % key, b"DELETED\r\n"),
            "refused": (b"get %b\r\n" % key, b"CLIENT_ERROR %b\r\n" % key),
            "error": (b"get %b\r\n" % key, b"SERVER_ERROR %b\r\n" % key),
        }[kind])

    def take(self, conn):
        if conn.buffer.startswith(b"version\r\n"):  # Sluice's own, behind a noreply
            return Item(b"", 9, b"VERSION 1.6\r\n", True)
        if conn.buffer.startswith(b"quit\r\n"):
            return Item(b"", 6, b"", True, drops=True)
        item = super().take(conn)
        if item is not None:
            item.goes_on = b" noreply\r\n" in conn.buffer[:item.size]
        return item

    def early(self, conn):
        return None if b"version\r\n".startswith(conn.buffer[:9]) else super().early(conn)


class Http1(Wire):
    name = "http1"
    reading = ("GET", "GET", "GET", "GET", "HEAD", "OPTIONS")
    writing = ("POST", "POST", "PUT")
    answers = ("counted",) * 6 + ("chunked",) * 3 + ("trailer", "204", "304", "open")

    def method(self, rng):
        return rng.choice(self.reading if self.reads else self.reading + self.writing)

    def is_safe(self, client, seq):
        return self.method(self.chance(client, seq)) in self.reading

    def chunks(self, rng, data):
        """data as chunks, with the last one of none, but without the empty line at the end."""
        out = b""
        while data:
            n = rng.randrange(1, len(data) + 1) if rng.random() < 0.7 else len(data)
            more = rng.choice((b"", b"", b";name=value"))
            out += b"%x%b\r\n%b\r\n" % (n, more, data[:n])
            data = data[n:]
        return out + b"0\r\n"

    def ask(self, rng, token, method):
        """Lines of a request without Connection, and its body."""
        lines = [b"%b /%b HTTP/1.1" % (method.encode(), token), b"Host: torture"]
        if rng.random() < 0.3:
            lines.append(b"X-Pad: " + text(token, rng.choice((10, 500, 3000, 20_000))))
        body = b""
        if method in self.writing:
            body = text(token, self.size(rng)) if rng.random() < 0.8 else b""
            if body and rng.random() < 0.3:
                lines.append(b"Transfer-Encoding: chunked")
                body = self.chunks(rng, body) + b"\r\n"
            else:
                lines.append(b"Content-Length: %d" % len(body))
            if rng.random() < 0.2:
                lines.append(b"Expect: 100-continue")
        elif rng.random() < 0.03 and not self.reads:
            lines.append(b"Authorization: NTLM abc")
        return lines, body

    def tell(self, rng, token, method, is_1_0):
        """Lines of an answer without Connection, its body, and whether only its end ends it."""
        kind = "counted" if is_1_0 else rng.choice(self.answers)
        data = text(token, self.size(rng))
        if kind in ("204", "304"):
            return [b"HTTP/1.1 %b Nothing" % kind.encode(), b"X-Token: " + token], b"", False
        lines = [b"HTTP/1.1 200 OK", b"X-Token: " + token]
        body, is_open = data, False
        if kind == "counted":
            lines.append(b"Content-Length: %d" % len(data))
        elif kind == "open":
            is_open = method != "HEAD"
        else:
            lines.append(b"Transfer-Encoding: chunked")
            trailer = b"X-Trailer: %b\r\n" % token if kind == "trailer" else b""
            body = self.chunks(rng, data) + trailer + b"\r\n"
        return lines, b"" if method == "HEAD" else body, is_open

    def make(self, client, seq):
        """(request with Connection, its bare head, its body, its answer's parts, whether it is the
        client's last, whether the backend closes, is there authentication)."""
        rng = self.chance(client, seq)
        method = self.method(rng)
        token = b"c%dr%ds" % (client, seq)
        lines, body = self.ask(rng, token, method)
        wish = rng.choice((None,) * 10 + (b"keep-alive", b"Keep-Alive", b"close"))
        is_1_0 = rng.random() < 0.06 and method not in self.writing
        if is_1_0:
            lines[0] = lines[0][:-1] + b"0"
        asked = list(lines)
        if wish:
            asked.insert(rng.randrange(1, len(lines) + 1), b"Connection: " + wish)
        told, content, is_open = self.tell(rng, token, method, is_1_0)
        parts = []
        if b"Expect: 100-continue" in lines:
            parts.append((True, b"HTTP/1.1 100 Continue\r\n\r\n"))
        if rng.random() < 0.05 and not is_1_0:
            parts.append((True, b"HTTP/1.1 103 Early Hints\r\nX-Token: %b\r\n\r\n" % token))
        parts += [(True, b"\r\n".join(told) + b"\r\n\r\n"), (False, content)]
        drops = is_open or rng.random() < 0.05
        is_last = is_open or wish == b"close" or (is_1_0 and wish is None)
        return (b"\r\n".join(asked) + b"\r\n\r\n" + body, b"\r\n".join(lines) + b"\r\n\r\n", body,
                parts, is_last, drops, b"Authorization: NTLM abc" in lines)

    def unit(self, client, seq):
        request, _, _, parts, is_last, _, _ = self.make(client, seq)
        return Unit(request, parts, is_last)

    def known(self, conn, who):
        if conn.unit is None or conn.unit[0] != who:
            conn.unit = who, self.make(*who)
        return conn.unit[1]

    def item(self, who, made, size, wrong):
        _, _, _, parts, _, drops, owns = made
        answer = b""
        for nth, (is_head, part) in enumerate(parts):
            is_final = is_head and nth == len(parts) - 2
            answer += part[:-2] + b"Connection: close\r\n\r\n" if drops and is_final else part
        return Item(b"c%dr%ds" % who, size, answer, self.is_safe(*who), wrong, owns, drops)

    def take(self, conn):
        end = conn.buffer.find(b"\r\n\r\n")
        who = self.find(conn)
        if end < 0 or who is None:
            return None
        made = self.known(conn, who)
        _, head, body, _, _, _, _ = made
        size = end + 4 + len(body)
        if len(conn.buffer) < size:
            return None
        got = bare(bytes(conn.buffer[:end + 4])) + bytes(conn.buffer[end + 4:size])
        return self.item(who, made, size, None if got == head + body else show(got, head + body))

    def early(self, conn):
        who = self.find(conn)
        if who is None or b"\r\n\r\n" not in conn.buffer:
            return None
        return self.item(who, self.known(conn, who), NEVER, None)


class Resp(Wire):
    """Commands one by one: a transaction is several. Answers say which database they came from."""

    name = "resp"
    reading = ("GET",) * 6 + ("LRANGE", "NULL", "ERROR", "INLINE")
    writing = ("SET", "SET", "INCR", "BLPOP", "MULTI", "MULTI", "DISCARD", "WATCH", "PUSH",
               "SUBSCRIBE")
    ends_patience = True

    def options(self):
        return {"framing": "resp", "handshake": "key"}

    def command(self, *args):
        return b"*%d\r\n" % len(args) + b"".join(self.bulk(arg) for arg in args)

    def bulk(self, data):
        return b"$%d\r\n%b\r\n" % (len(data), data)

    def database(self, client):
        return client % 3

    def opening(self, client):
        n = self.database(client)
        if n == 0:
            return None
        name = self.command(b"CLIENT", b"SETNAME", b"two") if n == 2 else b""
        return Unit(name + self.command(b"SELECT", b"%d" % n), b"+OK\r\n" * n)

    def parting(self):
        return Unit(self.command(b"QUIT"), b"+OK\r\n", True)

    def kind(self, client, seq):
        return self.chance(client, seq, "kind").choice(
            self.reading if self.reads else self.reading + self.writing)

    def unit(self, client, seq):
        kind, n = self.kind(client, seq), self.database(client)
        key = b"c%dr%ds" % (client, seq)
        a, b = (key + b":1", key + b":2")
        if kind == "INLINE":
            return Unit(b"GET %b\r\n" % key, self.reply([b"GET", key], n)[0])
        if kind in ("MULTI", "DISCARD"):
            inner = [[b"SET", a, text(a, 50)], [b"GET", b]]
            commands = [[b"MULTI"], *inner, [b"EXEC" if kind == "MULTI" else b"DISCARD"]]
            last = (b"*2\r\n" + b"".join(self.reply(args, n)[0] for args in inner)
                    if kind == "MULTI" else b"+OK\r\n")
            answer = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n" + last
        elif kind == "WATCH":
            commands = [[b"WATCH", a], [b"GET", b], [b"UNWATCH"]]
            answer = b"+OK\r\n" + self.reply([b"GET", b], n)[0] + b"+OK\r\n"
        else:
            commands = [{
                "SET": [b"SET", key, text(key, self.size(self.chance(client, seq)))],
                "INCR": [b"INCR", key], "LRANGE": [b"LRANGE", key, b"0", b"-1"],
                "BLPOP": [b"BLPOP", key, b"0"], "SUBSCRIBE": [b"SUBSCRIBE", key],
            }.get(kind, [b"GET", key])]
            answer = self.reply(commands[0], n)[0]
        return Unit(b"".join(self.command(*args) for args in commands), answer)

    def reply(self, args, n):
        """What a command is answered, and whether it takes its connection for good."""
        name, key = args[0], args[1]
        client, seq = map(int, TOKEN.match(key).groups())
        kind = self.kind(client, seq)
        data = b"db%d " % n + text(key, self.size(self.chance(client, seq, "answer")))
        if name == b"SET":
            return b"+%b db%d\r\n" % (key, n), False
        if name == b"INCR":
            return b":%d\r\n" % (client * 1000 + seq), False
        if name == b"LRANGE":
            return (b"*4\r\n%b*3\r\n:1\r\n*-1\r\n*0\r\n*1\r\n%b$0\r\n\r\n"
                    % (self.bulk(key), self.bulk(data)), False)
        if name == b"BLPOP":
            return b"*2\r\n" + self.bulk(key) + self.bulk(data), False
        if name == b"SUBSCRIBE":
            return b"*3\r\n$9\r\nsubscribe\r\n%b:1\r\n" % self.bulk(key), True
        if kind == "NULL":
            return b"$-1\r\n", False
        if kind == "ERROR":
            return b"-ERR %b db%d\r\n" % (key, n), False
        if kind == "PUSH":
            return b">2\r\n$7\r\nmessage\r\n%b%b" % (self.bulk(key), self.bulk(data)), True
        return self.bulk(data), False

    def parse(self, buffer):
        """(arguments, bytes) of the first command, or None."""
        if not buffer.startswith(b"*"):
            end = buffer.find(b"\r\n")
            return (bytes(buffer[:end]).split(), end + 2) if end >= 0 else None
        args, at = [], buffer.find(b"\r\n") + 2
        if at == 1:
            return None
        for _ in range(int(buffer[1:at - 2])):
            end = buffer.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(buffer[at + 1:end])
            if buffer[at:at + 1] != b"$" or len(buffer) < end + size + 4:
                return None
            args.append(bytes(buffer[end + 2:end + 2 + size]))
            at = end + size + 4
            if buffer[at - 2:at] != b"\r\n":  # a RESET has come into a cut one
                raise ValueError
        return args, at

    def take(self, conn):
        try:
            parsed = self.parse(conn.buffer)
        except ValueError:
            raise Wrong(f"no command: {bytes(conn.buffer[:200])!r}") from None
        if parsed is None:
            return None
        args, size = parsed
        if args[0] in (b"GET", b"SET", b"INCR", b"LRANGE", b"BLPOP", b"SUBSCRIBE"):
            return self.take_data(conn, args, size)
        item = Item(b"", size, b"+OK\r\n", True)
        item.goes_on = args[0] in (b"CLIENT", b"SELECT")  # are repeated in one go
        if args[0] == b"SELECT":
            conn.database = int(args[1])
        elif args[0] == b"MULTI":
            item.wrong = "MULTI in MULTI" if conn.queue is not None else None
            conn.queue = []
        elif args[0] in (b"EXEC", b"DISCARD"):
            if conn.queue is None:
                item.wrong = "EXEC without MULTI"
            elif args[0] == b"EXEC":
                item.answer = b"*%d\r\n" % len(conn.queue) + b"".join(conn.queue)
            conn.queue = None
        elif args[0] == b"QUIT":
            item.drops = True
        elif args[0] not in (b"WATCH", b"UNWATCH", b"CLIENT"):
            raise Wrong(f"unknown: {bytes(conn.buffer[:200])!r}")
        return item

    def take_data(self, conn, args, size):
        found = TOKEN.match(args[1]) if len(args) > 1 else None
        if not found:
            raise Wrong(f"no token: {bytes(conn.buffer[:200])!r}")
        client, seq = int(found[1]), int(found[2])
        answer, owns = self.reply(args, conn.database)
        wrong = None
        if conn.database != self.database(client):
            wrong = f"{args[1]} asks in database {conn.database}"
        if args[0] == b"SET" and args[2] != text(args[1], len(args[2])):
            wrong = show(args[2], text(args[1], len(args[2])))
        is_inner = self.kind(client, seq) in ("MULTI", "DISCARD")
        if (conn.queue is not None) != is_inner:
            wrong = f"{args[1]} is {'not ' * is_inner}in a transaction"
        if conn.queue is not None:
            conn.queue.append(answer)
            answer = b"+QUEUED\r\n"
        is_safe = args[0] in (b"GET", b"LRANGE") and not is_inner
        return Item(args[1], size, answer, is_safe, wrong, owns)

    def early(self, conn):
        """A SET that is still being sent."""
        found = re.match(rb"\*3\r\n\$3\r\nSET\r\n\$\d+\r\n(c\d+r\d+s)\r\n", conn.buffer)
        if not found:
            return None
        return Item(found[1], NEVER, self.reply([b"SET", found[1]], conn.database)[0])


class RespReset(Resp):
    """Bytes pass unread, and a reset stands between two clients."""

    ends_patience = False
    RESET = re.compile(rb"RESET\r\nPING ([0-9a-f]{16})\r\n")
    RESET_BYTES = 30

    def __init__(self, seed, reads=False):
        super().__init__(seed, reads)
        self.writing = tuple(kind for kind in self.writing if kind not in ("PUSH", "SUBSCRIBE"))

    def options(self):
        return {"reset_send": "RESET\\r\\nPING {nonce}\\r\\n",
                "reset_expect": "+RESET\\r\\n$16\\r\\n{nonce}\\r\\n"}

    def take(self, conn):
        if conn.buffer.startswith(b"R"):  # no command does
            return self.take_reset(conn)
        try:
            item = super().take(conn)
        except Wrong:
            if b"RESET" not in conn.buffer:
                if any(conn.buffer.endswith(b"RESET"[:n]) for n in range(1, 5)):
                    return None
                raise
            return self.joined(len(conn.buffer))
        if item is None:
            return None
        conn.is_reset = False
        return self.joined(item.size) if b"RESET" in conn.buffer[:item.size] else item

    def joined(self, size):
        """Of a client that ended in the midst of a request, and the reset behind it, one was made:
        nobody must get an answer to that."""
        return Item(b"", size, b"", drops=True)

    def take_reset(self, conn):
        if len(conn.buffer) < self.RESET_BYTES:
            return None
        found = self.RESET.match(conn.buffer)
        if not found:
            raise Wrong(f"no reset: {bytes(conn.buffer[:200])!r}")
        conn.database, conn.queue, conn.is_reset = 0, None, True
        return Item(b"", self.RESET_BYTES, b"+RESET\r\n" + self.bulk(found[1]), True)


WIRES = {"http1": Http1, "resp": Resp, "memcached": Memcached, "line": Line, "length": Length,
         "reset": RespReset}
