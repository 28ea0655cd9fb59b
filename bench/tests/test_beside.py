"""What `bench/beside.py` says of acknowledgements near events and elsewhere."""
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

BESIDE = pathlib.Path(__file__).resolve().parent.parent / "beside.py"
# The time in microseconds at which the load begins; an acknowledgement is due each 10 ms.
BEGUN_US, TURN_US = 1_000_000_000, 10_000


def beside(acks, events, *told):
    """Its rows, for (due, took) in microseconds since the load began, and (kind, time, words behind it)."""
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, name) for name in ("acks", "events", "told", "why")[: 2 + len(told)]]
        lines = (json.dumps({"due_us": BEGUN_US + due, "us": took}) for due, took in acks)
        files[0].write_text("".join(f"{line}\n" for line in lines))
        files[1].write_text("".join(f"{kind} {BEGUN_US + at} {rest}\n" for kind, at, rest in events))
        for file, one in zip(files[2:], told):
            file.write_text(one if isinstance(one, str) else json.dumps(one))
        done = subprocess.run([sys.executable, BESIDE, *files], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def row(rows, beginning):
    return next(row for row in rows if row.startswith(f"| {beginning}"))


class Beside(unittest.TestCase):
    STALL_US = 20_000_000
    WATCHED = [("watch-pause", 0, ""), ("watch-stall", 0, "")]

    def load(self, is_stalled=False):
        """40 s of them, 1 ms each; those that are due in the 100 ms of a stall come at its end."""
        dues = range(0, 40_000_000, TURN_US)
        left = (self.STALL_US - due if is_stalled else 0 for due in dues)
        return [(due, us if 0 < us <= 100_000 else 1_000) for due, us in zip(dues, left)]

    def test_what_is_slow_near_rolls_does_not_hold_also_where_all_of_it_lies_in_stalls_of_the_disk(self):
        events = [*self.WATCHED, ("stall", self.STALL_US, "100000"), ("roll", self.STALL_US, ""), ("roll", 30_000_000, "")]
        rows = beside(self.load(is_stalled=True), events)
        self.assertIn("| 100.00 ms: **not reached** |", row(rows, "acks within 100 ms of roll"))
        self.assertIn("| 1.00 ms: no verdict |", row(rows, "acks without those within 100 ms of roll"))

    def test_what_came_a_little_before_the_noted_end_of_a_stall_is_told_as_of_it(self):
        # Its end is noted 1 ms late: the first of those that waited for it had come by then.
        events = [*self.WATCHED, ("stall", self.STALL_US + 1_000, "101000")]
        rows = beside(self.load(is_stalled=True), events)
        # The ten that waited, and those due within half a second behind it: of 3,900.
        self.assertIn(": 1.56 % of all, the largest of 61 |", row(rows, "acks in a stall of its disk"))

    def test_what_is_no_slower_near_rolls_than_elsewhere_holds(self):
        rows = beside(self.load(), [*self.WATCHED, ("roll", self.STALL_US, "")])
        self.assertIn("| ≤ 6.00 ms | 1.00 ms: holds |", row(rows, "acks within 100 ms of roll"))
        self.assertFalse(any("no verdict" in row for row in rows), "nothing is left out, so all is said")

    def test_what_is_slow_for_another_reason_is_not_taken_to_be_near_rolls_the_more_the_slower_it_was(self):
        """It was near whatever came until it arrived: half of what was quick, all that had taken long."""
        rolls = [("roll", at, "") for at in range(0, 600_000_000, 500_000)]
        stalls = sorted(random.Random(7).sample(range(5_000_000, 595_000_000), 12))
        acks = []
        for due in range(0, 600_000_000, 5_000):
            left = max((stall + 300_000 - due for stall in stalls if stall <= due < stall + 300_000), default=0)
            acks.append((due, max(left, 1_000)))
        rows = beside(acks, [*self.WATCHED, *rolls])
        self.assertTrue(row(rows, "acks within 100 ms of roll").endswith(": holds |"), rows)

    def test_what_waited_in_front_of_the_node_does_not_pass_for_none_of_its_time(self):
        """A node counts from when it took a request, and reads no more than so many of a connection at a time."""
        said = {
            (240_000, 106_000): "with everything holds (at most 106 ms inside, 240 ms in all)",
            (682_000, 106_000): "with everything no verdict, as what waits until the node reads on is in no account of it (at most 106 ms",
            (682_000, 251_000): "with everything **not reached** (at most 251 ms inside, 682 ms in all)",
            (682_000, None): "with everything not known, the node does not tell (682 ms in all)",
        }
        for (slowest, inside), expected in said.items():
            rows = beside(self.load(), self.WATCHED, {"slowest": [{"us": slowest}], "inside_us_max": inside})
            self.assertIn(expected, rows[-1])

    def test_nothing_holds_of_a_run_that_failed_midway(self):
        """What never came is in no figure: an hour in which the node hung for a minute held."""
        events = [*self.WATCHED, ("roll", self.STALL_US, "")]
        told = {"slowest": [{"us": 92_000}], "inside_us_max": 90_000}
        rows = beside(self.load(), events, told, "warned before\nno answer within 60s\n")
        self.assertIn("no verdict, as the run failed midway: no answer within 60s (at most 90 ms", rows[-1])
        self.assertFalse(any("holds" in row for row in rows), rows)
        told["inside_us_max"] = 251_000
        self.assertIn("with everything **not reached**", beside(self.load(), events, told, "why\n")[-1])

    def test_what_was_watched_for_and_not_seen_is_told(self):
        rows = beside(self.load(), [*self.WATCHED, ("watch-compaction", 0, "")])
        self.assertEqual("| acks within 100 ms of compaction (0 seen), none | ≤ 6.00 ms | none |", row(rows, "acks within 100 ms of comp"))

    def test_where_nothing_is_elsewhere_the_slowest_is_told_all_the_same(self):
        rolls = [("roll", at, "") for at in range(0, 41_000_000, 100_000)]
        told = {"slowest": [{"us": 1_000}], "inside_us_max": 900}
        rows = beside(self.load(), [*self.WATCHED, *rolls], told)
        self.assertEqual("| acks elsewhere | | none: no verdict |", row(rows, "acks elsewhere"))
        self.assertIn("with everything holds", rows[-1])

    def test_the_second_in_which_a_load_warms_up_is_left_out_once(self):
        told = {"slowest": [{"us": 1_000}], "inside_us_max": 900}
        self.assertIn("of 3900 |", row(beside(self.load(), self.WATCHED), "acks elsewhere"))
        # What `corelog bench mixed` keeps is without it.
        rows = beside(self.load(), self.WATCHED, told)
        self.assertIn("of 4000 |", row(rows, "acks elsewhere"))
        self.assertIn("with everything holds (at most 1 ms inside", rows[-1])


if __name__ == "__main__":
    unittest.main()
