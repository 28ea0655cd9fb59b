"""What `bench/files` notes of a topic's files."""
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

FILES = pathlib.Path(__file__).resolve().parent.parent / "files"
ROLL = re.compile(r"(?m)^roll \d+$")


class Files(unittest.TestCase):
    def test_a_roll_is_noted_also_where_a_partition_has_files_beside_its_directory(self):
        """It ended at the first of them, and an hour was for nothing."""
        with tempfile.TemporaryDirectory() as folder:
            data, notes = pathlib.Path(folder, "data"), pathlib.Path(folder)
            partition = data / "topics/load/0"
            partition.mkdir(parents=True)
            partition.with_name("0.begun").touch()
            with subprocess.Popen([FILES, data, "load", notes]) as watcher:
                try:
                    self.until(watcher, lambda: self.text(notes / "most"))
                    for segment in range(1, 1_000):
                        # Whatever it has seen first, the one behind that is a roll.
                        (partition / f"{segment:03}.log").touch()
                        if self.until(watcher, lambda: ROLL.search(self.text(notes / "events")), seconds=0.1):
                            break
                    events = self.text(notes / "events")
                    self.assertRegex(events, ROLL)
                    self.assertRegex(events, r"(?m)^watch-compaction \d+$")
                finally:
                    watcher.kill()

    def until(self, watcher, is_so, seconds=20):
        until = time.monotonic() + seconds
        while not (found := is_so()) and time.monotonic() < until:
            self.assertIsNone(watcher.poll(), "it has ended")
        return found

    def text(self, file):
        return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    unittest.main()
