"""What `bench/isolation` runs beside producers: its consumer, and the dummy that stands for it."""
import os
import pathlib
import sys
import tempfile
import time
import types
import unittest
from unittest import mock

from harness import harness

isolation = harness("isolation")


def a_node(folder, consumes):
    """One whose every command is this."""
    corelog = pathlib.Path(folder, "corelog")
    corelog.write_text(f"#!/usr/bin/env bash\n{consumes}\n")
    corelog.chmod(0o755)
    return types.SimpleNamespace(corelog=corelog, environment=os.environ)


class Consumer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_it_ends_with_what_it_runs_beside_also_where_that_fails(self):
        """It tried again for two minutes, of a node that was gone, and nothing was measured any more."""
        told = self.folder / "pid"
        os.mkfifo(told)
        consumer = isolation.Backfill(a_node(self.folder, f"echo $$ >{told}; exec sleep 1000"))
        with self.assertRaisesRegex(SystemExit, "beside it"), consumer:
            pid = told.read_text().strip()
            sys.exit("what ran beside it failed")
        self.assertFalse(consumer.process.is_alive() or pathlib.Path(f"/proc/{pid}").exists())

    def test_a_pass_over_less_than_all_of_the_log_is_none(self):
        told = '{"seconds": 1, "bytes": %d}'
        for less in (0, 1):
            consumed = f"echo '{told % ((isolation.GIB << 30) - less)}'"
            with self.subTest(less), isolation.Backfill(a_node(self.folder, consumed)) as consumer:
                self.assertTrue(consumer.told.poll(20), "neither a pass nor its end is told")
                if less:
                    self.assertRaises(EOFError, consumer.told.recv)
                else:
                    self.assertEqual(consumer.told.recv()[1], isolation.GIB * 1024)


class Dummy(unittest.TestCase):
    ROUND = {
        **{f"{turn} {kind} {quantile}": 1.0 for turn in ("one", "quiet", "cold", "dummy") for kind in ("ack", "delivery")
           for quantile in ("p50", "p99")},
        **{f"{turn} stolen": 0.0 for turn in ("quiet", "cold", "dummy")},
        **{name: 1.0 for name in ("load", "sync", "cold speed", "alone speed", "dummy speed", "dummy aim", "node cpu",
                                  "consumer cpu", "sender cpu", "taker cpu", "dummy cpu ratio")},
    }

    def table(self, **found):
        with mock.patch.object(isolation, "circumstances", lambda *_: ""):
            return "\n".join(isolation.table("corelog", [{**self.ROUND, **found}]))

    def test_one_that_used_more_processor_than_what_it_stands_for_is_no_yardstick(self):
        self.assertIn("≤ 1.5: holds", self.table())
        self.assertNotIn("≤ 1.5: holds", self.table(**{"dummy cpu ratio": 1.11}))

    def test_what_the_host_took_is_told_of_each_turn(self):
        self.assertIn("| 0.0, 7.5, 0.0 % |", self.table(**{"cold stolen": 7.5}))

    def test_it_tells_what_its_ends_have_moved_and_used(self):
        with isolation.dummy(1024, 0.5, 0.5) as told:
            until = time.monotonic() + 60
            while told[0] < 64:
                self.assertLess(time.monotonic(), until, "it moves nothing")
            moved, sender_cpu, taker_cpu = told
        for used in (sender_cpu, taker_cpu):
            self.assertGreaterEqual(used, (moved - 8) / 1024 * 0.5)


if __name__ == "__main__":
    unittest.main()
