"""More backends from a file that is watched: taken over whole, or refused and told once."""

import os
import re
import subprocess
import time

import pytest

from sluice import (SLUICED, CtlError, Daemon, Load, Origin, Port, load, pool, service,
                    wait_for)


@pytest.fixture
def origin(start):
    return start(Origin("http", "http", "http", "http", names=list("abcd")))


@pytest.fixture
def path(folder):
    return folder / "backends"


def config(path, own, **options):
    return service("web") + pool("web", own, scheduler="rr", backends_file=path, **options)


def lines(origin, *names, more=""):
    return "".join(f"{name} {origin.addresses['abcd'.index(name)]}{more}\n" for name in names)


@pytest.fixture
def daemon(start, origin, path):
    """a is the configuration's own, b comes from the file."""
    path.write_text("# of a template\n\n" + lines(origin, "b"))
    return start(Daemon(config(path, {"a": origin.addresses[0]})))


def put(path, text):
    """As a template's writer does: whole, then renamed over the old one."""
    new = path.parent / ".backends.new"
    new.write_text(text)
    new.rename(path)


def names(daemon):
    pools = {row["name"]: row for row in daemon.stats()["pools"]}
    return [row["name"] for row in pools["web"]["backends"]]


def shown(daemon):
    return daemon.ctl_json("show pools")["pools"][0]


def taken(daemon, *expected):
    wait_for(lambda: names(daemon) == list(expected), what=f"the backends {expected}")


def told(daemon):
    return [event["text"] for event in daemon.ctl_json("show events")["events"]
            if event["kind"] == "backends_file"]


def events_of(daemon, name):
    return [event["text"] for event in
            daemon.ctl_json(f"show events kind=backends_file pool={name}")["events"]]


def refused(daemon, *needles, count=1):
    """So often a refusal was told; the last one, and what was wrong before it."""
    def find():
        texts = told(daemon)
        found = [nth for nth, text in enumerate(texts) if "refused for" in text]
        return texts[:found[-1]] if len(found) == count else None
    texts = wait_for(find, what=f"refusal {count}")
    for needle in needles:
        assert any(re.search(needle, text) for text in texts), texts


def spread(daemon):
    return set(load("crc", daemon.address("web"), "--requests", 12)["origins"])


# --- taking over ---

def test_backends_of_the_file_are_backends(daemon, origin, path):
    assert names(daemon) == ["a", "b"] and spread(daemon) == {"a", "b"}
    put(path, lines(origin, "b", "c", more=" weight=3 max_connections=9"))
    taken(daemon, "a", "b", "c")
    assert daemon.backend("web", "c")["weight"] == 3 and spread(daemon) == {"a", "b", "c"}
    event = wait_for(lambda: told(daemon), what="the event")[-1]
    assert re.search(r"taken over, generation \d+, \d changes: pool web: backend", event), event
    assert "pool web: backend b: weight 1 -> 3" in told(daemon)
    put(path, lines(origin, "d"))
    taken(daemon, "a", "d")
    wait_for(lambda: "pool web: backend c removed" in told(daemon), what="each change as an event")
    assert events_of(daemon, "web") == told(daemon) and events_of(daemon, "other") == []
    assert "backends_file" in daemon.ctl("show config")


def test_in_place(daemon, origin, path):
    """Written in pieces and kept open: nothing is taken before it is closed."""
    generation = daemon.ctl_json("show info")["generation"]
    with open(path, "w", buffering=1) as out:
        for name in "bcd":
            out.write(lines(origin, name)[:-3])
            out.flush()
            out.write(lines(origin, name)[-3:])
        until = time.monotonic() + 0.6  # a closed one would have been taken by then
        while time.monotonic() < until:
            assert daemon.ctl_json("show info")["generation"] == generation
    taken(daemon, "a", "b", "c", "d")
    assert not any("refused" in text for text in told(daemon))


def test_editors(daemon, origin, path):
    path.rename(f"{path}~")  # vim: the old one is the backup, a new one is written
    path.write_text(lines(origin, "b", "c"))
    taken(daemon, "a", "b", "c")
    subprocess.run(["sed", "-i", "/^c /d", path], check=True)
    taken(daemon, "a", "b")
    with open(path, "r+") as out:
        out.truncate(0)
        out.write(lines(origin, "d"))
    taken(daemon, "a", "d")
    assert not any("refused" in text for text in told(daemon))


def test_a_file_that_goes_and_comes_again(daemon, origin, path):
    path.unlink()
    refused(daemon, r'backends_file: ".*" cannot be read: No such file')
    assert events_of(daemon, "web") == told(daemon)
    assert names(daemon) == ["a", "b"]
    path.write_text(lines(origin, "c"))
    taken(daemon, "a", "c")


def test_a_link_that_is_switched(start, origin, folder):
    """As a Kubernetes ConfigMap is mounted: backends -> ..data/backends, ..data -> a folder."""
    def make(name, text):
        (folder / name).mkdir()
        (folder / name / "backends").write_text(text)
        (folder / "..data_tmp").symlink_to(name)
        (folder / "..data_tmp").rename(folder / "..data")
    make("..1", lines(origin, "b"))
    (folder / "backends").symlink_to("..data/backends")
    daemon = start(Daemon(config(folder / "backends", {"a": origin.addresses[0]})))
    assert names(daemon) == ["a", "b"]
    make("..2", lines(origin, "c"))
    taken(daemon, "a", "c")
    (folder / "..2" / "backends").write_text(lines(origin, "d"))  # where the link leads to
    taken(daemon, "a", "d")


def test_many_lines(start, origin, path):
    path.write_text(lines(origin, "b"))
    daemon = start(Daemon(config(path, {"a": origin.addresses[0]})))
    put(path, "".join(f"n{nth} 127.0.{nth // 250}.{nth % 250 + 1}:9 weight=0\n"
                      for nth in range(1000)))
    wait_for(lambda: len(names(daemon)) == 1001, what="a thousand backends")
    put(path, lines(origin, "b"))
    taken(daemon, "a", "b")


def test_who_stays_loses_no_request(daemon, origin, path):
    with Load("keepalive", daemon.address("web"), "--connections", 8,
              "--duration", "60s") as running:
        for other in "cdcd":
            put(path, lines(origin, "b", other, more=" weight=2"))
            taken(daemon, "a", "b", other)
        report = running.finish()
    assert report["errors"] == 0 and {"a", "b"} <= set(report["origins"])


# --- refusing ---

def test_addresses_that_nobody_is_at(daemon, origin, path):
    put(path, lines(origin, "c") + "d 0.0.0.0:80\ne 224.0.0.1:80\n")
    refused(daemon, rf'^{path}:2: pool "web" / backend "d": address: "0.0.0.0:80": stands for any',
            rf'^{path}:3: pool "web" / backend "e": address: "224.0.0.1:80": a multicast address')
    assert names(daemon) == ["a", "b"]


def test_a_backend_that_is_the_daemon_itself(start, daemon, origin, path):
    """Taken, as whoever writes the file may mean it, and told of."""
    own = start(Port()).address
    daemon.reload(config(path, {"a": origin.addresses[0]}).replace("127.0.0.1:0", own))
    put(path, lines(origin, "b") + f"d {own}\n")
    taken(daemon, "a", "b", "d")
    wait_for(lambda: any(f'{path}:2: pool "web" / backend "d": warning: address "{own}": this daemon '
                         'listens there itself, for service "web"' in text for text in told(daemon)),
             what="the warning")


def test_bad_content_is_refused_whole(daemon, origin, path):
    bad = (lines(origin, "c") + "d\n" + "e 127.0.0.1:1 weigth=3\nf 127.0.0.1:2 weight=x\n"
           + 'g "127.0.0.1:3\na 127.0.0.1:4\n')
    put(path, bad)
    refused(daemon,
            rf'^{path}:2: pool "web" / backend "d": no address; write NAME ADDRESS',
            rf'^{path}:3: pool "web" / backend "e": unknown option "weigth"; did you mean "weight"',
            rf'^{path}:4: pool "web" / backend "f": weight: "x": ',
            rf'^{path}:5: pool "web": a double quote is not closed',
            rf'^{path}:6: pool "web": "a" is given twice; first at .*sluice.conf:\d+')
    assert names(daemon) == ["a", "b"] and spread(daemon) == {"a", "b"}
    assert events_of(daemon, "web") == told(daemon)
    row = shown(daemon)
    assert (row["backends_file"], row["backends_from_file"]) == (str(path), 1)
    assert row["backends_file_refused"].startswith(f"{path}:2: ")
    put(path, bad)  # the same is told once
    put(path, bad + "h\n")
    refused(daemon, rf'^{path}:7: ', count=2)
    put(path, lines(origin, "c"))
    taken(daemon, "a", "c")
    now = wait_for(lambda: shown(daemon)["backends_file_refused"] is None and shown(daemon),
                   what="no refusal")
    assert now["backends_file_wall_ms"] > row["backends_file_wall_ms"]


def test_an_empty_file_does_not_empty_its_pool(start, origin, path):
    path.write_text(lines(origin, "a", "b"))
    daemon = start(Daemon(config(path, {})))
    path.write_text("")
    refused(daemon, rf'^{path}: no backends, which would take away the last eligible one of pool "w')
    assert names(daemon) == ["a", "b"]
    put(path, lines(origin, "c"))  # all others at once is what deployments do
    taken(daemon, "c")
    path.write_text("# none\n")
    refused(daemon, count=2)
    assert daemon.ctl_json("reload")["changes"] == ["pool web: backend c removed"]


@pytest.mark.parametrize("how", ["weight=0", "admin=drain", "admin=maintenance"])
def test_a_file_does_not_take_the_last_one_away(start, origin, path, how):
    """Nor does one whose backends take nobody, whether it holds all or the only one of the pool."""
    path.write_text(lines(origin, "a", "b"))
    daemon = start(Daemon(config(path, {})))
    before = daemon.ctl_json("show info")["generation"]
    put(path, lines(origin, "a", "b", more=f" {how}"))
    refused(daemon, rf'^{path}: no backend that takes new clients, which would take away the last '
                    r'eligible one of pool "web"; give one')
    assert daemon.ctl_json("show info")["generation"] == before and spread(daemon) == {"a", "b"}
    assert f"{path}: no backend that takes" in shown(daemon)["backends_file_refused"]
    put(path, lines(origin, "a", more=f" {how}") + lines(origin, "b"))
    taken(daemon, "a", "b")
    wait_for(lambda: spread(daemon) == {"b"}, what="only one of them")
    put(path, lines(origin, "a", "b", more=f" {how}"))
    refused(daemon, count=2)
    daemon.ctl("reload")  # whoever insists
    assert {row["state"] for row in daemon.stats()["pools"][0]["backends"]} <= {
        "draining", "maintenance"}


def test_a_file_may_take_it_where_others_stay_or_come(start, origin, path):
    """A backend of the configuration takes its place; so do new ones, that are not checked yet."""
    path.write_text(lines(origin, "b"))
    own = {"a": origin.addresses[0]}
    daemon = start(Daemon(config(path, own, checks={"tcp": {"interval": "50ms"}})))
    wait_for(lambda: daemon.backend("web", "a")["state"] == "up", what="a up")
    put(path, lines(origin, "b", more=" weight=0"))
    wait_for(lambda: daemon.backend("web", "b")["state"] == "draining", what="b draining")
    daemon.ctl("drain backend web a force")
    put(path, lines(origin, "b"))
    wait_for(lambda: daemon.backend("web", "b")["state"] == "up", what="b up")
    put(path, lines(origin, "c", "d"))
    taken(daemon, "a", "c", "d")
    assert not any("refused" in text for text in told(daemon))


def test_what_was_refused_is_taken_once_health_permits(start, origin, path):
    """A file that leaves only a backend that is down just now is read again by itself."""
    path.write_text(lines(origin, "a", "b"))
    daemon = start(Daemon(config(path, {})))
    daemon.ctl("set backend web b health=down")
    put(path, lines(origin, "b"))
    refused(daemon, rf"^{path}: no backend that takes new clients")
    daemon.ctl("set backend web b health=auto")
    wait_for(lambda: names(daemon) == ["b"], timeout=20, what="the file")
    assert len([text for text in told(daemon) if "refused for" in text]) == 1


def test_at_the_start_and_by_t(folder, origin, path):
    text = folder / "sluice.conf"
    text.write_text(config(path, {"a": origin.addresses[0]}))
    def check():
        done = subprocess.run([SLUICED, "-c", text, "-t"], capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stderr
    assert check()[0] == 1 and "No such file" in check()[1]
    os.mkfifo(path)
    assert check()[0] == 1 and "is a FIFO; it must be a regular file" in check()[1]
    path.unlink()
    path.mkdir()
    assert check()[0] == 1 and "is a directory" in check()[1]
    path.rmdir()
    path.write_text("b nonsense\nc 127.0.0.1:1 backup=maybe\n")
    status, said = check()
    assert status == 1 and f"{path}:1: " in said and f"{path}:2: " in said, said
    path.write_text("b 127.0.0.1:1\n")
    assert check() == (0, "")
    text.write_text(config("backends", {"a": origin.addresses[0]}))
    assert check()[0] == 1 and "not an absolute path" in check()[1]


# --- with reloads and commands ---

def test_reload_and_check_config_read_it_anew(daemon, origin, path):
    other = path.parent / "other"
    other.write_text(lines(origin, "c", "d"))
    daemon.write(config(other, {"a": origin.addresses[0]}))
    changes = daemon.ctl_json("check config")["changes"]
    assert "pool web: backend d added" in changes and names(daemon) == ["a", "b"]
    daemon.signal(1)  # SIGHUP
    taken(daemon, "a", "c", "d")
    put(path, lines(origin, "b"))  # nobody's any more
    put(other, lines(origin, "d"))
    taken(daemon, "a", "d")
    other.write_text("d\n")
    with pytest.raises(CtlError, match="no address"):
        daemon.ctl("reload")
    assert names(daemon) == ["a", "d"]


def test_the_main_file_is_not_read_with_it(daemon, origin, path):
    daemon.write("nonsense")
    put(path, lines(origin, "c"))
    taken(daemon, "a", "c")


def test_overrides_stand(daemon, origin, path):
    daemon.ctl("drain backend web b")
    daemon.ctl("set backend web a weight=5")
    daemon.ctl(f"add backend web x {origin.addresses[3]}")
    put(path, lines(origin, "b", "c"))
    taken(daemon, "a", "b", "c", "x")
    assert daemon.backend("web", "b")["admin"] == "drain"
    assert daemon.backend("web", "a")["weight"] == 5
    daemon.ctl("remove backend web c")
    put(path, lines(origin, "c", "b", more=" max_connections=7"))
    wait_for(lambda: "max_connections = 7" in daemon.ctl("show config"), what="the new option")
    assert names(daemon) == ["a", "b", "x"]


def test_kept_configurations_leave_it_out(start, origin, path, folder):
    """A rollback, and the return of what was not confirmed, read it anew; a change of it is no
    configuration of its own."""
    path.write_text(lines(origin, "b"))
    state = folder / "state.json"
    own = {"a": origin.addresses[0]}
    with Daemon(config(path, own), state_file=state) as daemon:
        daemon.reload(config(path, own, retries=1))
        put(path, lines(origin, "c"))
        taken(daemon, "a", "c")
        kept = daemon.ctl_json("show configs")["configs"]
        assert [row["runs"] for row in kept] == [False, True] and kept[1]["file"]
        assert 'backend "a"' in daemon.ctl("show configs 2") and \
            'backend "c"' not in daemon.ctl("show configs 2")
        daemon.ctl("rollback")
        assert names(daemon) == ["a", "c"] and "retries" not in daemon.ctl("show config")
        daemon.ctl("reload confirm=1h")
        put(path, lines(origin, "c", "d"))
        taken(daemon, "a", "c", "d")
        assert daemon.ctl_json("show configs")["returns"]
    with Daemon(config(path, own, retries=1), state_file=state) as daemon:
        assert names(daemon) == ["a", "c", "d"] and "retries" not in daemon.ctl("show config")


def test_names_in_the_file(daemon, origin, path):
    port = origin.addresses[2].rpartition(":")[2]
    put(path, f"c localhost:{port}\n")
    taken(daemon, "a", "c@127.0.0.1")
    daemon.ctl("drain backend web c")
    assert daemon.backend("web", "c@127.0.0.1")["admin"] == "drain"
    put(path, f"c localhost:{port} weight=4\n")
    wait_for(lambda: daemon.backend("web", "c@127.0.0.1")["weight"] == 4, what="the weight")
    assert daemon.backend("web", "c@127.0.0.1")["admin"] == "drain"


def test_a_folder_that_goes_and_comes_again(start, origin, folder):
    """Another folder of that name is watched in the old one's place."""
    inner = folder / "inner"
    inner.mkdir()
    (inner / "backends").write_text(lines(origin, "b"))
    daemon = start(Daemon(config(inner / "backends", {"a": origin.addresses[0]})))
    put(inner / "backends", lines(origin, "b", "c"))
    taken(daemon, "a", "b", "c")
    (folder / "new").mkdir()
    (folder / "new" / "backends").write_text(lines(origin, "c"))
    inner.rename(folder / "old")
    (folder / "new").rename(inner)
    taken(daemon, "a", "c")
    put(inner / "backends", lines(origin, "d"))
    taken(daemon, "a", "d")
