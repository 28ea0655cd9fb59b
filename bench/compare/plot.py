#!/usr/bin/env python3
"""Draws what bench/compare measured: bench/compare/plot.py FOLDER

From FOLDER/compare.json, as PNG and SVG: throughput.* (producing and consuming) and latency.* (single
records, memory). A panel for each workload, a bar for each contender: its median, and a line from its
least to its most. Panels have scales of their own, all from zero.

From FOLDER/curves.json: curves.*, a row for each thing that was varied, on a logarithmic axis; medians and
a band from the least to the most. Scales begin at zero, but those of times are
logarithmic where they differ much.
"""
import json
import math
import pathlib
import statistics
import sys
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import ticker  # noqa: E402

COLOURS = {
    "Corelog": "#1f5fa8",
    "Corelog, plain client": "#7fa8d9",
    "bare": "#9aa5b1",
    "bare echo": "#c5ccd3",
    "Redis Streams": "#b0471c",
    "NATS JetStream": "#2e8b57",
    "RabbitMQ streams": "#d98e04",
}
OTHER = "#7b5ea7"
UNITS = {
    "mib_per_s": ("MiB/s", 1),
    "records_per_s": ("thousand records/s", 1e3),
    "p50_us": ("µs, median (dark) and 99th percentile (light)", 1),
    "resident_mib": ("MiB", 1),
}
COLUMNS = 2
# Times that differ by more than this are drawn on a logarithmic scale.
LOGARITHMIC_FROM = 20


def main():
    folder = pathlib.Path(sys.argv[1])
    if (folder / "compare.json").exists():
        comparison(folder)
    if (folder / "curves.json").exists():
        curves(folder)


def comparison(folder):
    results = json.loads((folder / "compare.json").read_text())
    rates = [row for row in results["workloads"] if row["metric"].endswith("_per_s")]
    others = [row for row in results["workloads"] if row not in rates]
    draw(results, rates, folder / "throughput", "Throughput: more is better")
    draw(results, others, folder / "latency", "Latency (closed loops, but where it says open) and memory: less is better")


def draw(results, workloads, path, title):
    panels = [(row, bars(results, row)) for row in workloads]
    panels = [(row, found) for row, found in panels if found]
    if not panels:
        return
    rows = -(-len(panels) // COLUMNS)
    heights = [
        max(len(found) for _, found in panels[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(rows)
    ]
    figure, axes = plt.subplots(
        rows,
        COLUMNS,
        figsize=(13, sum(0.42 * bars + 1.25 for bars in heights) + 0.8),
        height_ratios=[0.42 * bars + 0.4 for bars in heights],
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(hspace=0.03)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (row, found) in zip(axes.flat, panels):
        panel(axis, row, found)
    keep(figure, path, results, title)


def keep(figure, path, results, title):
    machine = results["machine"]
    about = f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}, {machine['date'][:10]}"
    rounds = "1 round" if results["rounds"] == 1 else f"{results['rounds']} rounds"
    shortened = ", SHORTENED: no figure counts" if results["is_quick"] else ""
    figure.suptitle(f"{title}\n{about}; {rounds}{shortened}", fontsize=11)
    for ending in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{ending}"), dpi=110)
    plt.close(figure)


def bars(results, row):
    """For each contender of a workload: its name, the values of the metric, the 99th percentiles."""
    metric = row["metric"]
    found = []
    names = [who["name"] for who in results["contenders"]] + ["bare echo"]
    for name in names:
        measured = [
            one
            for one in results["measured"]
            if one["workload"] == row["id"] and one["contender"] == name
        ]
        figures = [one["figures"] if metric == "p50_us" else one for one in measured]
        values = [one[metric] for one in figures if one[metric] is not None]
        tails = [one["p99_us"] for one in figures if metric == "p50_us" and one["p99_us"] is not None]
        if values:
            found.append((name, values, tails))
    return found


def panel(axis, row, found):
    unit, divisor = UNITS[row["metric"]]
    # What is drawn: the greatest of the tails is not, and may be a thousand times their median.
    ends = [max(*values, statistics.median(tails or [0])) for _, values, tails in found]
    most = max(ends) / divisor
    for at, (name, values, tails) in enumerate(found):
        colour = COLOURS.get(name, OTHER)
        median = statistics.median(values) / divisor
        least, greatest = min(values) / divisor, max(values) / divisor
        end = greatest
        label = number(median)
        if tails:
            tail = statistics.median(tails) / divisor
            axis.barh(at, tail, color=colour, alpha=0.35)
            label = f"{number(median)}, p99 {number(tail)}"
            end = max(end, tail)
        axis.barh(at, median, color=colour)
        if least < greatest:
            axis.plot([least, greatest], [at, at], color="black", linewidth=1.2, marker="|")
        axis.text(end + most * 0.015, at, label, va="center", fontsize=9)
    axis.set_yticks(range(len(found)), [name for name, *_ in found], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(0, most * 1.28)
    axis.set_xlabel(unit, fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_title(wrapped(row["title"]), fontsize=9.5, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def curves(folder):
    results = json.loads((folder / "curves.json").read_text())
    rows, columns = len(results["curves"]), max(len(curve["told"]) for curve in results["curves"])
    figure = plt.figure(figsize=(4.6 * columns, 2.9 * rows + 0.8), layout="constrained")
    lines = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    for line, curve in zip(lines, results["curves"]):
        line.suptitle(curve["title"], fontsize=10, x=0.01, ha="left")
        axes = line.subplots(1, columns, squeeze=False)[0]
        for axis in axes[len(curve["told"]) :]:
            axis.set_axis_off()
        for axis, name in zip(axes, curve["told"]):
            bend(axis, curve, name)
    keep(figure, folder / "curves", results, "How a node scales")


def bend(axis, curve, name):
    """One thing that was told over what was varied; where a point failed in all rounds, a gap."""
    points = [(point["x"], [one[name] for one in point["rounds"]] or [math.nan]) for point in curve["points"]]
    medians = [median for _, values in points if not math.isnan(median := statistics.median(values))]
    if not medians:
        return
    xs = [x for x, _ in points]
    axis.fill_between(xs, [min(v) for _, v in points], [max(v) for _, v in points], color="#1f5fa8", alpha=0.2)
    axis.plot(xs, [statistics.median(v) for _, v in points], color="#1f5fa8", marker="o", markersize=4)
    axis.set_xscale("log", base=2)
    axis.set_xticks(xs, [short(x) for x in xs], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel(curve["axis"], fontsize=8)
    axis.set_ylabel(name, fontsize=8)
    if name.endswith("µs") and max(medians) > LOGARITHMIC_FROM * min(medians):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def short(value):
    """In thousands of either kind, whichever it is a multiple of."""
    for unit, many in (("Mi", 1 << 20), ("Ki", 1 << 10), ("k", 1000)):
        if value >= many and value % many == 0:
            return f"{value / many:.0f}{unit}"
    return f"{value:.0f}"


def number(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def wrapped(title):
    """The title in lines that are no longer than a panel."""
    return "\n".join(textwrap.wrap(title, 70))


if __name__ == "__main__":
    main()
