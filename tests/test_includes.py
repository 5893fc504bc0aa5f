"""Who may include whom: the arrows between the folders of src, as the README draws them."""
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parent.parent
SRC = TOP / "src"

# Folder -> the other folders whose headers it may include; include/sluice is open to everyone.
ALLOWED = {
    "base": set(),
    "conf": {"base"},
    "pool": {"base"},
    "sched": {"base", "pool"},
    "check": {"base", "pool"},
    "dns": {"base"},
    "frame": {"base"},
    "model": {"base", "conf", "pool", "sched"},
    "proxy": {"base", "pool", "sched", "frame"},
    "ctl": {"base", "pool", "sched", "model"},
    "proc": {"base", "conf", "pool", "sched", "check", "dns", "frame", "model", "proxy", "ctl"},
    "sluiced": {"base", "conf", "pool", "sched", "check", "dns", "frame", "model", "proxy", "ctl", "proc"},
    "sluicectl": {"base", "ctl", "proc"},
    "manual": {"base", "sched", "model", "ctl"},
    "tools": {"base"},
}
# Libraries that only these folders may see; what is not named here is for everyone.
LIBRARIES = {
    "event2/": {"check", "dns", "proxy", "ctl", "proc", "tools"},
    "event2/bufferevent": {"check", "dns"},
    "resolv.h": {"dns"},
    "arpa/nameser.h": {"dns"},
    "openssl/": {"check"},
    "pcre2.h": {"check"},
    "confuse.h": {"conf"},
    "cap-ng.h": {"proc"},
    "xxhash.h": {"base", "pool", "sched", "model", "proxy", "conf", "tools"},
    "jansson.h": {"model", "ctl", "sluicectl"},
}
# Below these, time and sockets come as arguments, so that they are tested without either.
PURE = {"pool", "sched", "model"}
SOCKET_CALLS = re.compile(r"\b(socket|connect|bind|accept4?|listen|recv|send|recvmsg|sendmsg)\(")


def sources(folder):
    return sorted(p for p in (SRC / folder).rglob("*.[ch]"))


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def test_every_folder_is_known():
    assert {p.name for p in SRC.iterdir() if p.is_dir()} == set(ALLOWED)


def test_includes_point_downward():
    wrong = []
    for folder, below in ALLOWED.items():
        for path in sources(folder):
            for number, quoted, name in includes(path):
                if not quoted or name.startswith("sluice/"):
                    continue
                first = name.split("/")[0] if "/" in name else folder
                if first != folder and first not in below:
                    wrong.append(f"{path.relative_to(TOP)}:{number}: {name}")
    assert not wrong, "\n".join(wrong)


def test_sluicectl_sees_little_of_the_daemon():
    """How to talk to it; and what reads the file and the machine, for doctor."""
    allowed = {"ctl/codec.h", "proc/capacity.h", "proc/configuration.h", "proc/machine.h"}
    wrong = [f"{p.name}:{n}: {name}" for p in sources("sluicectl") for n, quoted, name in includes(p)
             if name.startswith(("ctl/", "proc/")) and name not in allowed]
    assert not wrong, "\n".join(wrong)


def test_shared_headers_need_only_base():
    wrong = []
    for path in (TOP / "include" / "sluice").glob("*.h"):
        for number, quoted, name in includes(path):
            if quoted and not name.startswith(("sluice/", "base/")):
                wrong.append(f"{path.name}:{number}: {name}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_in_their_folders():
    wrong = []
    for folder in ALLOWED:
        for path in sources(folder):
            for number, _, name in includes(path):
                for library, users in LIBRARIES.items():
                    if name.startswith(library) and folder not in users:
                        wrong.append(f"{path.relative_to(TOP)}:{number}: {name}")
    assert not wrong, "\n".join(wrong)


def test_pure_folders_use_no_sockets():
    wrong = []
    for folder in PURE:
        for path in sources(folder):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if SOCKET_CALLS.search(line.split("//")[0]) and not line.lstrip().startswith("*"):
                    wrong.append(f"{path.relative_to(TOP)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_kinds_of_events_are_listed():
    """In the table that show events knows them by: all that are written, and no others."""
    listed = set(re.findall(r'"(\w+)"', re.search(r"event_kinds\[\] = \{(.*?)\};", (
        SRC / "ctl" / "events.c").read_text(), re.S)[1]))
    code = "".join(path.read_text() for folder in ("ctl", "proc") for path in sources(folder))
    places = re.findall(r"master_event\([^,\"]+, ([^,]+),|define EVENT_KIND(.*)|\bkind = ([^;,]+)[;,]",
                        code)
    assert set(re.findall(r'"(\w+)"', "".join(map("".join, places)))) == listed


def test_files_stay_small():
    long = [f"{p.relative_to(TOP)}: {n} lines" for folder in ALLOWED for p in sources(folder)
            if (n := len(p.read_text().splitlines())) > 800]
    assert not long, "\n".join(long)
