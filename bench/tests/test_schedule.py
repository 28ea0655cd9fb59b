"""What `bench/schedule` makes of the acknowledgements that it is told."""
import json
import unittest
from unittest import mock

from harness import harness

schedule = harness("schedule")


class Told:
    """A node whose every open loop was told these acknowledgements."""

    def __init__(self, acks):
        self.acks, self.asked = acks, []

    def run(self, *words):
        self.asked.append(" ".join(words))
        if "produce" in words:
            return json.dumps({"ack_us": {"p50": 200}})
        return "".join(json.dumps({"due_us": due, "us": us}) + "\n" for due, us in self.acks)


class Schedule(unittest.TestCase):
    def test_less_acknowledged_than_was_due_is_no_measurement(self):
        acks = [(due, 1_000) for due in range(schedule.SECONDS * 100)]
        p99, _ = schedule.in_time(Told(acks), "a-topic", 1, 100)
        self.assertEqual(p99, 1_000)
        with self.assertRaisesRegex(SystemExit, "999 of 1000 batches"):
            schedule.in_time(Told(acks[1:]), "a-topic", 1, 100)

    def test_each_partition_has_a_producer(self):
        """A thousand partitions had one between them, while the line is about one for each."""
        node = Told([(0, 1_000)])
        schedule.open_loop(node, "a-topic", schedule.MANY, 2_000, 10)
        self.assertIn("--partitions 1000 --producers 1000 ", node.asked[0])

    def test_of_the_acknowledgements_after_a_pause_only_those_count_that_are_behind_one(self):
        """The first of them came right behind a batch that was not counted, and was counted."""
        acks = [(due, 900 + due) for due in range(1, schedule.PAUSES + 1)]
        with mock.patch.object(schedule, "machine_alone", lambda: (100, [300, 500, 400])):
            ours, alone = schedule.pause(Told([(0, 7), *acks]))
        self.assertIn("p50 of 30, to one in flight | 0.92 ms (0.90 to 0.93) to 200 µs: 4.6 |", ours)
        self.assertIn("p50 of 3, to in a row | 0.40 ms (0.30 to 0.50) to 100 µs: 4.0 |", alone)


if __name__ == "__main__":
    unittest.main()
