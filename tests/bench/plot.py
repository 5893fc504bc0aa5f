"""Draws what growth.py wrote: a PNG for each row, a panel for each metric, medians with a bar from
the lowest to the highest round. Needs Debian's python3-matplotlib.

plot.py FILE.json DIR
"""

import json
import os
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402: the backend is to be chosen before
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: E402

PANEL_INCHES, HEIGHT_INCHES, DPI = 4.5, 3.6, 100  # two panels are as wide as a README
MARKERS = "osD^vP"
NUDGE = 0.015  # of the axis: so that bars of the same place stand beside each other


def series_of(result, key):
    """{series: [(x, median, lowest, highest)]} of one metric."""
    found = {}
    for name, point in result["parameters"]["points"].items():
        values = [sample["metrics"][key] for sample in result["samples"].get(name, ())
                  if key in sample["metrics"]]
        if values:
            found.setdefault(point["series"], []).append(
                (point["x"], statistics.median(values), min(values), max(values)))
    return {series: sorted(points) for series, points in found.items()}


def places_of(result):
    return sorted({point["x"] for point in result["parameters"]["points"].values()})


def scale_axis(axes, places, logarithmic):
    """0 has a place of its own at the left of a logarithmic axis."""
    positive = [x for x in places if x > 0] or [1]
    if logarithmic and places[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
    elif logarithmic:
        axes.set_xscale("log")
    ticks = [x for x, after in zip(places, [*places[1:], None])
             if after is None or x == 0 or after > 1.3 * x]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def nudged(axes, x, nth, count):
    """x as it is drawn by one of count series."""
    shift = NUDGE * (nth - (count - 1) / 2)
    forward = axes.transData + axes.transAxes.inverted()
    at = forward.transform((x, 0))
    return forward.inverted().transform((at[0] + shift, at[1]))[0]


def draw_panel(axes, result, key, heading):
    found = series_of(result, key)
    places, parameters = places_of(result), result["parameters"]
    scale_axis(axes, places, parameters["logarithmic"])
    # Invisible, so that the axis has its extent before anything is moved on it.
    axes.plot(places, [0] * len(places), alpha=0, color="C0")
    axes.margins(x=0.08)
    axes.autoscale_view()
    for nth, (series, points) in enumerate(found.items()):
        xs, middles, lows, highs = zip(*points)
        axes.errorbar([nudged(axes, x, nth, len(found)) for x in xs], middles,
                      yerr=([m - low for m, low in zip(middles, lows)],
                            [high - m for m, high in zip(middles, highs)]),
                      color=f"C{nth}", marker=MARKERS[nth % len(MARKERS)], markersize=4.5,
                      linewidth=1.4, elinewidth=1, capsize=3, label=series)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(parameters["axis"])
    axes.set_ylabel(heading)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def draw(name, result, facts, folder):
    """Returns the path; None where there is nothing to be drawn."""
    metrics = [(key, heading) for key, heading in result["parameters"]["metrics"].items()
               if series_of(result, key)]
    if not metrics:
        return None
    figure, panels = plt.subplots(1, len(metrics), squeeze=False, layout="constrained",
                                  figsize=(max(6.0, PANEL_INCHES * len(metrics)), HEIGHT_INCHES))
    for axes, (key, heading) in zip(panels[0], metrics):
        draw_panel(axes, result, key, heading)
    # Axes begin at 0, so that there is room below what is drawn.
    panels[0][0].legend(loc="lower left", frameon=False, fontsize=9)
    figure.suptitle(f"{facts['date'][:10]}: medians of {facts['rounds']} × {facts['seconds']} s, "
                    "bars from the lowest to the highest", fontsize=9, color="0.35")
    path = os.path.join(folder, f"growth-{name}.png")
    # Without the date of drawing and the version, the same figures make the same file.
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return path


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip().splitlines()[-1], file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as text:
            facts = json.load(text)
        rows = facts["rows"].items()
        os.makedirs(sys.argv[2], exist_ok=True)
    except OSError as error:
        print(f"plot.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (ValueError, LookupError, TypeError, AttributeError):
        print(f"plot.py: {sys.argv[1]}: not what run.sh growth --json writes", file=sys.stderr)
        return 1
    for name, result in rows:
        if "points" in result.get("parameters", {}):
            path = draw(name, result, facts, sys.argv[2])
            print(path or f"{name}: nothing to draw", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
