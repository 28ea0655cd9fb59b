"""How harnesses end a node that does not end well: those in Python (`node.py`) and those in bash (`node.sh`)."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from unittest import mock

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH))
import node  # noqa: E402

FAKE = BENCH / "tests/fake_node"
# What becomes of each harness: nothing is said of one that ends well.
ENDS = {
    "well": None,
    "badly": "the server ended with 3",
    "never": "the server did not end within 1 s",
    "silent": "the server did not start",
}
ENDS_IN_BASH = {**ENDS, "badly": "the server did not stop cleanly", "never": "the server did not stop cleanly"}


def runs(pid):
    """Whether there is such a process that has not ended: whoever inherits it may never ask how it did."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def hear_hangups():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Nodes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scratch = pathlib.Path(folder.name)

    def test_a_harness_in_python_fails_in_time_with_a_node_that_hangs_or_ends_badly(self):
        for fake, said in ENDS.items():
            with self.subTest(fake), mock.patch.multiple(node, SCRATCH=self.scratch, START_SECONDS=1, STOP_SECONDS=1), \
                    mock.patch.dict(os.environ, FAKE=fake):
                self.assertEqual(said, self.harness())

    def harness(self):
        """What it says at its end; the node is gone in any case."""
        pid = None
        try:
            with node.serve(FAKE) as served:
                pid = served.pid
        except SystemExit as ended:
            return str(ended).partition(": ")[2].partition(": ")[0]
        finally:
            self.assertFalse(pid and pathlib.Path(f"/proc/{pid}").exists())

    def test_a_harness_in_python_that_is_hung_up_or_killed_leaves_no_node(self):
        """Whoever measured next did so beside it; of one that was hung up its gigabytes stayed as well."""
        script = f"""import sys, time
            sys.path.insert(0, {str(BENCH)!r})
            import node, shutil
            node.SCRATCH.mkdir()
            try:
                with node.serve({str(FAKE)!r}) as served:
                    print(served.pid, flush=True)
                    time.sleep(60)
            finally:
                shutil.rmtree(node.SCRATCH)"""
        script = textwrap.dedent(script.replace("import sys", " " * 12 + "import sys", 1))
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            scratch = self.scratch / number.name
            environment = {**os.environ, "FAKE": "well", "SCRATCH": str(scratch)}
            # Where these tests run behind `nohup` it would go on.
            with self.subTest(number), subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE,
                                                        text=True, preexec_fn=hear_hangups) as harness:
                pid = int(harness.stdout.readline())
                harness.send_signal(number)
                harness.wait(20)
                deadline = time.monotonic() + 20
                while (is_there := runs(pid)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertFalse(is_there)
                self.assertEqual(number == signal.SIGKILL, scratch.exists())

    def test_a_harness_in_bash_fails_in_time_with_a_node_that_hangs_or_ends_badly(self):
        script = f"""set -euo pipefail
            CORELOG={FAKE} SCRATCH={self.scratch}
            . {BENCH}/node.sh
            trap end EXIT
            START_MAX=1 STOP_MAX=1
            serve
            stop"""
        for fake, said in ENDS_IN_BASH.items():
            with self.subTest(fake):
                environment = {**os.environ, "FAKE": fake}
                # Were it to hang, this test would not.
                done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=20)
                self.assertEqual(done.returncode == 0, said is None, done.stderr)
                self.assertIn(said or "", done.stderr)

    def test_a_harness_in_bash_does_not_take_a_second_that_is_over_at_once_for_all_of_its_time(self):
        """Who began at the end of a second had nothing of it: now and then a node was killed that would have ended well."""
        script = f"""set -euo pipefail
            CORELOG={FAKE} SCRATCH={self.scratch}
            . {BENCH}/node.sh
            trap end EXIT
            START_MAX=1 STOP_MAX=1
            # A clock whose next second comes with the first look.
            unset SECONDS
            SECONDS=0
            sleep() {{ SECONDS=1; command sleep "$@"; }}
            serve
            SECONDS=0
            stop"""
        done = subprocess.run(["bash", "-c", script], env={**os.environ, "FAKE": "late"}, capture_output=True, text=True, timeout=20)
        self.assertEqual(0, done.returncode, done.stderr)


class Reports(unittest.TestCase):
    def test_what_another_run_left_is_not_written_over(self):
        """The report of an hour was gone once a second run of the day was through."""
        with tempfile.TemporaryDirectory() as folder:
            out, scratch = pathlib.Path(folder, "report.md"), pathlib.Path(folder, "scratch")
            script = f". {BENCH}/node.sh; is_new {out}"
            with mock.patch.multiple(node, OUT=out, SCRATCH=scratch):
                node.begin()
                self.assertEqual(0, subprocess.run(["bash", "-c", script]).returncode)
                scratch.rmdir()
                out.write_text("a run\n")
                with self.assertRaisesRegex(SystemExit, "with OUT"):
                    node.begin()
                refused = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
                self.assertEqual(1, refused.returncode)
                self.assertIn("with OUT", refused.stderr)
            self.assertEqual("a run\n", out.read_text())
            self.assertFalse(scratch.exists())

    def test_a_run_that_failed_says_so_in_what_it_leaves(self):
        """Its table ended early, as if there had been no more to say."""
        with tempfile.TemporaryDirectory() as folder:
            for measured, status in (("true", 0), ("exit 3", 3)):
                out = pathlib.Path(folder, measured)
                script = f"""set -euo pipefail
                    SCRATCH={folder}/scratch
                    . {BENCH}/node.sh
                    measure() {{ echo a row; {measured}; }}
                    keep {str(out)!r} measure"""
                done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
                self.assertEqual(status, done.returncode, done.stderr)
                self.assertEqual(status != 0, "**This run failed** with 3" in out.read_text())

    def test_the_build_that_is_told_is_the_one_that_was_measured(self):
        """A report named what lay in its place an hour later."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, CORELOG=str(pathlib.Path(folder, "corelog"))):
            program = pathlib.Path(folder, "corelog")
            program.write_text("#!/bin/sh\necho one\n")
            program.chmod(0o755)
            self.assertEqual(str(program), node.built("CORELOG", "corelog", "corelog"))
            before = node.identity(str(program))
            program.write_text("#!/bin/sh\necho another\n")
            self.assertIn(before, node.circumstances(str(program), [0.0]))


class Processors(unittest.TestCase):
    def test_what_the_host_took_is_told_of_the_time_since(self):
        """What guests of this machine used (the last two) is within what it used itself."""
        before, after = ("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 0", "cpu  11 12 13 14 15 16 17 38 200 200\ncpu0 0")
        with mock.patch.object(pathlib.Path, "read_text", side_effect=[before, after]):
            ticks = node.processor_ticks()
            self.assertEqual((36, 8), ticks)
            self.assertEqual(30.0, node.stolen_since(ticks))


if __name__ == "__main__":
    unittest.main()
