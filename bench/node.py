"""A node for the harnesses of this folder: built, started on a folder of its own, asked, and ended."""
import contextlib
import ctypes
import datetime
import functools
import hashlib
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HARNESS = pathlib.Path(sys.argv[0]).name
NOW = datetime.datetime.now(datetime.timezone.utc)
OUT = pathlib.Path(os.environ.get("OUT", ROOT / f"bench/results/{NOW:%F}-{HARNESS}.md"))
SCRATCH = pathlib.Path(os.environ.get("SCRATCH", ROOT / f"target/{HARNESS}-{os.getpid()}"))
TICKS = os.sysconf("SC_CLK_TCK")
HERE = os.getpid()
# One that takes longer hangs.
START_SECONDS, STOP_SECONDS = 60, 60


def end(number, _frame):
    """Ends a harness that is told to end as one that fails: what it started goes, and its folder."""
    if os.getpid() != HERE:
        os._exit(128 + number)  # A process that it forked has nothing to tidy up.
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, end)
# Whoever runs it behind `nohup` wants it to go on.
if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    signal.signal(signal.SIGHUP, end)

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """Has this process killed once the one that started it is gone, whatever ended that (prctl(2)): nothing measures beside what
    another run left."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def begin():
    """Makes the folder to serve from. What another run left is not written over: a second one of a day wants an `OUT` of its own."""
    if OUT.is_file():
        sys.exit(f"{HARNESS}: {OUT} is of another run: move it away, or name another with OUT")
    SCRATCH.mkdir(parents=True)


def built(variable, program, package):
    """The program that `variable` names, or the one of this commit."""
    if variable in os.environ:
        path = os.environ[variable]
    else:
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", package], cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        path = str(pathlib.Path(target) / "release" / program)
    # What lies there at the end may be another.
    identity(path)
    return path


@functools.cache
def identity(corelog):
    """Which build it is: its version alone does not say of which commit, and one that was named is of any."""
    version = subprocess.run([corelog, "--version"], capture_output=True, text=True).stdout.strip()
    of = "another build, " if "CORELOG" in os.environ else ""
    return f"{of}{version}, SHA-256 {hashlib.sha256(pathlib.Path(corelog).read_bytes()).hexdigest()[:12]}…"


@contextlib.contextmanager
def serve(corelog, *settings, cores=1):
    """A node on a folder of `SCRATCH` until the end of the block. One that ends badly, or not in time, fails the harness."""
    ready, log = SCRATCH / "ready", SCRATCH / "log"
    with ready.open("w") as out, log.open("a") as err:
        process = subprocess.Popen(
            [corelog, "serve", "--cores", str(cores), *settings, "--data-dir", SCRATCH / "data", "--listen", "127.0.0.1:0",
             "--admin", "127.0.0.1:0"], stdout=out, stderr=err, preexec_fn=end_with_parent)

    def fail(what):
        sys.exit(f"{HARNESS}: the server {what}: {log.read_text()[-500:]}")

    try:
        begun = time.monotonic()
        while not ready.read_text().endswith("\n"):
            if process.poll() is not None or time.monotonic() - begun > START_SECONDS:
                fail("did not start")
            time.sleep(0.01)
        told = dict(word.split("=", 1) for word in ready.read_text().split()[1:])
        yield Node(corelog, process.pid, told)
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            fail(f"did not end within {STOP_SECONDS} s")
        if status != 0:
            fail(f"ended with {status}")
    finally:
        # Nothing more is asked of one that failed, or whose harness did.
        process.kill()
        process.wait()


class Node:
    def __init__(self, corelog, pid, told):
        self.corelog, self.pid, self.admin = corelog, pid, told["admin"]
        self.environment = {**os.environ, "CORELOG_SERVER": told["listen"]}

    def run(self, *words):
        done = subprocess.run([self.corelog, *words], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{HARNESS}: corelog {' '.join(words)}: {done.stderr}")
        return done.stdout

    def resident_mib(self):
        words = pathlib.Path(f"/proc/{self.pid}/status").read_text().split()
        return int(words[words.index("VmRSS:") + 1]) / 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def processor_ticks():
    """Of all processors since the machine started: ticks, and those of them that the host took (*steal* of proc_stat(5))."""
    ticks = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[7]


def stolen_since(before):
    """Percent of the processors' time that the host took since these ticks: in it nothing of this machine ran."""
    ticks, stolen = (now - then for now, then in zip(processor_ticks(), before))
    return 100 * stolen / max(ticks, 1)


# Before anything is built.
BEGUN = processor_ticks()
COMMIT = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def circumstances(corelog, loads):
    """When, what and on what, for the head of a report; `loads`: load averages before each round."""
    return (f"`{' '.join(['bench/' + HARNESS, *sys.argv[1:]])}`, {NOW:%F %R} UTC, {identity(corelog)}; harness of commit "
            f"{COMMIT}, {os.cpu_count()} cores of {processor()}, load average {min(loads):.1f} to "
            f"{max(loads):.1f}; the host took {stolen_since(BEGUN):.1f} % of the processors' time.")


def processor():
    names = (line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return next(names, "model name: an unnamed kind").partition(": ")[2]


def spread(ratios, is_enough):
    """The median with the least and the most, and whether it is what was aimed at."""
    median = statistics.median(ratios)
    return f"{median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", verdict(is_enough(median))


def verdict(is_met):
    return "holds" if is_met else "**not reached**"


def report(lines):
    text = "\n".join(lines) + "\n"
    print(text, end="")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text)
