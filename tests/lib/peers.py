"""Peers written in Python, for what no program does on request: streams that are verified by hash,
read slowly at first, or ended halfway."""

import hashlib
import socket
import threading

BLOCK = 1 << 20


class Worker(threading.Thread):
    """A thread whose exception reaches whoever waits for it: result()."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as error:  # handed on
            self.error = error

    def result(self, timeout=300):
        self.join(timeout)
        assert not self.is_alive(), f"{self.function.__name__}: not within {timeout} s"
        if self.error:
            raise self.error
        return self.value


class Server:
    """Listens on a port of the kernel's choice and hands each accepted socket to a function, in a
    thread. A context manager; leaving it closes everything and raises what a function raised."""

    def __init__(self, function, receive_buffer=0):
        self.function = function
        self.listener = socket.socket()
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.address = "%s:%d" % self.listener.getsockname()
        self.sockets, self.workers = [], []
        self.acceptor = Worker(self._accept)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            self.workers.append(Worker(self._serve, sock))

    def _serve(self, sock):
        with sock:
            return self.function(sock)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.acceptor.join()
        self.listener.close()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for worker in self.workers:
            if kind is None:
                worker.result(30)


class Counter:
    """Bytes moved so far, for others to look at."""

    def __init__(self):
        self.bytes = 0


def send_stream(sock, length, counter=None):
    """Sends so many bytes, no two blocks alike, and ends that direction. Returns their hash."""
    counter = counter or Counter()
    block = bytearray(hashlib.shake_256(b"sluice").digest(BLOCK))
    view, digest = memoryview(block), hashlib.sha256()
    while counter.bytes < length:
        block[:8] = counter.bytes.to_bytes(8, "big")
        part = view[:min(BLOCK, length - counter.bytes)]
        digest.update(part)
        sent = 0
        while sent < len(part):
            n = sock.send(part[sent:])
            sent += n
            counter.bytes += n
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive_stream(sock, go_on=None, first=0, counter=None):
    """Reads to the end and returns (length, hash). go_on: an Event; after the first so many bytes
    nothing is read until it is set."""
    counter = counter or Counter()
    view, digest = memoryview(bytearray(BLOCK)), hashlib.sha256()
    while True:
        if go_on and counter.bytes >= first:
            go_on.wait()
            go_on = None
        n = sock.recv_into(view)
        if n == 0:
            return counter.bytes, digest.hexdigest()
        digest.update(view[:n])
        counter.bytes += n
