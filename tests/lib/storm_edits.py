"""A storm of changes: commands and reloads, good and bad, drawn by a seeded generator, each of them
done to the daemon and to the test's model of it (storm.py), which must agree ever after.

Pools: "firm", whose clients must never see an error, whatever is done to it; "loose", whose guests
(g…) are closed, drained by deadlines and taken away, while those that stay (s…) are spared; "spare",
from a backends_file alone, where "loose" is sent at times; "idle", without load, for what needs
force.
"""

import copy
import random
import re

from sluice import SLUICECTL, SLUICED, CtlError, pool, run, service, wait_for
from storm import DEFAULTS, Expected, Refused, read, takers

SERVICES = ("firm", "loose", "spare", "idle")
LISTS = ("firm", "spare")  # pools with a backends_file
TAG = "tag"  # in each backends_file, and no edit's: whatever else is overridden, it changes
SCHEDULERS = ("wlc", "lc", "rr", "wrr", "sh", "mh", "random")


def guest(name):
    return not name.startswith("s")


class Storm:
    """Edits one daemon. addresses: of 20 origins, those of names(); dead: one that refuses; held:
    where somebody else listens."""

    def __init__(self, folder, addresses, dead, held, seed):
        self.random, self.folder, self.dead, self.held = random.Random(seed), folder, dead, held
        self.addresses = dict(zip(self.names(), addresses))
        self.daemon, self.done, self.resume_in, self.moved_back_in = None, [], 0, 0
        tag = {TAG: {"address": dead, "weight": "0"}}
        self.lists = {"firm": {**self._some("firm", ["f0", "f1"]), **tag},
                      "spare": {**self._some("spare", ["x", "y"]), **tag}}
        self.main = self._first_file()
        self.expected = Expected(self.whole(self.main))
        self.kept = {1: self.main}
        self.returns = None  # to what an unconfirmed reload goes back
        self.counter = 0
        self.refusals = 0
        for name in LISTS:
            self._write_list(name, self._list_text(self.lists[name]))

    @staticmethod
    def names():
        return ["firm/s0", "firm/s1", "firm/s2", "firm/s3", "firm/s4", "firm/g0", "firm/g1",
                "firm/f0", "firm/f1", "loose/s0", "loose/s1", "loose/s2", "loose/s3", "loose/g0",
                "loose/g1", "loose/g2", "spare/x", "spare/y", "idle/a", "idle/b"]

    # --- files ---

    def _some(self, pool_name, names, weights=True):
        return {name: {"address": self.address(pool_name, name),
                       **({"weight": str(self.random.randint(1, 9))} if weights else {})}
                for name in names}

    def address(self, pool_name, name):
        """Names beyond the 20 share the guests' origins, or lead nowhere."""
        known = self.addresses.get(f"{pool_name}/{name}")
        if known:
            return known
        if name == "dead":
            return self.dead
        return self.addresses[f"loose/g{len(name) % 3}"]

    def _first_file(self):
        pools = {name: {"backends": {}} for name in SERVICES}
        for full in self.names():
            pool_name, name = full.split("/")
            if pool_name != "spare" and not name.startswith("f"):
                pools[pool_name]["backends"][name] = {"address": self.addresses[full]}
        return {"pools": pools, "services": {name: {"pool": name} for name in SERVICES}}

    def whole(self, main):
        config = copy.deepcopy(main)
        for name, backends in self.lists.items():
            config["pools"][name]["backends"].update(copy.deepcopy(backends))
        return config

    def text(self, main):
        out = ""
        for name, options in main["services"].items():
            options = {key: value for key, value in options.items() if key != "pool"}
            log = "all" if name == "loose" else "errors"
            out += service(name, main["services"][name]["pool"], session_log=log, **options)
        for name, section in main["pools"].items():
            options = {key: value for key, value in section.items() if key != "backends"}
            if name in LISTS:
                options["backends_file"] = self.folder / name
            out += pool(name, section["backends"], **options)
        return out

    def _list_text(self, backends):
        self.counter += 1
        return f"# {self.counter}\n" + "".join(
            f"{name} " + " ".join(value if option == "address" else f"{option}={value}"
                                  for option, value in options.items()) + "\n"
            for name, options in backends.items())

    def _write_list(self, name, text):
        new = self.folder / f".{name}.new"
        new.write_text(text)
        new.rename(self.folder / name)

    # --- one edit ---

    def step(self):
        """Does one edit to both; they must agree on whether it is refused, and on what stands."""
        if self.resume_in:
            self.resume_in -= 1
            if not self.resume_in:
                return self.command("resume pool firm", lambda: self.expected.set(
                    (None, "firm", None), {"paused": "false"}))
        edits, weights = zip(*EDITS.items())
        edit, = self.random.choices(edits, weights)
        return edit(self)

    def command(self, words, change, force=False):
        """change: does it to the model, and raises Refused when it must be."""
        saved = copy.deepcopy(self.expected)
        self.done.append(words)
        try:
            change()
            if self.leaves_only_the_dead(self.expected):
                self.expected = saved
                return None
            refused = None
        except Refused as error:
            refused = error
        words += " force" if force else ""
        try:
            reply = self.daemon.ctl_json(words)
        except CtlError as error:
            assert refused, f"{words}: should not be refused: {error}"
            self.refusals += 1
            return None
        assert not refused, f"{words}: should be refused: {refused}"
        if "overrides" in reply:
            self.compare_overrides(reply["overrides"], words)
        return reply

    def leaves_only_the_dead(self, expected):
        """Nothing checks backends here, so the daemon cannot know and would let it be."""
        for config in expected.config(), expected.config_then():
            for name in "firm", "loose":
                pool_name = config["services"][name]["pool"]
                backends = config["pools"][pool_name]["backends"]
                if all(backends[one]["address"] == self.dead for one in takers(config, pool_name)):
                    return True
        return False

    def refuse(self, words):
        self.done.append(words)
        try:
            self.daemon.ctl(words)
        except CtlError:
            self.refusals += 1
            return
        raise AssertionError(f"{words}: should be refused")

    # --- comparing ---

    def compare_overrides(self, rows, what):
        told = {(row["kind"], row["service"], row["pool"], row["backend"], row["option"]):
                (row["value"] if row["kind"] == "set" else None, row["file_value"])
                for row in rows}
        assert told == self.expected.overrides(), \
            f"after {what}: {describe(told, self.expected.overrides())}"

    def compare(self):
        """All that the daemon shows, with the model; and that every worker has it."""
        daemon, config = self.daemon, self.expected.config()
        generation = daemon.ctl_json("show info")["generation"]
        wait_for(lambda: all(row["generation"] == generation for row in
                             daemon.ctl_json("show workers")["workers"]), what="every worker")
        self.compare_overrides(daemon.ctl_json("show diff")["overrides"], "show diff")
        wanted = {name: flatten(section["backends"]) for name, section in config["pools"].items()}
        shown = {name: {} for name in wanted}
        rows = daemon.ctl_json("show backends")["backends"]
        for row in rows:
            if row["admin"] == "removed":
                continue
            shown[row["pool"]][row["name"]] = (row["address"], str(row["weight"]), row["admin"])
            is_up = row["health"] != "down"
            backend = config["pools"][row["pool"]]["backends"].get(row["name"], {})
            assert is_up == (backend.get("health") != "down"), (row, backend)
        assert shown == wanted, describe(shown, wanted)
        stats = {one["name"]: one for one in daemon.stats()["pools"]}
        for name, section in config["pools"].items():
            assert stats[name]["scheduler"] == read(section, "pool", "scheduler"), name
            assert {b["name"] for b in stats[name]["backends"]} == set(section["backends"]), name
        for row in daemon.ctl_json("show services")["services"]:
            section = config["services"][row["name"]]
            assert (row["pool"], row["admin"]) == (section["pool"],
                                                   read(section, "service", "admin")), row
        for name in SERVICES:
            self._compare_explain(config, name)
        shown = parse(daemon.ctl("show config"))
        assert shown == trim(config), describe(shown, trim(config))

    def _compare_explain(self, config, name):
        """What a worker would choose from is what the model has."""
        section = config["services"][name]
        pool_name = section["pool"]
        reply = self.daemon.ctl_json(f"explain {name} 127.0.0.1:4000")
        if read(section, "service", "admin") == "maintenance":
            return
        eligible = takers(config, pool_name)
        if read(config["pools"][pool_name], "pool", "paused") != "true" and reply["certain"]:
            assert (reply["backend"] in eligible) if eligible else not reply["backend"], reply
        for row in reply["others"]:
            if row["pool"] == pool_name:
                assert row["name"] in config["pools"][pool_name]["backends"], row


def flatten(backends):
    return {name: (one["address"], read(one, "backend", "weight"), read(one, "backend", "admin"))
            for name, one in backends.items()}


def trim(config):
    """Without what says no more than the defaults, and in the order of parse()."""
    def rest(section, kind):
        return {key: value for key, value in section.items()
                if key != "backends" and DEFAULTS[kind].get(key) != value}
    return {"services": {name: rest(one, "service") for name, one in config["services"].items()},
            "pools": {name: {**rest(one, "pool"), "backends": {
                inner: rest(section, "backend") for inner, section in one["backends"].items()}}
                for name, one in config["pools"].items()}}


def parse(text):
    """show config as the model has it: only services, pools, backends and what the model knows."""
    out, section, inner = {"services": {}, "pools": {}}, None, None
    for line in text.splitlines():
        if match := re.match(r' *# from backends_file: backend "(.*?)" \{(.*)\}$', line):
            said = re.findall(r'(\w+) = "?([^" ]*)"?', match[2])
            section["backends"][match[1]] = {
                key: value for key, value in said
                if key == "address" or DEFAULTS["backend"].get(key, value) != value}
        elif match := re.match(r'( *)(service|pool|backend) "(.*)" \{', line):
            kind, name = match[2], match[3]
            if kind == "backend":
                inner = section["backends"].setdefault(name, {})
            else:
                section = out[f"{kind}s"].setdefault(name, {"backends": {}} if kind == "pool"
                                                     else {})
                inner = None
        elif line == "    }":
            inner = None
        elif line == "}":
            section = None
        elif section is not None and (match := re.match(r" +(\w+) = \"?([^\"]*)\"?$", line)):
            kind = "backend" if inner is not None else \
                "pool" if "backends" in section else "service"
            if match[1] in DEFAULTS[kind] or match[1] in ("address", "pool"):
                if DEFAULTS[kind].get(match[1]) != match[2]:
                    (section if inner is None else inner)[match[1]] = match[2]
    return out


def describe(told, wanted):
    """The difference only."""
    if isinstance(told, dict) and isinstance(wanted, dict):
        parts = [f"{key}: {describe(told.get(key, 'nothing'), wanted.get(key, 'nothing'))}"
                 for key in {**told, **wanted} if told.get(key) != wanted.get(key)]
        return "{" + "; ".join(parts) + "}"
    return f"told {told!r}, not {wanted!r}"


# --- what is drawn ---

def draw_pool(storm):
    return storm.random.choices(SERVICES, (4, 4, 2, 1))[0]


def draw_backend(storm, pool_name, only_guests=False):
    names = [name for name in storm.expected.config()["pools"][pool_name]["backends"]
             if name != TAG and (guest(name) or not only_guests)]
    return storm.random.choice(names) if names else "nobody"


def add(storm):
    pool_name = draw_pool(storm)
    names = ["g0", "g1", "g2", "g3", "f0", "x", "n1", "n22"]
    if pool_name in ("firm", "loose"):  # where others stay, to be tried after it
        names.append("dead")
    name = storm.random.choice(names)
    settings = {"address": storm.address(pool_name, name)}
    if storm.random.random() < 0.5:
        settings["weight"] = str(storm.random.randint(1, 20))
    words = " ".join(f"{option}={value}" for option, value in settings.items()
                     if option != "address")
    storm.command(f"add backend {pool_name} {name} {settings['address']} {words}".rstrip(),
                  lambda: storm.expected.add(pool_name, name, settings))


def remove(storm):
    pool_name = draw_pool(storm)
    name = draw_backend(storm, pool_name, only_guests=True)
    within = "" if pool_name == "firm" else storm.random.choice(["", " within=1s", " within=1h"])
    force = pool_name == "idle" and storm.random.random() < 0.5
    storm.command(f"remove backend {pool_name} {name}{within}",
                  lambda: storm.expected.remove(pool_name, name, force), force)


def set_backend(storm):
    pool_name = draw_pool(storm)
    options = {}
    for option in storm.random.sample(["weight", "max_connections", "admin", "health"], 2)[
            :storm.random.randint(1, 2)]:
        options[option] = {
            "weight": str(storm.random.choice([0, 1, 2, 5, 100])),
            "max_connections": str(storm.random.choice([0, 500, 900])),
            "admin": storm.random.choice(["ready", "drain", "maintenance"]),
            "health": storm.random.choice(["up", "down", "auto"])}[option]
    takes_away = options.get("weight") == "0" or options.get("health") == "down" \
        or options.get("admin", "ready") != "ready"
    name = draw_backend(storm, pool_name, only_guests=takes_away and pool_name != "idle")
    force = pool_name == "idle" and storm.random.random() < 0.5
    time_words = storm.random.choices(["", " for=1h"], (4, 1))[0]
    words = " ".join(f"{option}={value}" for option, value in options.items())
    where = (None, pool_name, name)
    storm.command(f"set backend {pool_name} {name} {words}{time_words}",
                  lambda: storm.expected.set(where, options, time_words != "", force), force)


def set_for_a_moment(storm):
    """And waits for its end. What was set for an hour is reset before, as the model knows no time."""
    if any(record.for_a_time for record in storm.expected.records.values()):
        return reset(storm, "all")
    pool_name = draw_pool(storm)
    name = draw_backend(storm, pool_name)
    value = str(storm.random.randint(2, 99))
    if storm.command(f"set backend {pool_name} {name} weight={value} for=200ms",
                     lambda: storm.expected.set((None, pool_name, name), {"weight": value}, True)):
        wait_for(lambda: not any(row["until_wall_ms"] for row in
                                 storm.daemon.ctl_json("show diff")["overrides"]),
                 what="the end of for=")
        storm.expected.expire()


def set_admin(storm):
    verb, admin = storm.random.choice([("drain", "drain"), ("ready", "ready"),
                                       ("maintain", "maintenance")])
    pool_name = draw_pool(storm)
    name = draw_backend(storm, pool_name, only_guests=verb != "ready" and pool_name != "idle")
    more = ""
    if storm.random.random() < 0.2:
        pool_name, name = "*", storm.random.choice(["g0", "g1", "x", "a", "nobody"])
    elif pool_name != "firm" and verb == "drain":
        more = storm.random.choice(["", " within=1s", " within=1h", " within=0s"])
    elif pool_name != "firm" and verb == "maintain":
        more = storm.random.choice(["", " close=true", " close=true within=1s"])
    force = pool_name == "idle" and storm.random.random() < 0.5
    storm.command(f"{verb} backend {pool_name} {name}{more}", lambda: storm.expected.set(
        (None, pool_name, name), {"admin": admin}, False, force,
        deadline=verb == "drain" and bool(more)), force)


def set_pool(storm):
    pool_name = draw_pool(storm)
    options = storm.random.choice([
        {"scheduler": storm.random.choice(SCHEDULERS)},
        {"queue": str(storm.random.choice([0, 10, 100]))},
        {"queue_timeout": storm.random.choice(["5s", "9s"])},
        {"scheduler": storm.random.choice(SCHEDULERS), "queue": "50"}])
    words = " ".join(f"{option}={value}" for option, value in options.items())
    storm.command(f"set pool {pool_name} {words}",
                  lambda: storm.expected.set((None, pool_name, None), options))


def pause(storm):
    """firm's clients wait for a few edits; idle's do not matter."""
    pool_name = storm.random.choice(["firm", "idle"])
    paused = read(storm.expected.config()["pools"][pool_name], "pool", "paused") == "true"
    more = " within=1s" if pool_name == "idle" and not paused else ""
    verb = "resume" if paused else "pause"
    if pool_name == "firm" and not paused:
        storm.resume_in = 3
    storm.command(f"{verb} pool {pool_name}{more}", lambda: storm.expected.set(
        (None, pool_name, None), {"paused": "false" if paused else "true"},
        deadline=bool(more)))


def set_service(storm):
    kind = storm.random.random()
    if kind < 0.6:
        options, name = {"pool": storm.random.choice(["loose", "spare"])}, "loose"
    elif kind < 0.8:
        options, name = {"pool": storm.random.choice(["idle", "loose", "spare"])}, "idle"
    else:
        options, name = {"admin": storm.random.choice(["ready", "drain", "maintenance"])}, "idle"
    force = name == "idle" and storm.random.random() < 0.5
    option, = options
    storm.command(f"set service {name} {option}={options[option]}",
                  lambda: storm.expected.set((name, None, None), options, False, force), force)


def close_sessions(storm):
    name = draw_backend(storm, "loose", only_guests=True)
    storm.done.append(f"close sessions backend=loose/{name}")
    if name != "nobody":
        storm.daemon.ctl(f"close sessions backend=loose/{name} over="
                         + storm.random.choice(["0s", "100ms", "1s"]))


def reset(storm, what=None):
    what = what or storm.random.choices(["backend", "pool", "service", "all"], (6, 3, 2, 1))[0]
    pool_name = draw_pool(storm)
    name = draw_backend(storm, pool_name)
    if what == "backend" and storm.expected.records:
        keys = [key for key in storm.expected.records if key[3]] or [(0, 0, pool_name, name)]
        pool_name, name = storm.random.choice(keys)[2:4]
    if what == "all" or (what, pool_name) == ("pool", "firm"):
        storm.resume_in = 0  # that ended the pause
    service_name = storm.random.choice(SERVICES)
    words, is_meant = {
        "backend": (f"reset backend {pool_name} {name}", lambda key: key[2:4] == (pool_name, name)),
        "pool": (f"reset pool {pool_name}", lambda key: key[2] == pool_name),
        "service": (f"reset service {service_name}", lambda key: key[1] == service_name),
        "all": ("reset all", lambda key: True)}[what]
    def change():
        if what == "backend" and name == "nobody":
            raise Refused(name)
        storm.expected.reset(is_meant, force=what == "all")
    storm.command(words, change, force=what == "all")


# --- files ---

def change_file(storm):
    """A new file, from the one that runs: guests come, go and change; those that stay get other
    weights."""
    main = copy.deepcopy(storm.main)
    for name, section in main["pools"].items():
        if storm.random.random() < 0.3:
            section["scheduler"] = storm.random.choice(SCHEDULERS)
        for backend in list(section["backends"].values()):
            if storm.random.random() < 0.2:
                backend["weight"] = str(storm.random.randint(1, 50))
        for inner in ("g0", "g1", "g2", "n1"):
            if name in ("firm", "loose") and storm.random.random() < 0.3:
                if section["backends"].pop(inner, None) is None:
                    section["backends"][inner] = {"address": storm.address(name, inner)}
            backend = section["backends"].get(inner)
            if backend and storm.random.random() < 0.1:
                backend["admin"] = storm.random.choice(["ready", "drain", "maintenance"])
    return main


def take(storm, main, reply):
    if reply is None:
        return False
    storm.main = main
    storm.kept[reply["generation"]] = main
    return True


def reload(storm, confirm=""):
    main = change_file(storm) if storm.random.random() < 0.9 else storm.main
    storm.daemon.write(storm.text(main))
    before = storm.main
    reply = storm.command(f"reload{confirm}",
                          lambda: storm.expected.reload(storm.whole(main), bool(confirm)))
    if take(storm, main, reply) and confirm and storm.returns is None:
        storm.returns = before


def reload_confirm(storm):
    """To be confirmed, and then what becomes of it, now or some edits later."""
    if storm.returns is None:
        return reload(storm, " confirm=1h")
    if storm.random.random() < 0.5:
        storm.command("confirm", storm.expected.confirm)
    else:
        main = storm.returns
        reply = storm.command("rollback",
                              lambda: storm.expected.roll_back(storm.whole(main)))
        if not take(storm, main, reply):
            return
    storm.returns = None


def rollback(storm):
    rows = [row for row in storm.daemon.ctl_json("show configs")["configs"]
            if not row["runs"] and not row["unconfirmed"]]
    if not rows:
        return storm.refuse("rollback 4000000")
    generation = storm.random.choice(rows)["generation"]
    main = storm.kept[generation]
    reply = storm.command(f"rollback {generation}",
                          lambda: storm.expected.roll_back(storm.whole(main)))
    if take(storm, main, reply):
        storm.returns = None
    return None


BAD_FILES = (
    lambda good: good + 'pool "more" {', lambda good: good + "nonsense", lambda good: "",
    lambda good: good + "}", lambda good: good.replace("scheduler", "schedluer", 1) + "x = 1\n",
    lambda good: good + 'service "m" { listen = { "127.0.0.1:0" } pool = "none" }\n',
    lambda good: good + 'service "m" { pool = "firm" }\n',
    lambda good: good + 'pool "firm" { }\n',
    lambda good: good + 'pool "m" { backend "a" { address = "127.0.0.1" } }\n',
    lambda good: good + 'pool "m" { backend "a" { address = "127.0.0.1:1" weight = 65536 } }\n',
    lambda good: good + 'pool "m" { backend "a b" { address = "127.0.0.1:1" } }\n',
    lambda good: good + 'pool "m" { notify = "${SLUICE_IS_NOT_SET}" }\n',
    lambda good: good + 'pool "m" { notify = "${file:/none/x}" }\n',
    lambda good: good + 'include("/none/x.conf")\n',
    lambda good: good + 'service "m" { listen = { "192.0.2.7:0" } freebind = false pool = "idle" }',
    lambda good: good + 'service "m" { listen = { "%s" } pool = "idle" }\n',
    lambda good: good + "\0\xff", lambda good: good + 'pool "m" { backends_file = "/none" }\n')


def reload_bad(storm):
    bad = storm.random.choice(BAD_FILES)(storm.text(change_file(storm)))
    storm.done.append(f"a bad file, …{bad[-80:]!r}")
    storm.daemon.write(bad.replace("%s", storm.held))
    storm.refuse(storm.random.choice(["reload", "reload confirm=1h"]))
    if "listen = {" not in bad[-80:]:  # which is tried by a reload only
        storm.refuse("check config")


def change_list(storm):
    """A backends_file: good, bad, or empty."""
    name = storm.random.choice(LISTS)
    kind = storm.random.random()
    old = storm.lists[name]
    names = {"firm": ["f0", "f1", "f2"], "spare": ["x", "y", "z", "zz"]}[name]
    if kind < 0.3:
        bad = storm.random.choice(["z\n", "z 127.0.0.1\n", "z 127.0.0.1:1 weight=x\n",
                                   "z 127.0.0.1:1 wieght=1\n", 'z "127.0.0.1:1\n'])
        wait_event(storm, name, storm._list_text(old) + bad, "refused for")
        if storm.random.random() < 0.5:
            storm.daemon.write(storm.text(storm.main))
            storm.refuse("reload")
        return put_list(storm, name, old or storm._some(name, names[:1]))
    if kind < 0.4 and old:
        return put_list(storm, name, {})
    drawn = storm.random.sample(names, storm.random.randint(1, len(names)))
    return put_list(storm, name, storm._some(name, drawn))


def with_list(storm, name, backends):
    """The model as it is once that is taken over."""
    storm.lists[name] = backends
    after = copy.deepcopy(storm.expected)
    after.take_file(storm.whole(storm.main))
    return after


def put_list(storm, name, backends):
    """Writes what will be taken over, and waits until it is: what the daemon refused before is told
    anew only after that. What would take the last one away is refused, and the old one follows."""
    if backends:
        tag = {"address": storm.dead, "weight": "0", "max_connections": str(storm.counter + 1)}
        backends = {**backends, TAG: tag}
    old = storm.lists[name]
    after = with_list(storm, name, backends)
    if takers(storm.expected.config(), name) and not takers(after.config(), name):
        storm.lists[name] = old
        wait_event(storm, name, storm._list_text(backends), "refused for")
        return put_list(storm, name, old)
    if storm.leaves_only_the_dead(after):
        storm.lists[name] = old
        storm._write_list(name, storm._list_text(old))
        return
    storm.expected = after
    wait_event(storm, name, storm._list_text(backends), "taken over")


def wait_event(storm, name, text, needle):
    storm.done.append(f"backends_file {name}: {text!r}")
    def told():
        return storm.daemon.ctl_json("show events kind=backends_file limit=30")["events"]
    before = max((row["id"] for row in told()), default=0)
    storm._write_list(name, text)
    wait_for(lambda: any(row["id"] > before and needle in row["text"] for row in told()),
             what=f"the event {needle!r}")


def check_config(storm):
    storm.daemon.write(storm.text(storm.main))
    reply = storm.command("check config", lambda: None)
    assert reply["changes"] == [], reply


def save(storm):
    """What is saved reads back to the same."""
    target = storm.folder / "saved.conf"
    storm.done.append("save")
    run([SLUICECTL, "-s", storm.daemon.control, "save", target])
    run([SLUICED, "-t", "-c", target])
    shown = parse(target.read_text())
    wanted = trim(storm.expected.config())
    for section in shown["pools"].values():  # the operator's word over health is no option of files
        for backend in section["backends"].values():
            backend.pop("health", None)
    assert shown == strip_health(wanted), describe(shown, strip_health(wanted))


def strip_health(config):
    for section in config["pools"].values():
        for backend in section["backends"].values():
            backend.pop("health", None)
    return config


def unknown(storm):
    storm.refuse(storm.random.choice([
        "rmeove backend firm s0", "remove backend firm nobody", "remove backend none s0",
        "add backend firm s0 127.0.0.1:1", "add backend firm q 127.0.0.1", "set backend firm s0",
        "add backend firm q 127.0.0.1:1 wieght=1", "set backend firm s0 weight=-1",
        "set backend firm s0 weight=1 for=0s", "set backend firm s0 weight=1 for=soon",
        "set backend firm s0 admin=out", "set backend firm s0 address=127.0.0.1:1",
        "set pool firm scheduler=best", "set pool firm retries=99", "set service firm pool=none",
        "set service firm listen=127.0.0.1:1", "drain backend firm s0 within=now",
        "maintain backend firm s0 within=1s", "close sessions", "close session 0x",
        "reset backend firm nobody", "reset pool none", "reload confirm=1ms", "rollback 0",
        "rollback 4000000000", "pause pool none", "resume pool none", "set global log_level=all",
        '"', "drain backend * nobody", "check config /etc/passwd",
        "remove backend firm s0 force more", "x" * 5000]))


EDITS = {add: 12, remove: 10, set_backend: 18, set_for_a_moment: 2, set_admin: 14, set_pool: 6,
         pause: 3, set_service: 5, close_sessions: 5, reset: 6, reload: 8, reload_confirm: 4,
         rollback: 3, reload_bad: 6, change_list: 4, check_config: 2, save: 1, unknown: 8}
