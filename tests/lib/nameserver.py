"""A name server that does what a test says: answers by name and type, and every bad manner of one.

    with NameServer() as server:
        server.set("b.test", a=["127.0.0.11"], ttl=1)
        server.manner["b.test"] = "servfail"     # or server.manner["b.test", "AAAA"], or "*"

It counts what it was asked in .asked. Messages are made by hand (RFC 1035), so that they may be
wrong.
"""

import collections
import ipaddress
import selectors
import socket
import struct
import threading
import time

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
CODES = {"servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}

Asked = collections.namedtuple("Asked", "time name type transport port id")
Query = collections.namedtuple("Query", "id name type question")


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode()
                    for label in name.rstrip(".").split(".")) + b"\0"


def record(owner, kind, ttl, data):
    return owner + struct.pack(">HHIH", TYPES[kind], 1, ttl, len(data)) + data


def read_query(message):
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    kind = struct.unpack(">H", message[at + 1:at + 3])[0]
    return Query(struct.unpack(">H", message[:2])[0], ".".join(labels).lower(),
                 NAMES.get(kind, str(kind)), message[12:at + 5])


def reply(query, records=(), code=0, flags=0x8180, number=None, question=None, count=None):
    number = query.id if number is None else number
    question = query.question if question is None else question
    return struct.pack(">HHHHHH", number, flags | code, 1,
                       len(records) if count is None else count, 0, 0) + question + b"".join(records)


class NameServer:
    def __init__(self, host="127.0.0.53", port=53):
        self.records = {}  # (name, type) -> [wire data]
        self.ttl = {}
        self.alias = {}
        self.manner = {}
        self.asked = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((host, port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((host, port))
        self.tcp.listen(16)
        self.wake, self.woken = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        for sock in self.udp, self.tcp, self.woken:
            self.selector.register(sock, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake.send(b"x")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.wake.close()
        self.selector.close()

    # --- what it says ---

    def set(self, name, a=(), aaaa=(), srv=(), cname=None, ttl=1):
        """srv: (priority, weight, port, target) each."""
        packed = [ipaddress.ip_address(text).packed for text in (*a, *aaaa)]
        self.records[name, "A"] = [data for data in packed if len(data) == 4]
        self.records[name, "AAAA"] = [data for data in packed if len(data) == 16]
        self.records[name, "SRV"] = [struct.pack(">HHH", *one[:3]) + wire_name(one[3])
                                     for one in srv]
        self.alias[name] = cname
        self.ttl[name] = ttl

    def count(self, name, kind="A"):
        return len(self.times(name, kind))

    def times(self, name, kind="A"):
        return [one.time for one in list(self.asked) if (one.name, one.type) == (name, kind)]

    def _answer(self, query):
        """(records, code) as they are set."""
        owner, name, found = b"\xc0\x0c", query.name, []
        while self.alias.get(name):
            target = self.alias[name]
            found.append(record(owner, "CNAME", self.ttl[name], wire_name(target)))
            owner, name = wire_name(target), target
        if (name, "A") not in self.records:
            return found, 3
        return found + [record(owner, query.type, self.ttl[name], data)
                        for data in self.records.get((name, query.type), [])], 0

    def _manner_of(self, query):
        for key in (query.name, query.type), query.name, "*":
            if key in self.manner:
                return self.manner[key]
        return "good"

    def _replies(self, query, by_tcp):
        """What is sent, in order."""
        manner = self._manner_of(query)
        records, code = self._answer(query)
        good = reply(query, records, code)
        if manner in CODES:
            return [reply(query, code=CODES[manner])]
        if manner == "late":
            time.sleep(0.2)
        other = b"\x01x" + query.question
        loop = [record(b"\xc0\x0c", "CNAME", 1, b"\x01a\0"),
                record(b"\x01a\0", "CNAME", 1, b"\xc0\x0c")]
        foreign = [record(b"\xc0\x0c", "A", 1, bytes([127, 0, 0, 99]))]
        cut = reply(query, records[:1], flags=0x8380)
        return {
            "good": [good],
            "late": [good],
            "drop": [],
            "empty": [reply(query)],
            "wrong_id": [reply(query, records, number=query.id ^ 1)],
            "wrong_question": [reply(query, records, question=other)],
            "spoofed_first": [reply(query, foreign, number=query.id ^ 1),
                              reply(query, question=other), b"x", good],
            "a_question": [reply(query, records, flags=0x0100)],
            "garbage": [good[:12] + bytes(range(64, 192))],
            "head_only": [good[:11]],
            "nothing": [b""],
            "counts_lie": [reply(query, records, count=65535)],
            "pointer_loop": [good[:12 + len(query.question)] +
                             struct.pack(">H", 0xC000 | 12 + len(query.question)) + b"\0" * 20],
            "alias_loop": [reply(query, loop)],
            "short_data": [reply(query, [record(b"\xc0\x0c", query.type, 1, b"\x7f")])],
            "unspecified": [reply(query, [record(b"\xc0\x0c", "A", 1, bytes(4))])],
            "truncated": [good if by_tcp else cut],
            "truncated_always": [cut],
            "truncated_then_closed": [None if by_tcp else cut],
            "truncated_then_silent": [] if by_tcp else [cut],
        }[manner]

    # --- the wire ---

    def _serve(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.woken:
                    return
                if key.fileobj is self.udp:
                    self._serve_udp()
                elif key.fileobj is self.tcp:
                    self.selector.register(self.tcp.accept()[0], selectors.EVENT_READ)
                else:
                    self._serve_tcp(key.fileobj)

    def _note(self, query, transport, peer):
        self.asked.append(Asked(time.monotonic(), query.name, query.type, transport, peer[1],
                                query.id))

    def _serve_udp(self):
        message, peer = self.udp.recvfrom(4096)
        query = read_query(message)
        self._note(query, "udp", peer)
        for each in self._replies(query, False):
            self.udp.sendto(each, peer)

    def _serve_tcp(self, sock):
        try:
            message = sock.recv(4096)  # questions are small, and come in one piece
        except ConnectionError:
            message = b""
        if not message:
            self.selector.unregister(sock)
            sock.close()
            return
        query = read_query(message[2:])
        self._note(query, "tcp", sock.getpeername())
        for each in self._replies(query, True):
            if each is None:
                self.selector.unregister(sock)
                sock.close()
                return
            # In two pieces: whoever reads must put them together.
            sock.sendall(struct.pack(">H", len(each)) + each[:5])
            sock.sendall(each[5:])
