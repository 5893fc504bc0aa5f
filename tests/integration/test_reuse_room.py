"""Connections that may not be opened now, where backends' are kept: clients wait or are refused as
they would be without reuse, and no backend is blamed. And none are opened in vain."""

import http.client
import threading

import pytest

from sluice import Daemon, Origin, pool, service, split, wait_for
from software import Nginx

MODES = [{"mode": "off"}, {"mode": "warm", "warm_min": 1},
         {"mode": "session", "framing": "http1"}, {"mode": "request", "framing": "http1"}]


def ask_all(daemon, count, path):
    """Clients that come at once, each with one request. Returns the statuses of those served."""
    statuses = []

    def one():
        client = http.client.HTTPConnection(*split(daemon.address("web")), timeout=30)
        try:
            client.request("GET", path)
            statuses.append(client.getresponse().status)
        except OSError:
            pass
        finally:
            client.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def refused_by(daemon):
    return {reason: count for reason, count in daemon.service("web")["refused_by"].items() if count}


@pytest.mark.parametrize("reuse", MODES, ids=lambda reuse: reuse["mode"])
@pytest.mark.parametrize("queue", [0, 100])
def test_who_may_not_connect_yet(start, reuse, queue):
    """The connect_rate lets few in at once, and they stay a while: others wait in the queue, or the
    backend counts as full; it has not failed."""
    origin = start(Origin("http"))
    text = pool("web", {"a": {"address": origin.addresses[0], "connect_rate": "4/s:2"}},
                reuse=reuse, queue=queue, queue_timeout="60s", connect_timeout="500ms")
    text = text.rstrip()[:-1] + "    outlier { }\n}\n"
    daemon = start(Daemon(service("web") + text, workers=2))
    statuses = ask_all(daemon, 12, "/slow/1500")

    assert set(statuses) == {200}
    if queue:
        assert len(statuses) == 12 and not refused_by(daemon)
    else:
        assert len(statuses) < 12 and refused_by(daemon) == {"full": 12 - len(statuses)}
    backend = daemon.backend("web", "a")
    assert (backend["state"], backend["connect_failures"], backend["retries"]) == ("up", 0, 0)
    assert "timed out" not in daemon.log()


@pytest.mark.parametrize("warm_min, max_idle", [(3, 3), (8, 8), (7, 8)])
def test_few_are_enough_for_one_client(start, warm_min, max_idle):
    """What is lent comes back: nothing is opened in its place only to be closed then."""
    nginx = start(Nginx({"f": b"content"}))
    daemon = start(Daemon(service("web") + pool("web", [nginx.address], reuse={
        "mode": "request", "framing": "http1", "warm_min": warm_min, "max_idle": max_idle,
        "idle_max": "0s"}), workers=1))
    wait_for(lambda: daemon.backend("web", "a")["upstreams_idle"] == warm_min)
    client = http.client.HTTPConnection(*split(daemon.address("web")))
    most = 0
    for nth in range(200):
        client.request("GET", "/f")
        assert client.getresponse().read() == b"content"
        if nth % 20 == 0:
            most = max(most, daemon.backend("web", "a")["upstreams_idle"])
    row = daemon.backend("web", "a")
    assert most <= max_idle and row["upstreams_idle"] <= max_idle
    assert row["upstreams_opened"] == 0
    assert row["upstreams_discarded_by"]["max_idle"] == 0
    client.close()
