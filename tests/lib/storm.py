"""What must be after a change by command or a reload, worked out by rules of its own: the test's
model of a configuration, what of it the file says, and what the operator says against it.

A file is {"services": {name: {option: value}}, "pools": {name: {option: value, "backends": {name:
{option: value}}}}}, with all values as text. Only what tests use is known here.
"""

import copy
import dataclasses

DEFAULTS = {
    "backend": {"weight": "1", "max_connections": "0", "admin": "ready", "health": "auto"},
    "pool": {"scheduler": "wlc", "queue": "0", "queue_timeout": "5s", "paused": "false"},
    "service": {"admin": "ready"},
}
ADMIN_ORDER = ("ready", "drain", "maintenance")


@dataclasses.dataclass
class Record:
    """One override; before: what stands again when its time is over."""
    value: str = None
    file_value: str = None
    before: "Record" = None
    for_a_time: bool = False
    has_deadline: bool = False
    settings: dict = None


class Refused(Exception):
    """The daemon must refuse it."""


def read(section, kind, option):
    return section.get(option, DEFAULTS[kind].get(option, ""))


def find(config, key):
    """The section that a record's key is about, and its kind; (None, kind): there is none."""
    _, service, pool, backend, _ = key
    if service:
        return config["services"].get(service), "service"
    section = config["pools"].get(pool)
    if backend is None:
        return section, "pool"
    return (section or {"backends": {}})["backends"].get(backend), "backend"


def takes(backend):
    return (read(backend, "backend", "admin") == "ready" and backend.get("health") != "down"
            and backend.get("weight") != "0")


def takers(config, pool):
    """Names of the backends that new clients may get, all checks apart."""
    return {name for name, backend in config["pools"][pool]["backends"].items() if takes(backend)}


class Expected:
    """The file that was taken last, and the records. Keys: (kind, service, pool, backend,
    option), None for what does not apply."""

    def __init__(self, file):
        self.file = copy.deepcopy(file)
        self.records = {}
        self.waits = False  # to be confirmed
        self.parked = {}  # records that were given up meanwhile, and return with what returns

    def said(self):
        """The records as they hold for what would return."""
        records = dict(self.records)
        for key, record in self.parked.items():
            if key not in records:
                records[key] = record
            elif key[0] == "set":
                records[key] = dataclasses.replace(records[key], file_value=record.file_value)
        return records

    def config(self):
        """What runs."""
        config = copy.deepcopy(self.file)
        for key, record in self.records.items():
            backends = config["pools"][key[2]]["backends"] if key[2] else None
            if key[0] == "removed":
                backends.pop(key[3])
            elif key[0] == "added":
                backends[key[3]] = dict(record.settings)
        for key, record in self.records.items():
            section, _ = find(config, key)
            if key[0] == "set" and section is not None:  # a removal that returned may be in the way
                section[key[4]] = record.value
        return config

    def config_then(self):
        """What runs once every for= has ended."""
        other = copy.deepcopy(self)
        other.expire()
        return other.config()

    def overrides(self):
        """The records as a reply lists them: {(…key…): (value, file_value)}."""
        return {key: (record.value if key[0] == "set" else None,
                      None if key[0] == "added" else record.file_value)
                for key, record in self.records.items()}

    # --- commands: each may raise Refused, and then nothing is changed ---

    def _try(self, change, force=False):
        old = copy.deepcopy(self.records)
        before, then = self.config(), self.config_then()
        try:
            change()
            if not force:
                check_guard(before, self.config())
                check_pools(then, self.config_then())
        except BaseException:
            self.records = old
            raise

    def set(self, where, options, for_a_time=False, force=False, deadline=False):
        """where: (service, pool, backend); pool "*": wherever there is one of that name."""
        service, pool, backend = where
        def change():
            pools = [name for name, section in self.file["pools"].items()
                     if backend in self.config()["pools"][name]["backends"]
                     ] if pool == "*" else [pool]
            if not pools:
                raise Refused(backend)
            for one in pools:
                for option, value in options.items():
                    self._set_one(("set", service, one, backend, option), value, for_a_time,
                                  deadline)
            self._forget_agreeing()
        self._try(change, force)

    def _set_one(self, key, value, for_a_time, deadline):
        section, kind = find(self.config(), key)
        if section is None:
            raise Refused(key)
        known = self.records.get(key)
        said = known.file_value if known else read(section, kind, key[4])
        before = None
        if for_a_time and known:
            before = known.before if known.for_a_time else known
        self.records[key] = Record(value, said, before, for_a_time, deadline)

    def _forget_agreeing(self):
        for key, record in list(self.records.items()):
            if key[0] == "set" and record.value == record.file_value and not record.before \
                    and not record.has_deadline:
                del self.records[key]

    def add(self, pool, name, settings):
        def change():
            if name in self.config()["pools"][pool]["backends"]:
                raise Refused(name)
            gone = ("removed", None, pool, name, None)
            if gone in self.records:
                in_file = self.file["pools"][pool]["backends"][name]
                if any(in_file.get(option, read({}, "backend", option)) != value
                       for option, value in settings.items()):
                    raise Refused(name)
                del self.records[gone]
            else:
                self.records["added", None, pool, name, None] = Record(settings=dict(settings))
        self._try(change)
        self._forget_parked(lambda key: key[2:4] == (pool, name))

    def remove(self, pool, name, force=False):
        def change():
            if name not in self.config()["pools"][pool]["backends"]:
                raise Refused(name)
            added = ("added", None, pool, name, None) in self.records
            self._forget(lambda key: key[2:4] == (pool, name))
            if not added:
                address = self.file["pools"][pool]["backends"][name]["address"]
                self.records["removed", None, pool, name, None] = Record(file_value=address)
        self._try(change, force)
        self._forget_parked(lambda key: key[2:4] == (pool, name))

    def reset(self, is_meant, force=False):
        self._try(lambda: self._forget(is_meant), force)
        self._forget_parked(is_meant)

    def _forget(self, is_meant):
        self.records = {key: record for key, record in self.records.items() if not is_meant(key)}

    def _forget_parked(self, is_meant):
        self.parked = {key: one for key, one in self.parked.items() if not is_meant(key)}

    def expire(self):
        """The end of every for=."""
        for key, record in list(self.records.items()):
            if record.for_a_time and record.before:
                self.records[key] = record.before
            elif record.for_a_time:
                del self.records[key]
        self._forget_agreeing()

    def reload(self, file, confirm=False):
        before = self.records
        self.waits |= confirm
        self.take_file(file)
        for key, record in before.items():
            if self.waits and key not in self.records:
                self.parked.setdefault(key, record)

    def roll_back(self, file):
        self.records = self.said()
        self.take_file(file)
        self.confirm()

    def confirm(self):
        self.waits = False
        self.parked = {}

    def take_file(self, file):
        """A reload: what was said about a value that the file has changed is given up."""
        self.file = copy.deepcopy(file)
        def stands(key, record):
            section, kind = find(file, key)
            if key[0] == "removed":
                return section is not None and section["address"] == record.file_value
            if key[0] == "added":
                return key[2] in file["pools"] and section is None
            if section is None:
                return ("added", *key[1:4], None) in self.records
            return read(section, kind, key[4]) == record.file_value
        for kind in "removed", "added", "set":
            self.records = {key: record for key, record in self.records.items()
                            if key[0] != kind or stands(key, record)}


def check_pools(before, after):
    for pool in after["pools"]:
        if takers(before, pool) and not takers(after, pool):
            raise Refused(f"the last eligible one of {pool}")


def check_guard(before, after):
    """Refuses what takes the last one away who takes new clients, or a service."""
    check_pools(before, after)
    for name, service in after["services"].items():
        was = before["services"][name]
        now, then = (ADMIN_ORDER.index(read(one, "service", "admin")) for one in (was, service))
        if then > now:
            raise Refused(f"service {name} is taken away")
        if was["pool"] != service["pool"] and takers(before, was["pool"]) \
                and not takers(after, service["pool"]):
            raise Refused(f"nobody is in {service['pool']}")
