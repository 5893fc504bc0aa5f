"""From the figures of million.py to tables for people, and to what is wrong with them."""

from million_memory import GIB
from million_site import KERNEL_ERRORS

MIB = 1 << 20
TIME_ROWS = 12
SLAB_LEAST = 16  # bytes a connection; caches that have grown by less are not shown
PHASES = {"open": "establishing", "ask": "one request each", "close": "closing"}
PEER_ERRORS = ("clients_failed", "clients_reset", "clients_ended_early", "messages_wrong",
               "backends_reset", "packets_bad", "packets_stray", "packets_unsent")
TARGETS = (  # key, text, must, aim, digits
    ("own_each", "ours per connection held, bytes", 700, 550, 0),
    ("own_gb", "ours in total, at a million, GB", 1.2, 0.9, 2),
)


# --- what must agree ---


def account_of(service):
    """What Sluice counts, in one flat dictionary without zeros."""
    found = {key: service[key] for key in ("connections_total", "connections_refused",
                                           "connections_active", "bytes_in", "bytes_out")}
    for kind in ("refused_by", "ended_by"):
        found |= {f"{kind} {reason}": count for reason, count in service[kind].items() if count}
    return found


def agreement(facts, sizes):
    """Rows of (what, expected, counted): by Sluice at the end, by the peers, by the kernel."""
    count, asked = facts["plan"]["connections"], facts["asked"]
    of_sluice = {"connections_total": count, "ended_by client_fin": count,
                 "bytes_in": asked * sizes["request"], "bytes_out": asked * sizes["answer"]}
    rows = [(f"Sluice: {what}", of_sluice.get(what, 0), number)
            for what, number in {"ended_by client_fin": 0, **facts["account"]}.items()]
    rows += [(f"{side}: {what}", expected, facts["peers"][f"{side}_{what}"])
             for side, what, expected in (
                 ("clients", "opened", count), ("backends", "opened", count),
                 ("backends", "asked", asked), ("clients", "answered", asked),
                 ("clients", "closed", count), ("backends", "closed", count))]
    rows += [(name.replace("_", ": ", 1), 0, facts["peers"][name]) for name in PEER_ERRORS]
    rows += [(f"kernel: {name}", 0, facts["kernel"][name])
             for name in KERNEL_ERRORS if name in facts["kernel"]]
    return [*rows, ("device: dropped", 0, facts["device_drops"])]


def disagreement(rows):
    return [f"{what}: {counted}, not {expected}"
            for what, expected, counted in rows if counted != expected]


# --- tables ---


def _table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " --- |" * (len(headings) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])


def head(facts):
    plan = facts["plan"]
    lines = [f"# {plan['connections']:,} connections through Sluice", "", f"{facts['date']}", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts["machine"].items()]
    lines += [f"- workers: {plan['workers']}, for at most {plan['per_worker']:,} sessions each on "
              f"average (RLIMIT_NOFILE {plan['descriptors']:,})",
              f"- backends: {plan['backends']}",
              "- namespace: " + ", ".join(f"{name} {value}"
                                          for name, value in facts["settings"].items())]
    lines += [f"- {what}: {number:,} connections" for what, number in facts["bounds"].items()]
    return "\n".join([*lines, ""])


def phases_table(facts):
    phases, idle = facts["phases"], facts["idle_workers_share"]
    rows = [(PHASES[name], f"{phase['count']:,}", f"{phase['seconds']:.2f}",
             f"{phase['count'] / phase['seconds']:,.0f}",
             *(f"{1e6 * phase[key] / phase['count']:.1f}" for key in ("sluice_s", "peers_s")))
            for name, phase in phases.items()]
    return "## Phases\n\n" + _table(
        ["", "connections", "seconds", "per second", "workers, CPU µs each", "peers, CPU µs each"],
        rows) + ("\nThe kernel handles what the peers send in their time, so theirs has the "
                 "receiving half of Sluice's TCP in it. While all were held and silent, the "
                 f"workers took {idle:.1%} of a core.\n")


def thinned(samples):
    """At most TIME_ROWS of them, evenly, the last one always."""
    step = -(-len(samples) // TIME_ROWS)
    return samples[::-1][::step][::-1]


def time_line_table(samples):
    rows, before = [], (0.0, 0, 0.0)
    for seconds, opened, sluice_s in thinned(samples):
        passed, more = seconds - before[0], opened - before[1]
        rows.append((f"{seconds:.1f}", f"{opened:,}", f"{more / passed:,.0f}" if passed else "–",
                     f"{1e6 * (sluice_s - before[2]) / more:.1f}" if more else "–"))
        before = (seconds, opened, sluice_s)
    return "## Establishing\n\n" + _table(
        ["seconds", "through to a backend", "per second", "workers, CPU µs each"], rows)


def memory_table(usages, count):
    first = next(iter(usages.values()))

    def row(text, value, each=True):
        def cell(usage):
            size = value(usage)
            grown = f" ({(size - value(first)) / count:+,.0f})" if each else ""
            return f"{size / MIB:,.1f}{grown if usage is not first else ''}"
        return (text, *(cell(usage) for usage in usages.values()))

    def number(key):
        return (f"TCP sockets: {key}",
                *(f"{usage.sockets.get(key, 0):,}" for usage in usages.values()))

    rows = [row("ours (PSS of all processes)", lambda usage: usage.own_bytes),
            row("kernel: slabs", lambda usage: usage.slab_bytes),
            row("kernel: page tables, stacks, vmalloc", lambda usage: usage.tables_bytes),
            row("available on the machine", lambda usage: usage.available_bytes),
            number("inuse"), number("tw")]
    return ("## Memory, MiB (in brackets: bytes per connection since the start)\n\n"
            + _table(["", *usages], rows))


def slabs_table(usages, count):
    grown = {name: size for name, size in usages["held"].grown_slabs(usages["start"]).items()
             if size >= SLAB_LEAST * count}
    if not grown:
        return ""
    rows = [(name, f"{size / count:,.0f}") for name, size in grown.items()]
    return ("## Kernel caches that grew, other programs' share included\n\n"
            + _table(["cache", "bytes per connection"], rows))


def _verdict(value, must, aim):
    if value > must:
        return "**missed**"
    return "met, the aim too" if value <= aim else "met, not the aim"


def targets_table(results):
    rows = [(text, f"{results[key]:.{digits}f}", f"≤ {must:g}", f"≤ {aim:g}",
             _verdict(results[key], must, aim))
            for key, text, must, aim, digits in TARGETS if key in results]
    return "## Targets\n\n" + _table(["target", "measured", "must", "aim", ""], rows)


def results_of(usages, count):
    """The figures that have targets, and those that one would quote."""
    start, held, closed = (usages[key] for key in ("start", "held", "closed"))
    results = {
        "own_each": (held.own_bytes - start.own_bytes) / count,
        "own_total_bytes": held.own_bytes,
        "kernel_each": held.of_sockets(start) / count,
        "all_each": (start.available_bytes - held.available_bytes) / count,
        "own_kept_bytes": closed.own_bytes - start.own_bytes,
    }
    if count >= 1000000:
        results["own_gb"] = held.own_bytes / 1e9
    return results


def accounts_table(rows):
    return "## Accounts\n\n" + _table(
        ["", "expected", "counted"],
        [(what, f"{expected:,}", f"{counted:,}" if counted == expected else f"**{counted:,}**")
         for what, expected, counted in rows])


def summary(facts):
    results = facts["results"]
    return (f"{facts['plan']['connections']:,} connections in "
            f"{facts['phases']['open']['seconds']:.1f} s: {results['own_each']:.0f} bytes of ours "
            f"each ({results['own_total_bytes'] / GIB:.2f} GiB in all), "
            f"{results['kernel_each']:.0f} of the kernel's; "
            + ("no errors" if not facts["errors"] else f"{len(facts['errors'])} errors"))
