"""Every kind of address on either side: IPv4, IPv6 and Unix sockets, several of a service."""

import stat

import pytest

from sluice import Daemon, Origin, load, pattern, pool, run, service

ADDRESSES = ["127.0.0.1:0", "[::1]:0", "unix:{folder}/{name}.sock"]


@pytest.fixture
def origin(start, folder):
    """One origin on each kind of address, named ip4, ip6, local."""
    modes = ["http@" + address.format(folder=folder, name="origin") for address in ADDRESSES]
    return start(Origin(*modes, names=["ip4", "ip6", "local"]))


@pytest.fixture
def daemon(start, folder, origin):
    """One service on each kind of address, and all backends behind it."""
    backends = dict(zip(["ip4", "ip6", "local"], origin.addresses))
    listen = [address.format(folder=folder, name="service") for address in ADDRESSES]
    return start(Daemon(service("web", listen=listen) + pool(
        "web", backends, scheduler="rr", checks={"tcp": {"interval": "200ms"}})))


@pytest.mark.parametrize("nth", range(3), ids=["ip4", "ip6", "unix"])
def test_every_listener_reaches_every_backend(daemon, origin, nth):
    report = load("crc", daemon.address("web", nth), "--requests", 90, "--connections", 5,
                  "--path", "/bytes/100000")
    assert set(report["origins"]) == {"ip4", "ip6", "local"}
    # Each of two workers is at most a turn off.
    assert all(abs(answers - 30) <= 2 for answers in report["origins"].values()), report
    row = daemon.check_accounts("web")
    assert row["connections_total"] == 90
    assert row["ended_by"]["backend_fin"] == 90
    assert {row["health"] for row in daemon.stats()["pools"][0]["backends"]} == {"up"}
    assert sum(origin.stats(nth)["requests"] for nth in range(3)) == 90


@pytest.mark.parametrize("nth", range(3), ids=["ip4", "ip6", "unix"])
def test_curl(daemon, folder, nth):
    """Somebody else's client on each of them."""
    address = daemon.address("web", nth)
    words = (["--unix-socket", address[5:], "http://localhost/bytes/500000"] if nth == 2
             else ["-g", f"http://{address}/bytes/500000"])
    result = run(["curl", "-sS", "-o", folder / "got", "-w", "%{response_code}", *words])
    assert result.stdout == "200"
    assert (folder / "got").read_bytes() == pattern(500000)


def test_listing_tells_addresses(daemon, folder):
    row = daemon.service("web")
    assert row["listen"][2] == f"unix:{folder}/service.sock"
    assert row["listen"][0].startswith("127.0.0.1:") and not row["listen"][0].endswith(":0")
    assert row["listen"][1].startswith("[::1]:") and not row["listen"][1].endswith(":0")


def test_unix_listener_is_removed_at_the_end(daemon, folder):
    path = folder / "service.sock"
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o666
    assert daemon.stop() == 0
    assert not path.exists()


def test_abstract_addresses(start, folder):
    name = f"@{folder.name}"
    origin = start(Origin(f"http@unix:{name}-origin"))
    daemon = start(Daemon(service("web", listen=[f"unix:{name}"]) + pool("web", origin.addresses)))
    assert load("crc", f"unix:{name}", "--requests", 20, "--path", "/bytes/1000")["requests"] == 20
    assert daemon.check_accounts("web")["connections_total"] == 20


def test_two_services_share_a_pool(start):
    origin = start(Origin("http", names=["one"]))
    daemon = start(Daemon(service("x", pool="web") + service("y", pool="web", listen=["[::1]:0"])
                          + pool("web", origin.addresses)))
    for name, requests in (("x", 10), ("y", 20)):
        load("crc", daemon.address(name), "--requests", requests)
        assert daemon.check_accounts(name)["connections_total"] == requests
    assert daemon.backend("web", "a")["connections_total"] == 30
