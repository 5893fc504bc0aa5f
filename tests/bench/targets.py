"""What has to come out of a measurement, and whether it did: must and aim of each target."""

import statistics


class Target:
    """One thing that has to come out: value, of a row's result, gives a figure or None."""

    def __init__(self, text, value, must, aim=None, digits=0, at_least=False):
        self.text, self.value, self.must, self.aim = text, value, must, aim
        self.digits, self.at_least = digits, at_least

    def _holds(self, value, bound):
        if value is None or bound is None:
            return None
        return value >= bound if self.at_least else value <= bound

    def judge(self, result):
        """result: of one row."""
        value = self.value(result)
        return {"text": self.text, "value": value, "must": self.must, "aim": self.aim,
                "at_least": self.at_least, "digits": self.digits,
                "met": self._holds(value, self.must), "aim_met": self._holds(value, self.aim)}


def median_of(result, name, key):
    values = [sample["metrics"][key] for sample in result["samples"].get(name, ())
              if key in sample["metrics"]]
    return statistics.median(values) if values else None


def ratio_target(text, key, name, peer, must, aim=None):
    """Of medians, beside one other."""
    def value(result):
        found = [one["value"] for one in result["ratios"].get(key, {}).get(name, ())
                 if one["peer"] == peer]
        return found[0] if found else None
    return Target(text, value, must, aim, 3)


def cost_target(name, peers, must, aim=None, work=""):
    """CPU, of medians, beside the cheapest of the peers."""
    def value(result):
        found = [one["value"] for one in result["ratios"].get("cpu", {}).get(name, ())
                 if one["peer"] in peers]
        return max(found) if len(found) == len(peers) else None
    beside = f"the better of {' and '.join(peers[:2])}" if len(peers) == 2 else (
        f"the best of {', '.join(peers)}" if len(peers) > 2 else peers[0])
    return Target(f"{work}{name} / {beside}: CPU", value, must, aim, 3)


# --- for people ---


def bound_text(target, key):
    if target[key] is None:
        return "–"
    return f"{'≥' if target['at_least'] else '≤'} {target[key]:g}"


def verdict(target):
    if target["met"] is None:
        return "**not measured**"
    if not target["met"]:
        return "**missed**"
    return {None: "met", False: "met, not the aim", True: "met, the aim too"}[target["aim_met"]]


def table(targets, elsewhere=()):
    """Markdown. targets: as judge() gives them; elsewhere: (text, command that measures it)."""
    lines = ["| target | measured | must | aim | |", "| --- |" + " --- |" * 4]
    for target in targets:
        measured = "–" if target["value"] is None else f"{target['value']:.{target['digits']}f}"
        lines.append("| " + " | ".join([target["text"], measured, bound_text(target, "must"),
                                        bound_text(target, "aim"), verdict(target)]) + " |")
    lines += [f"| {text} | – | – | – | `{command}` |" for text, command in elsewhere]
    return "\n".join([*lines, ""])
