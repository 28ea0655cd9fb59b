"""Runs one service as its unit says it, where systemd is absent: start, stop, restart, reload, status.

The unit is /usr/lib/systemd/system/corelog.service, SERVICE_PROFILE the seccomp profile that profile.py
made of it. A key that is neither done here nor listed in LEFT is an error; limits that this machine does
not let anyone raise are told in the state as `withheld`.
"""

import contextlib
import json
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

import unit

UNIT = "/usr/lib/systemd/system/corelog.service"
HERE = os.path.dirname(os.path.abspath(__file__))
RUN = "/run/corelog-service"
STATE, NOTIFY, LOG = (f"{RUN}/{name}" for name in ("state", "notify", "log"))
LIMITS = {"LimitMEMLOCK": "memlock", "LimitNOFILE": "nofile"}
CAP_SYS_RESOURCE = 24
# Done here, or in the profile.
DONE = set(LIMITS) | set(
    "Type TimeoutStartSec WatchdogSec User Group StateDirectory StateDirectoryMode Environment "
    "ExecStart ExecReload KillSignal KillMode TimeoutStopSec OOMScoreAdjust NoNewPrivileges "
    "CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome PrivateTmp PrivateDevices "
    "ProtectControlGroups ProtectKernelTunables RestrictAddressFamilies RestrictNamespaces "
    "RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute UMask "
    "SystemCallFilter SystemCallErrorNumber".split()
)
# What is left to systemd: restarts, and what needs a capability that the service has not anyway.
LEFT = set(
    "Restart RestartSec RestartPreventExitStatus ProtectProc ProcSubset PrivateUsers ProtectClock "
    "ProtectHostname ProtectKernelLogs ProtectKernelModules RemoveIPC SystemCallArchitectures".split()
)

# As root in a mount namespace of its own: what is to be written stays writable, all else is not.
SANDBOX = """
set -e
mount --bind "$STATE_DIRECTORY" "$STATE_DIRECTORY"
for dir in /home /root; do mount -t tmpfs -o ro,mode=000 tmpfs $dir; done
for dir in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $dir; done
for dir in / /run /sys /proc/sys; do
    mountpoint -q $dir || mount --bind $dir $dir
    mount -o remount,bind,ro $dir
done
mkdir /tmp/dev
for name in null zero full random urandom; do
    touch /tmp/dev/$name
    mount --bind /dev/$name /tmp/dev/$name
done
mount --rbind /tmp/dev /dev
mount -o remount,bind,ro /dev
[ -z "$OOM_SCORE_ADJUST" ] || echo "$OOM_SCORE_ADJUST" >/proc/self/oom_score_adj
umask "$UMASK"
exec "$@"
"""


def main():
    action = sys.argv[1]
    actions = {
        "start": start,
        "stop": stop,
        "restart": lambda: stop() or start(),
        "reload": reload,
        "status": status,
        "is-active": lambda: 0 if state().get("active") == "active" else 3,
        "keep": Service().keep if action == "keep" else None,
    }
    sys.exit(actions[action]())


def start():
    if state().get("active") == "active":
        return 0
    os.makedirs(RUN, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(STATE)
    with open(LOG, "ab") as log:
        subprocess.Popen(
            [sys.executable, __file__, "keep"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(lambda: state().get("active") in ("active", "failed"), 60)
    return 0 if state()["active"] == "active" else 1


def stop():
    """Ends with 1, and a restart goes no further, if the service does not end in order."""
    if state().get("active") != "active":
        return 0
    os.kill(state()["keeper"], signal.SIGTERM)
    wait_until(lambda: state().get("active") in ("inactive", "failed"), 120)
    if state()["code"] != 0:
        print(f"service: it ended with {state()['code']}", file=sys.stderr)
        return 1
    return 0


def reload():
    before = state()
    command = before["reload"].replace("$MAINPID", str(before["pid"]))
    subprocess.run(shlex.split(command), check=True)
    wait_until(lambda: state()["reloads"] > before["reloads"], 30)


def status():
    print(json.dumps(state()))
    return 0 if state().get("active") == "active" else 3


def state():
    try:
        with open(STATE) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def wait_until(is_so, seconds):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"service: not after {seconds} s: {state()}")
        time.sleep(0.05)


class Service:
    """The keeper: the parent of the service, which hears what it tells."""

    def __init__(self):
        self.unit = unit.read(UNIT)["Service"]
        strange = self.unit.keys() - DONE - LEFT
        if strange:
            sys.exit(f"service: nobody does {sorted(strange)} here")
        # A twentieth, for there is no time to wait.
        self.watchdog = seconds(self.unit["WatchdogSec"]) / 20
        self.withheld = [] if may_raise() else [*LIMITS, "OOMScoreAdjust"]
        self.told = {
            "active": "activating",
            "withheld": self.withheld,
            "keeper": os.getpid(),
            "reload": self.unit["ExecReload"],
            "reloads": 0,
            "fed": 0,
        }
        self.is_reloading = False

    def keep(self):
        signal.signal(signal.SIGTERM, self.end)
        with contextlib.suppress(FileNotFoundError):
            os.remove(NOTIFY)
        hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        hearing.bind(NOTIFY)
        os.chmod(NOTIFY, 0o666)
        hearing.settimeout(0.05)
        self.child = subprocess.Popen(self.command(), env=self.environment())
        self.write(pid=self.child.pid)
        self.heard_at = time.monotonic()
        while self.child.poll() is None:
            with contextlib.suppress(TimeoutError):
                self.hear(hearing.recv(4096).decode())
            late = time.monotonic() - self.heard_at
            if self.told["active"] == "active" and late > self.watchdog:
                self.child.send_signal(signal.SIGABRT)
        code = self.child.returncode
        self.write(active="inactive" if code == 0 else "failed", code=code)

    def end(self, *_):
        self.child.send_signal(getattr(signal, self.unit["KillSignal"]))

    def hear(self, message):
        lines = dict(line.split("=", 1) for line in message.splitlines())
        if "WATCHDOG" in lines:
            self.heard_at = time.monotonic()
            self.write(fed=self.told["fed"] + 1)
        if "STATUS" in lines:
            self.write(status=lines["STATUS"])
        if "RELOADING" in lines:
            assert int(lines["MONOTONIC_USEC"]) > 0
            self.is_reloading = True
        if "READY" in lines:
            self.heard_at = time.monotonic()
            reloads = self.told["reloads"] + self.is_reloading
            self.is_reloading = False
            self.write(active="active", reloads=reloads)
        if "STOPPING" in lines:
            self.write(active="deactivating")

    def write(self, **told):
        self.told.update(told)
        with open(f"{STATE}.new", "w") as file:
            json.dump(self.told, file)
        os.rename(f"{STATE}.new", STATE)

    def command(self):
        user, group = self.unit["User"], self.unit["Group"]
        granted = {key: name for key, name in LIMITS.items() if key not in self.withheld}
        limits = [f"--{name}={self.limit(key)}" for key, name in granted.items()]
        return [
            *("unshare", "--mount", "--propagation=private", "sh", "-c", SANDBOX, "sh"),
            *(("prlimit", *limits) if limits else ()),
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--no-new-privs"),
            *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"),
            *("env", "-u", "STATE_DIRECTORY", "-u", "OOM_SCORE_ADJUST", "-u", "UMASK"),
            *(sys.executable, f"{HERE}/confined.py", os.environ["SERVICE_PROFILE"]),
            *shlex.split(self.unit["ExecStart"]),
        ]

    def limit(self, key):
        return self.unit[key].replace("infinity", "unlimited")

    def environment(self):
        place = f"/var/lib/{self.unit['StateDirectory']}"
        owner = pwd.getpwnam(self.unit["User"])
        os.makedirs(place, exist_ok=True)
        os.chown(place, owner.pw_uid, owner.pw_gid)
        os.chmod(place, int(self.unit["StateDirectoryMode"], 8))
        said = self.unit["Environment"].replace("%S", "/var/lib").split()
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "NOTIFY_SOCKET": NOTIFY,
            "WATCHDOG_USEC": str(int(self.watchdog * 1e6)),
            "STATE_DIRECTORY": place,
            "OOM_SCORE_ADJUST": "" if self.withheld else self.unit["OOMScoreAdjust"],
            "UMASK": self.unit["UMask"],
            **dict(word.split("=", 1) for word in said),
        }


def may_raise():
    """Whether this machine lets root raise limits; containers often do not."""
    with open("/proc/self/status") as file:
        granted = re.search(r"CapEff:\s*(\w+)", file.read()).group(1)
    return bool(int(granted, 16) >> CAP_SYS_RESOURCE & 1)


def seconds(span):
    number, scale = re.fullmatch(r"(\d+)(s|min)", span).groups()
    return int(number) * {"s": 1, "min": 60}[scale]


if __name__ == "__main__":
    main()
