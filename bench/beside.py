#!/usr/bin/env python3
"""Compares acknowledgements near events with the others: bench/beside.py ACKS EVENTS [TOLD [WHY]]

ACKS has a line {due_us, us, …} for each acknowledgement, as `corelog bench latency` prints and
`corelog bench mixed --acks` keeps them;
EVENTS has lines of a kind and a time in microseconds since 1970, and of a pause or a stall how long it took. An acknowledgement
is near an event that is within 100 ms of when it was due: were it near what came until it arrived, the slow ones would be near
most of all, whatever made them slow. Prints rows of a Markdown table, of all acknowledgements with a verdict.
What waited in a pause of the machine or a stall of its disk (`bench/pauses`), or came in the half second behind one, is told
apart, with its share of all; and then what is left without it, which is no verdict: what the node itself writes may provoke
a stall, and the longer an acknowledgement took, the more likely it was in one. Behind the rows, if TOLD has what
`corelog bench mixed` printed of the same load, how long the slowest took: in the same two ways. With WHY the run failed midway,
for the reason that is its last line: what never came, or was not noted, is in no figure, so that nothing holds.
"""
import bisect
import json
import sys

NEAR_US = 100_000
BEHIND_US = 500_000
STILL = {"pause": "a pause of the machine", "stall": "a stall of its disk"}
ALLOWED_US, LONGEST_US = 5_000, 250_000
WARM_UP_US = 1_000_000
# Of fewer no thousandth is left beyond.
FEW = 1_000


def main():
    told, why = None, None
    if len(sys.argv) > 3:
        with open(sys.argv[3]) as file:
            told = json.load(file)
    if len(sys.argv) > 4:
        with open(sys.argv[4]) as file:
            why = (file.read().splitlines() or ["it did not say why"])[-1]
    # What `mixed` keeps is without the first second, which warms up.
    acks, times = read_acks(sys.argv[1], 0 if told else WARM_UP_US), read_events(sys.argv[2])
    left, watched = acks, []
    # What is watched for and was not seen has a row that says so.
    for kind in [kind.removeprefix("watch-") for kind in times if kind.startswith("watch-")]:
        if kind not in STILL:
            del times[f"watch-{kind}"]
            times.setdefault(kind, [])
    for kind, name in STILL.items():
        at, is_watched = times.pop(kind, []), times.pop(f"watch-{kind}", None)
        if not is_watched:
            print(f"| {name} was not watched for | | |")
            continue
        watched.append(name)
        behind, rest = [], []
        for ack in left:
            (behind if is_in(ack, at) else rest).append(ack)
        left = rest
        print(
            f"| acks in {name} or within {BEHIND_US // 1000} ms behind one ({len(at)} seen, the longest "
            f"{max((took for _, took in at), default=0) / 1000:.0f} ms): {share(len(behind), len(acks))} of all, {tail(behind)} |"
        )
    rows("acks", acks, times, is_judged=why is None)
    if len(left) < len(acks):
        rows("acks without those", left, times, is_judged=False)
    if told:
        print(f"\n{judged(told, left, share(len(acks) - len(left), len(acks)), watched, why)}")


def rows(what, acks, times, is_judged):
    """Those elsewhere, and beside them those near each kind of event."""
    others = [ack for ack in acks if not any(is_near(ack, times[kind]) for kind in times)]
    if not others:
        print(f"| {what} elsewhere | | none: no verdict |")
        return
    away = quantile(others, 0.999)
    print(f"| {what} elsewhere, p50 and p99.9 of {len(others)} | | {quantile(others, 0.5):.2f} and {away:.2f} ms |")
    most = away + ALLOWED_US / 1000
    for kind in sorted(times):
        near = [ack for ack in acks if is_near(ack, times[kind])]
        if not is_judged:
            target, outcome = "", ": no verdict"
        else:
            target, outcome = f"≤ {most:.2f} ms", f": {verdict(quantile(near, 0.999) <= most)}" if near else ""
        print(f"| {what} within {NEAR_US // 1000} ms of {kind} ({len(times[kind])} seen), {tail(near, target)}{outcome} |")


def judged(told, acks, left_out, watched, why):
    """Whether the slowest was slow inside the node: with everything. A node counts from when it took a request; what waited in
    front of that may have waited for the node to read on, so more in all than inside is no verdict. What the node itself writes
    may provoke a stall of the device, so what is left without those is told, and is none either."""
    slowest, inside = told["slowest"][0]["us"], told["inside_us_max"]
    if why is not None:
        outcome = verdict(False) if (inside or 0) > LONGEST_US else f"no verdict, as the run failed midway: {why}"
    elif slowest <= LONGEST_US:
        outcome = verdict(True)
    elif inside is None:
        outcome = "not known, the node does not tell"
    elif inside > LONGEST_US:
        outcome = verdict(False)
    else:
        outcome = "no verdict, as what waits until the node reads on is in no account of it"
    inside = "" if inside is None else f"at most {inside / 1000:.0f} ms inside, "
    all_of_them = f"{outcome} ({inside}{slowest / 1000:.0f} ms in all)"
    if watched:
        longest = max((took for _, took in acks), default=0)
        reasons_inside = (f"without the {left_out} in or behind {' or '.join(watched)} at most {longest / 1000:.0f} ms in all, "
                          "which is no verdict")
    else:
        reasons_inside = "what waited for the machine or its disk is not told apart"
    return f"No acknowledgement takes longer than {LONGEST_US // 1000} ms inside the node: with everything {all_of_them}; " \
           f"{reasons_inside}."


def verdict(is_met):
    return "holds" if is_met else "**not reached**"


def share(some, of):
    return f"{100 * some / of:.2f} %"


def read_acks(path, warm_up_us):
    """When each acknowledgement was due, and how long it took; without what was due first."""
    with open(path) as file:
        acks = [(ack["due_us"], ack["us"]) for ack in map(json.loads, file)]
    warm = min(due for due, _ in acks) + warm_up_us
    return [ack for ack in acks if ack[0] >= warm]


def read_events(path):
    """Of each kind the ends in order, each with how long it took."""
    times = {}
    with open(path) as file:
        for line in file:
            kind, at, *took = line.split()
            times.setdefault(kind, []).append((int(at), int(took[0]) if took else 0))
    return {kind: sorted(at) for kind, at in times.items()}


def is_near(ack, times):
    """Whether one of `times` is near when the acknowledgement was due."""
    due, _ = ack
    at = bisect.bisect_left(times, (due - NEAR_US,))
    return at < len(times) and times[at][0] <= due + NEAR_US


def is_in(ack, times):
    """Whether one of these stalls was under way with the acknowledgement, or ended a little before that was due. Its end is seen a
    little late: what waited for it may have come by then."""
    due, took = ack
    at = bisect.bisect_left(times, (due - BEHIND_US,))
    return at < len(times) and times[at][0] - times[at][1] <= due + took


def quantile(acks, q):
    """In ms."""
    us = sorted(took for _, took in acks)
    return us[min(len(us) - 1, int(q * len(us)))] / 1000


def tail(acks, target=""):
    """The rest of a row."""
    name = "p99.9" if len(acks) >= FEW else "the largest"
    return f"{name} of {len(acks)} | {target} | {quantile(acks, 0.999):.2f} ms" if acks else f"none | {target} | none"


main()
