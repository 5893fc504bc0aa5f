"""TLS passed through to nginx: the client checks the server's certificate, not the balancer's."""

import pytest

from sluice import Daemon, pool, run, service, split
from software import Authority, Nginx

HOST = "www.example.test"
FILE = bytes(range(256)) * 4096


@pytest.fixture
def authority(folder):
    return Authority(folder)


@pytest.fixture
def address(start, authority):
    certificate = authority.issue(HOST)
    servers = [start(Nginx({"file": FILE}, certificate)) for _ in range(2)]
    daemon = start(Daemon(service("tls") + pool("tls", [server.address for server in servers])))
    return daemon.address("tls")


def curl(address, ca, *words, check=True):
    host, port = split(address)
    return run(["curl", "-sS", "--cacert", ca, "--resolve", f"{HOST}:{port}:{host}", *words,
                f"https://{HOST}:{port}/file"], check=check)


@pytest.mark.parametrize("words, version", [(["--http1.1"], "1.1"), (["--http2"], "2")])
@pytest.mark.parametrize("protocol", ["1.2", "1.3"])
def test_curl(address, authority, folder, words, version, protocol):
    result = curl(address, authority.certificate, *words, f"--tlsv{protocol}", "--tls-max",
                  protocol, "-o", folder / "got", "-w",
                  "%{http_version} %{response_code} %{ssl_verify_result} %{num_connects}")
    assert result.stdout == f"{version} 200 0 1"
    assert (folder / "got").read_bytes() == FILE


def test_curl_many_streams(address, authority, folder):
    """Twenty requests on one HTTP/2 connection."""
    host, port = split(address)
    urls = [word for nth in range(20)
            for word in (f"https://{HOST}:{port}/file?{nth}", "-o", folder / f"got{nth}")]
    result = run(["curl", "-sS", "--cacert", authority.certificate, "--resolve",
                  f"{HOST}:{port}:{host}", "--http2", "--parallel", *urls, "-w",
                  "%{num_connects} %{response_code}\n"])
    lines = result.stdout.split("\n")[:-1]
    assert len(lines) == 20 and all(line.endswith(" 200") for line in lines), result.stdout
    assert all((folder / f"got{nth}").read_bytes() == FILE for nth in range(20))


def test_wrong_authority_is_seen(address, folder):
    """Without this the tests above could pass though nothing was checked."""
    other = Authority(folder, "another authority")
    result = curl(address, other.certificate, check=False)
    assert result.returncode == 60, result
