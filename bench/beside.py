#!/usr/bin/env python3
"""Compares acknowledgements near events with the others: bench/beside.py ACKS EVENTS

ACKS has a line {due_us, us, …} for each acknowledgement, as `corelog bench latency` prints and
`corelog bench mixed --acks` keeps them;
EVENTS has lines of a kind and a time in microseconds since 1970. An acknowledgement is near an event
that is within 100 ms of its time. Prints rows of a Markdown table.
"""
import bisect
import json
import sys

NEAR_US = 100_000
ALLOWED_US = 5_000


def quantile(sorted_us, q):
    return sorted_us[min(len(sorted_us) - 1, int(q * len(sorted_us)))]


def main():
    with open(sys.argv[1]) as file:
        acks = [(ack["due_us"], ack["us"]) for ack in map(json.loads, file)]
    # The first second warms up.
    acks = [ack for ack in acks if ack[0] > acks[0][0] + 1_000_000]
    times = {}
    with open(sys.argv[2]) as file:
        for line in file:
            kind, at = line.split()
            times.setdefault(kind, []).append(int(at))
    for kind in times:
        times[kind].sort()

    def is_near(due, took, kinds):
        begin, end = due - NEAR_US, due + took + NEAR_US
        # The first event from then on.
        firsts = ((times[kind], bisect.bisect_left(times[kind], begin)) for kind in kinds)
        return any(at < len(of_kind) and of_kind[at] <= end for of_kind, at in firsts)

    others = sorted(us for due, us in acks if not is_near(due, us, times))
    if not others:
        sys.exit("bench: no acknowledgement is away from all events")
    away = quantile(others, 0.999)
    p50 = quantile(others, 0.5)
    print(f"| acks elsewhere, p50 and p99.9 of {len(others)} | | {p50 / 1000:.2f} and {away / 1000:.2f} ms |")
    for kind in sorted(times):
        near = sorted(us for due, us in acks if is_near(due, us, [kind]))
        if not near:
            print(f"| acks within 100 ms of {kind} | | none |")
            continue
        at = quantile(near, 0.999)
        print(
            f"| acks within 100 ms of {kind} ({len(times[kind])} seen), p99.9 of {len(near)} "
            f"| ≤ {(away + ALLOWED_US) / 1000:.2f} ms | {at / 1000:.2f} ms |"
        )


main()
