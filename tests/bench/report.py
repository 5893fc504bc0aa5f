"""From samples to the table for people: medians, spreads, ratios, and every reason for doubt."""

import statistics

FOREIGN_MAX = 0.05  # of the balancer's core: more means that the machine was not ours
FULL = 0.95         # of a core


def share(samples, key):
    values = [sample[key] for sample in samples if key in sample]
    return statistics.median(values) if values else None


class Column:
    """One metric of all contenders: medians that are above 0, and what each round found."""

    def __init__(self, samples, key):
        self.by_round = {name: {sample["round"]: sample["metrics"][key] for sample in taken
                                if key in sample["metrics"]}
                         for name, taken in samples.items()}
        middle = {name: statistics.median(values.values())
                  for name, values in self.by_round.items() if values}
        self.middle = {name: value for name, value in middle.items() if value > 0}

    def ratio(self, name, peer):
        """value is of the medians; low and high are of the rounds, pairs taken near each other."""
        rounds = [value / self.by_round[peer][number]
                  for number, value in self.by_round[name].items()
                  if self.by_round[peer].get(number, 0) > 0]
        return {"peer": peer, "value": self.middle[name] / self.middle[peer],
                "low": min(rounds, default=None), "high": max(rounds, default=None)}


def ratios(row, samples):
    """Sluice over each peer, lowest peer first: {metric: {contender: [ratio]}}."""
    found = {}
    for metric in (metric for metric in row.metrics if metric.compared):
        column = Column(samples, metric.key)
        peers = sorted((one.name for one in row.contenders
                        if one.peer and one.name in column.middle), key=column.middle.get)
        ours = [one.name for one in row.contenders if one.ours and one.name in column.middle]
        if peers and ours:
            found[metric.key] = {name: [column.ratio(name, peer) for peer in peers]
                                 for name in ours}
    return found


def doubts(samples, pinned):
    """Why a line may not be what it seems; texts."""
    found = []
    errors = {}
    for sample in samples:
        for kind, count in sample["errors"].items():
            errors[kind] = errors.get(kind, 0) + count
    if errors:
        found.append("**ERRORS: " + ", ".join(f"{k} {n}" for k, n in errors.items()) + "**")
    if pinned and (share(samples, "foreign") or 0) > FOREIGN_MAX:
        found.append(f"others took {share(samples, 'foreign'):.0%} of the balancer's core")
    if (share(samples, "balancer") or 0) > FULL:
        found.append("the balancer filled its core")
    if (share(samples, "generator") or 0) + (share(samples, "origin") or 0) > FULL:
        found.append("generator and origin filled theirs")
    return found


def values_of(samples, key):
    return [sample["metrics"][key] for sample in samples if key in sample["metrics"]]


def cell(values, digits):
    """Median and spread."""
    if not values:
        return "–"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _line(contender, samples, row, pinned):
    rate = statistics.median(sample["operations"] / sample["seconds"] for sample in samples)
    shares = [share(samples, key) for key in ("balancer", "generator", "origin")]
    cells = [contender.name]
    for metric in row.metrics:
        cells.append(cell(values_of(samples, metric.key), metric.digits))
    cells.append(f"{rate:.{2 if rate < 100 else 0}f}")
    cells += ["–" if value is None else f"{value:.0%}" for value in shares]
    cells.append("; ".join(doubts(samples, pinned)) or "no errors")
    return "| " + " | ".join(cells) + " |"


def _ratio_lines(row, result):
    for metric in row.metrics:
        for name, (best, *others) in result["ratios"].get(metric.key, {}).items():
            spread = "" if best["low"] is None else f" ({best['low']:.2f}–{best['high']:.2f})"
            rest = "".join(f"; / {other['peer']} {other['value']:.2f}" for other in others)
            yield (f"- {metric.heading}: {name} / {best['peer']} **{best['value']:.3f}**"
                   f"{spread}{rest}")


def _detail_lines(result):
    for kind, by_name in result.get("detail", {}).items():
        yield f"\nPer operation, counted by {kind} in separate runs:\n"
        for name, counts in by_name.items():
            total = f"{sum(counts.values()):.2f} calls: " if kind == "strace" else ""
            yield f"- {name}: {total}" + ", ".join(f"{what} {number:.3g}"
                                                   for what, number in list(counts.items())[:9])


def table(row, result, pinned):
    """Markdown of one row. result: "samples", "failures", "ratios", and perhaps "detail"."""
    if "skipped" in result:
        return f"### {row.title}\n\nSkipped: {result['skipped']}.\n"
    headings = [*(metric.heading for metric in row.metrics), f"{row.unit}/s", "balancer core",
                "generator", "origin", "notes"]
    lines = [f"### {row.title}", "", "| | " + " | ".join(headings) + " |",
             "| --- |" + " --- |" * len(headings)]
    for contender in row.contenders:
        samples = result["samples"].get(contender.name)
        if samples:
            lines.append(_line(contender, samples, row, pinned))
        for failure in result["failures"].get(contender.name, ()):
            lines.append(f"| {contender.name} | **FAILED: {failure}** |")
    lines += ["", *_ratio_lines(row, result), *_detail_lines(result), ""]
    return "\n".join(lines)


def head(facts, title="Sluice beside its peers", checks=(
        "HAProxy's includes its health checks; Sluice's checks run in its monitor, told apart; "
        "nginx has none for TCP.")):
    lines = [f"# {title}", "",
             f"{facts['date']}; {facts['rounds']} rounds of {facts['seconds']} s, interleaved; "
             "each cell is the median (lowest–highest).", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts["machine"].items()]
    lines += [f"- pinning: {facts['pinning']}", f"- network: {facts['network']}", "",
              f"CPU is that of the processes that carry the traffic. {checks} Shares are of one "
              "core; direct is without a balancer.", ""]
    return "\n".join(lines)


def tail(configurations):
    lines = ["## Configurations, as of the first row that used each", ""]
    for name, text in configurations.items():
        lines += [f"{name}:", "```", text.rstrip(), "```", ""]
    return "\n".join(lines)
