"""A process of the torture: torture_peers.py client|backend SETTINGS, told what to do by lines of
JSON on its standard input, each answered by one on its standard output.

Clients hold what they get against what they must get. Backends hold what they are sent against what
they must be sent, and misbehave in the ways of DEEDS, chosen by the request's token.
"""

import asyncio
import collections
import contextlib
import json
import os
import re
import resource
import socket
import struct
import sys

from torture_wires import WIRES, Checker, Wrong

RESET = struct.pack("ii", 1, 0)
LIFE_SECONDS = 40
LAST_WORDS_SECONDS = 5
TWICE_BYTES = 8192   # for sure one segment
SHOWN = 20           # of each kind of complaint
CLIENT = re.compile(rb"c(\d+)r")


def drop(transport):
    """Ends a connection at once, unless that is closed: asyncio cannot abort it any more then."""
    if transport.get_extra_info("socket").fileno() >= 0:
        transport.abort()


def abort(transport):
    """Ends a connection by a reset."""
    sock = transport.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    drop(transport)


def write(transport, data):
    """Writes, unless the connection is closed: asyncio fails where the last bytes were still to be
    sent when it came to that."""
    if not transport.is_closing():
        transport.write(data)


# --- backends ---

CALM = {"answer": 12, "late": 4, "pieces": 4}
CHAOS = {"answer": 30, "late": 12, "pieces": 12, "cut": 6, "leave": 8, "reset": 4, "end": 4,
         "early": 10, "twice": 14}


class Backend:
    """chaos: by which deeds; closes: how often an idle connection is closed within IDLE_SECONDS."""

    IDLE_SECONDS = 0.02

    def __init__(self, settings):
        self.settings = settings
        self.wire = WIRES[settings["wire"]](settings["seed"], settings["reads"])
        self.deeds, self.closes = CALM, 0
        self.conns, self.numbers = set(), 0
        self.counts = collections.Counter()
        self.seen = collections.Counter()    # unsafe tokens
        self.safe = collections.Counter()    # safe ones
        self.wrong = []
        self.strayed = 0                     # connections with stray bytes that are still open
        self.window = None                   # seconds in which there is a second answer
        self.nagle = False                   # whether it waits for the first one to be acknowledged

    async def serve(self):
        server = await asyncio.get_running_loop().create_server(
            lambda: Conn(self), "127.0.0.1", 0, backlog=4096)
        self.address = "%s:%d" % server.sockets[0].getsockname()
        return {"address": self.address}

    async def obey(self, order):
        if order["do"] == "behave":
            self.deeds = CHAOS if order["chaos"] else CALM
            if self.settings["wire"] == "reset":  # nobody looks at what is passed on
                self.deeds = {deed: n for deed, n in self.deeds.items() if deed != "twice"}
            self.closes = order["closes"]
            self.window = order.get("window")
            self.nagle = order.get("nagle", False)
        elif order["do"] == "stray":
            said = [conn.stray() for conn in list(self.conns)].count(True)
            for _ in range(LAST_WORDS_SECONDS * 100):
                if not self.strayed:
                    break
                await asyncio.sleep(0.01)
            return {"left": self.strayed, "said": said}
        elif order["do"] == "report":
            return {"open": len(self.conns), "counts": self.counts, "wrong": self.wrong[:SHOWN],
                    "n_wrong": len(self.wrong), "unsafe": list(self.seen.elements()),
                    "often": {t: n for t, n in self.safe.items() if n > 2}}
        return {}


class Conn(asyncio.Protocol):
    """One connection that Sluice has opened. unit, database, queue, is_reset: for the wire."""

    def __init__(self, backend):
        self.backend, self.wire = backend, backend.wire
        self.buffer = bytearray()
        self.unit, self.database, self.queue, self.is_reset = None, 0, None, True
        self.bound = None        # the client whose own it is from now on
        self.busy = self.over = self.ended = self.is_strayed = False
        self.early = None        # token that was answered before it was whole
        self.last = b""          # answer
        self.served = 0
        backend.numbers += 1
        self.number = backend.numbers

    def connection_made(self, transport):
        self.transport = transport
        if self.backend.nagle:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        self.backend.conns.add(self)
        self.backend.counts["connections"] += 1

    def connection_lost(self, error):
        self.over = True
        self.backend.conns.discard(self)
        self.backend.strayed -= self.is_strayed

    def eof_received(self):
        self.ended = True
        self.work()
        return True  # what was asked for is still answered

    def data_received(self, data):
        self.buffer += data
        self.work()

    def complain(self, what):
        self.backend.wrong.append(f"connection {self.number} after {self.served}: {what}")
        abort(self.transport)
        self.over = True

    def work(self):
        try:
            while self.buffer and not self.busy and not self.over:
                item = self.wire.take(self)
                if item is None:
                    self.begin_early()
                    break
                del self.buffer[:item.size]
                self.unit = None
                self.check(item)
                if not self.over:
                    self.do(item)
        except Wrong as wrong:
            self.complain(wrong)
        if self.ended and not self.busy and not self.over:
            self.close()

    def check(self, item):
        if item.wrong:
            self.complain(item.wrong)
        elif item.token:
            client = int(CLIENT.match(item.token)[1])
            if self.bound not in (None, client):
                self.complain(f"{item.token} on the connection that client {self.bound} owns")
            self.bound = client if item.owns else self.bound
            if item.token != self.early:
                self.note(item)

    def note(self, item):
        seen = self.backend.safe if item.is_safe else self.backend.seen
        seen[item.token.decode()] += 1

    def deed(self, item, deeds):
        nth = self.backend.seen[item.token.decode()] + self.backend.safe[item.token.decode()]
        what = (item.token, nth) if item.token else (self.number, self.served)
        rng = self.wire.chance("deed", self.backend.settings["number"], *what)
        return rng, rng.choices(list(deeds), list(deeds.values()))[0]

    def begin_early(self):
        """Answers what has not all come yet, perhaps."""
        if self.early or "early" not in self.backend.deeds:
            return
        item = self.wire.early(self)
        if item is None:
            return
        rng, deed = self.deed(item, self.backend.deeds)
        if deed != "early":
            return
        self.early = item.token
        self.note(item)
        self.backend.counts["early"] += 1
        self.say(item.answer)
        if rng.random() < 0.3:
            self.close()

    def do(self, item):
        self.served += 1
        if item.token and item.token == self.early:  # the rest of it
            self.early = None
            self.rest(item)
            return
        rng, deed = self.deed(item, self.backend.deeds)
        # What a client has for its own it may be told things on, and what is closed ends by that.
        is_own = item.drops or item.goes_on or self.bound is not None
        if deed == "early" or (deed == "twice" and is_own):
            deed = "answer"
        self.backend.counts[deed] += 1
        self.busy = True
        getattr(self, f"do_{deed}")(item, rng)

    def say(self, data):
        write(self.transport, data)

    def later(self, seconds, function, *args):
        asyncio.get_running_loop().call_later(
            seconds, lambda: None if self.transport.is_closing() else function(*args))

    def close(self):
        self.over = True
        self.transport.close()

    def rest(self, item):
        """The request has been answered."""
        self.busy = False
        self.last = item.answer or self.last
        if item.drops:
            self.close()
            return
        if self.backend.closes and item.token:
            rng = self.wire.chance("idle", self.number, self.served)
            if rng.random() < self.backend.closes:
                self.later(rng.random() * self.backend.IDLE_SECONDS, self.close_idle, self.served)
        if self.backend.window is not None:
            self.later(self.backend.window * self.wire.chance(self.number, self.served).random(),
                       self.stray_late, item)
        self.work()

    def close_idle(self, served):
        if not self.busy and not self.buffer and self.served == served:
            self.backend.counts["closed idle"] += 1
            self.close()

    def stray_late(self, item):
        """Answers a second time, whoever has the connection by now (nobody can know)."""
        self.backend.counts["late stray"] += 1
        self.say(item.answer)

    # --- deeds ---

    def do_answer(self, item, _rng):
        self.say(item.answer)
        self.rest(item)

    def do_late(self, item, rng):
        self.later(rng.random() * 0.015, self.do_answer, item, rng)

    def do_pieces(self, item, rng):
        self.say_pieces(item.answer, rng, lambda: self.rest(item))

    def say_pieces(self, data, rng, then):
        n = rng.randrange(1, min(len(data), 4000) + 1) if len(data) > 1 else 1
        self.say(data[:n])
        if len(data) <= n:
            then()
        elif rng.random() < 0.2:
            self.later(0, self.say_all, data[n:], then)
        else:
            self.later(rng.random() * 0.004, self.say_pieces, data[n:], rng, then)

    def say_all(self, data, then):
        self.say(data)
        then()

    def do_cut(self, item, rng):
        """A reset in the midst of an answer."""
        self.say(item.answer[:rng.randrange(len(item.answer) + 1)])
        self.later(rng.random() * 0.003, abort, self.transport)

    def do_leave(self, item, rng):
        """An answer, and an end at once or a little later."""
        self.say(item.answer)
        self.last = item.answer
        if rng.random() < 0.5:
            self.close()
        else:
            self.rest(item)
            self.later(rng.random() * 0.005, self.close_idle, self.served)

    def do_reset(self, _item, _rng):
        abort(self.transport)
        self.over = True

    def do_end(self, _item, _rng):
        self.close()

    def do_twice(self, item, rng):
        """Somebody else's answer behind the right one, in the same segment."""
        stray = self.last if self.last and rng.random() < 0.8 else item.answer
        if not stray or len(item.answer) + len(stray) > TWICE_BYTES:
            self.do_answer(item, rng)
            return
        self.backend.counts["stray"] += 1
        self.say(item.answer + stray)
        self.rest(item)

    # --- between two rounds ---

    def stray(self):
        """Nobody has asked for anything: says something, ends, or does nothing. Whether it said
        something."""
        if self.busy or self.over or self.buffer or not self.last or not self.is_reset:
            return False
        rng = self.wire.chance("stray", self.number, self.served)
        deed = rng.choice(("say", "say", "byte", "close", "reset", "nothing"))
        self.backend.counts[f"idle {deed}"] += 1
        if deed == "nothing":
            return False
        self.is_strayed = True
        self.backend.strayed += 1
        if deed == "close":
            self.close()
        elif deed == "reset":
            abort(self.transport)
        else:
            self.say(self.last[:1] if deed == "byte" else self.last)
        return deed in ("say", "byte")


# --- clients ---

class Life(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, number):
        self.number = number
        self.checker = Checker()
        self.over = self.ended = False  # ended: orderly
        self.wrong = None
        self.is_foreign = False         # what is wrong was another client's
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        try:
            if self.wrong is None:
                self.checker.feed(data)
        except Wrong as wrong:
            self.wrong = str(wrong)
            self.is_foreign = any(int(client) != self.number for client in CLIENT.findall(data))
            self.over = True
            drop(self.transport)
        self.changed.set()

    def eof_received(self):
        self.over = self.ended = True
        self.changed.set()
        return False

    def connection_lost(self, error):
        self.over = True
        self.changed.set()

    async def until(self, condition):
        """Waits for it, or for the end."""
        while not self.over and not condition():
            self.changed.clear()
            await self.changed.wait()
        return not self.over


class Clients:
    """Lives many lives at a time, each by one of MANNERS; abrupt: also those that break off."""

    MANNERS = {"finish": 40, "half_close": 16, "part": 8, "slow": 6}
    ABRUPT = {"reset": 12, "cut": 10, "leave": 8}
    ENDING = ("half_close", "cut")

    def __init__(self, settings):
        self.settings = settings
        self.wire = WIRES[settings["wire"]](settings["seed"], settings["reads"])
        self.host, port = settings["target"].rsplit(":", 1)
        self.port = int(port)
        self.next = settings["number"]

    async def obey(self, order):
        self.counts = collections.Counter()
        self.wrong, self.unfinished = [], []
        loop = asyncio.get_running_loop()
        self.until = loop.time() + order["seconds"]
        self.lives_left = order.get("lives", 1 << 60)
        self.manners = {**self.MANNERS, **(self.ABRUPT if order["abrupt"] else {})}
        await asyncio.gather(*(self.one_after_another() for _ in range(order["at_once"])))
        return {"counts": self.counts, "wrong": self.wrong[:SHOWN], "n_wrong": len(self.wrong),
                "unfinished": self.unfinished[:SHOWN], "n_unfinished": len(self.unfinished)}

    async def one_after_another(self):
        while asyncio.get_running_loop().time() < self.until and self.lives_left > 0:
            self.lives_left -= 1
            number, self.next = self.next, self.next + self.settings["of"]
            await self.live(number)

    def plan(self, number, rng):
        """Everything that a client is to ask for."""
        units = [unit] if (unit := self.wire.opening(number)) else []
        count = rng.choice((1, 1, 1, 2, 3, 5, 8, 13))
        for seq in range(count):
            units.append(self.wire.unit(number, seq))
            if units[-1].is_last:
                break
        return units

    async def live(self, number):
        rng = self.wire.chance("life", number)
        units = self.plan(number, rng)
        manner = rng.choices(list(self.manners), list(self.manners.values()))[0]
        life = Life(number)
        try:
            await self.connect(life, rng)
            async with asyncio.timeout(LIFE_SECONDS):
                result = await getattr(self, manner)(life, units, rng)
        except TimeoutError:
            result = "hung"
        except OSError:  # the other side was faster
            result = "unfinished"
        finally:
            if hasattr(life, "transport"):
                drop(life.transport)
        self.judge(life, number, manner, result, len(units))

    async def connect(self, life, rng):
        sock = socket.socket()
        sock.setblocking(False)
        if rng.random() < 0.05:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        await loop.create_connection(lambda: life, sock=sock)

    def judge(self, life, number, manner, result, count):
        who = f"client {number} ({manner}, {life.checker.answered} of {count} answered)"
        self.counts["lives"] += 1
        self.counts["answers"] += life.checker.answered
        self.counts[f"{manner}: {result}"] += 1
        self.counts["got another's"] += life.is_foreign
        if life.wrong:
            self.wrong.append(f"{who}: {life.wrong}")
        elif result == "hung":
            self.wrong.append(f"{who}: {result}")
        elif result == "unfinished" and not (manner in self.ENDING and self.wire.ends_patience):
            self.unfinished.append(who)

    # --- manners: "done", "unfinished" where the other side ended it, or "broken off" ---

    async def ask(self, life, units, rng, limit=1 << 60):
        """Sends them, a few ahead of their answers, and at most so many bytes. Whether all went."""
        depth = rng.choice((1, 1, 1, 2, 4, 16))
        idles = rng.random() < 0.3
        for unit in units:
            checker = life.checker
            if not await life.until(lambda: checker.asked - checker.answered < depth):
                return False
            if idles and rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.02)
            checker.expect(unit)
            part = unit.request[:limit]
            limit -= len(part)
            if not await self.send(life, part, rng):
                return False
            if limit == 0:
                return True
        return not life.over

    async def send(self, life, data, rng):
        while data and rng.random() < 0.3:
            n = rng.randrange(1, len(data) + 1)
            write(life.transport, data[:n])
            data = data[n:]
            await asyncio.sleep(rng.random() * 0.004)
        if data and not life.over:
            write(life.transport, data)
        return not life.over

    async def answers(self, life):
        await life.until(life.checker.done)
        return "done" if life.checker.done() and not life.wrong else "unfinished"

    async def finish(self, life, units, rng):
        """Asks, gets everything, listens a little for what may come too much, closes."""
        await self.ask(life, units, rng)
        result = await self.answers(life)
        if result == "done" and rng.random() < 0.3:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(life.until(lambda: False), rng.random() * 0.01)
        return result

    async def half_close(self, life, units, rng):
        """Says at once that it has asked for everything."""
        await self.ask(life, units, rng)
        if not life.over and life.transport.can_write_eof():
            life.transport.write_eof()
        result = await self.answers(life)
        await life.until(lambda: False)
        return result if life.ended or result != "done" else "unfinished"

    async def part(self, life, units, rng):
        """Ends in the protocol's own way."""
        unit = self.wire.parting()
        if unit is None or units[-1].is_last:
            return await self.finish(life, units, rng)
        await self.ask(life, [*units, unit], rng)
        result = await self.answers(life)
        await life.until(lambda: False)
        return result

    async def slow(self, life, units, rng):
        """Does not read for a while."""
        life.transport.pause_reading()
        await self.ask(life, units[:1], rng)
        await asyncio.sleep(rng.random() * 0.05)
        if not life.over:
            life.transport.resume_reading()
            await self.ask(life, units[1:], rng)
        return await self.answers(life)

    async def reset(self, life, units, rng):
        """Breaks off at any point."""
        limit = rng.randrange(1, sum(len(unit.request) for unit in units) + 1)
        if await self.ask(life, units, rng, limit):
            await asyncio.sleep(rng.choice((0, 0.001, 0.005)) * rng.random())
        if not life.wrong:
            abort(life.transport)
        return "broken off"

    async def cut(self, life, units, rng):
        """Ends in the midst of the last request."""
        *whole, last = units
        before = len(last.request)
        await self.ask(life, whole, rng)
        n = rng.randrange(1, before) if before > 1 else 1
        life.checker.expect(last)
        if await self.send(life, last.request[:n], rng):
            life.transport.write_eof()
        await life.until(lambda: False)
        return "done" if life.checker.answered >= len(whole) else "unfinished"

    async def leave(self, life, units, rng):
        """Closes without reading the answers."""
        life.transport.pause_reading()
        for unit in units[:4]:
            life.checker.expect(unit)
            if not await self.send(life, unit.request, rng):
                break
        await asyncio.sleep(rng.choice((0, 0.005)) * rng.random())
        life.transport.close()
        return "broken off"


# --- the process ---

async def main():
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    peer = {"client": Clients, "backend": Backend}[kind](settings)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    reply = await peer.serve() if kind == "backend" else {}
    while True:
        print(json.dumps(reply), flush=True)
        line = await lines.readline()
        if not line:
            return
        reply = await peer.obey(json.loads(line))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)
