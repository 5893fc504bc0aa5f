"""What master sends arrives even where descriptors have run out; limits are those in force."""
from sluice import Daemon, Origin, connect, pool, service, wait_for

LIMIT = 121


def echoes(address):
    try:
        with connect(address, timeout=10) as sock:
            sock.sendall(b"ping")
            return sock.recv(10) == b"ping"
    except ConnectionError:
        return False


def fill(daemon):
    """Sessions until the worker has no descriptor left."""
    socks = []
    for _ in range(100):
        sock = connect(daemon.address("s"))
        try:
            sock.sendall(b"x")
            if sock.recv(10) == b"x":
                socks.append(sock)
                continue
        except ConnectionError:
            pass
        sock.close()
        if daemon.service("s")["refused_by"]["descriptors"] > 0:
            break
    assert daemon.service("s")["refused_by"]["descriptors"] > 0
    return socks


def generation_in_force(daemon):
    return daemon.ctl_json("show workers")["workers"][0]["generation"]


def test_changes_reach_a_worker_without_descriptors(start, limited):
    limited(LIMIT)
    echo = start(Origin("echo", "echo"))
    backends = {"a": echo.addresses[0], "b": echo.addresses[1]}
    daemon = start(Daemon(service("s") + pool("s", backends, scheduler="rr"), 1,
                          max_connections=1000))
    socks = fill(daemon)
    try:
        daemon.ctl("drain backend s a")
        assert generation_in_force(daemon) == 2
        daemon.write(service("s", listen=["127.0.0.1:0", "127.0.0.2:0"]) +
                     pool("s", backends, scheduler="rr"))
        daemon.ctl("reload")
    finally:
        for sock in socks:
            sock.close()
    wait_for(lambda: generation_in_force(daemon) == 3, what="the new generation")
    wait_for(lambda: echoes(daemon.address("s", 1)), what="the new listener")
    before = daemon.backend("s", "a")["connections_total"]
    assert all(echoes(daemon.address("s")) for _ in range(10))
    assert daemon.backend("s", "a")["connections_total"] == before


def test_automatic_limit_knows_listeners(start, limited):
    """As many clients as it says, and none of them is refused for want of descriptors."""
    limited(LIMIT)
    echo = start(Origin("echo", "echo"))
    listen = [f"127.0.1.{n}:0" for n in range(1, 31)]
    daemon = start(Daemon(service("s", listen=listen) + pool("s", echo.addresses[:1]), 1))
    limit = daemon.stats()["connections_limit"]
    assert 0 < limit <= (LIMIT - len(listen)) // 2
    socks = []
    try:
        for _ in range(limit):
            socks.append(connect(daemon.address("s")))
            socks[-1].sendall(b"x")
            assert socks[-1].recv(10) == b"x"
    finally:
        for sock in socks:
            sock.close()


def test_listener_moves_between_overlapping_addresses(start):
    echo = start(Origin("echo", "echo"))
    daemon = start(Daemon(service("s") + pool("s", echo.addresses)))
    port = daemon.address("s").rpartition(":")[2]
    for address in (f"127.0.0.1:{port}", f"0.0.0.0:{port}", f"127.0.0.1:{port}"):
        daemon.reload(service("s", listen=[address]) + pool("s", echo.addresses))
        assert echoes(f"127.0.0.1:{port}")


def test_secrets_are_not_shown(start, folder):
    echo = start(Origin("echo", "echo"))
    secret = folder / "secret"
    secret.write_text(echo.addresses[0] + "\n")
    daemon = start(Daemon(service("s") + pool("s", {"a": "${file:%s}" % secret})))
    assert echoes(daemon.address("s"))
    for words in ("show backends", "show config", "show stats json", "show checks"):
        assert echo.addresses[0] not in daemon.ctl(words), words
