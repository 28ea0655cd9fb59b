#!/usr/bin/env python3
"""Draws seeks over segments as SVG: bench/plot.py seeks.csv >seeks.svg

Medians: the 99th percentiles in the table tell more of the machine. The axis of segments is
logarithmic: what grows logarithmically is a straight line.
"""
import csv
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 70, 50, 40, 150
LABEL_WIDTH = 24
LINES = [
    ("offset_p50_us", "by offset", "#1f5fa8"),
    ("time_p50_us", "by time", "#b0471c"),
]


def main():
    with open(sys.argv[1], newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    x_max = math.log2(max(max(row["segments"] for row in rows), 2))
    y_max = max(row[name] for row in rows for name, *_ in LINES) * 1.1

    def x(segments):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(segments) / x_max

    def y(us):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * us / y_max

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">First record of a random place, median</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 10}">segments of 100 MiB in the partition</text>',
        f'<text x="10" y="{TOP - 8}">µs</text>',
    ]
    for step in range(6):
        us = y_max * step / 5
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(us):.1f}" y2="{y(us):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(us) + 4:.1f}" text-anchor="end">{us:.0f}</text>')
    told = -math.inf
    for row in rows:
        at = x(row["segments"])
        if at - told < LABEL_WIDTH:
            continue  # It would lie over the one before.
        told = at
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{row["segments"]:.0f}</text>')
    for number, (name, title, colour) in enumerate(LINES):
        points = " ".join(f'{x(row["segments"]):.1f},{y(row[name]):.1f}' for row in rows)
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        out.append(f'<polyline points="{points}" {style}/>')
        legend = TOP + 20 * number
        right = WIDTH - RIGHT + 12
        out.append(f'<line x1="{right}" x2="{right + 24}" y1="{legend}" y2="{legend}" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{right + 30}" y="{legend + 4}">{title}</text>')
    out.append("</svg>")
    print("\n".join(out))


main()
