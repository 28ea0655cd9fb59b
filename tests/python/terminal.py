"""Runs a command on a terminal of its own, and tells what came of it as JSON.

    terminal.py COLUMNS LINES END COMMAND [ARGUMENT]...

Waits until the command has drawn a whole screen and then ends it: END is what is typed, the name
of a signal, `gone` if the terminal goes away, or `gone-unheard` if that is not told by a signal as
well, since it is not the terminal of the command's session. With an empty END the command ends by
itself. `drawn` is all that it wrote, `status` its exit code or the number of the signal that ended
it, negative, none if it did not end, and `is_restored` is true if the terminal's settings are as
they were.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

DEADLINE_S = 60


def main():
    columns, lines, end, *command = sys.argv[1:]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", int(lines), int(columns), 0, 0))
    before = termios.tcgetattr(theirs)
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.setsid()
        if end != "gone-unheard":
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        for stream in range(3):
            os.dup2(theirs, stream)
        os.execvpe(command[0], command, dict(os.environ, TERM="xterm-256color"))
    drawn = read(ours, lambda drawn: b"q quit" in drawn) if end else b""
    if end.startswith("gone"):
        os.close(ours)
        ours = None
    elif end.startswith("SIG"):
        os.kill(child, getattr(signal, end))
    else:
        os.write(ours, end.encode())
    # The terminal stays open here, so what it is set to can be asked for.
    begun, status = time.monotonic(), None
    while status is None and time.monotonic() - begun < DEADLINE_S:
        drawn += read(ours, lambda _: True, 0.05)
        ended, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
    if status is None:
        os.kill(child, signal.SIGKILL)
    drawn += read(ours, lambda _: False, 0.2)
    told = {
        "drawn": drawn.decode("utf-8", "replace"),
        "status": status,
        "is_restored": ours is not None and termios.tcgetattr(theirs) == before,
    }
    json.dump(told, sys.stdout)


def read(descriptor, is_enough, seconds=DEADLINE_S):
    """What is written there until it is enough, or for so many seconds; nothing if it is gone."""
    if descriptor is None:
        time.sleep(seconds)
        return b""
    drawn, until = b"", time.monotonic() + seconds
    while time.monotonic() < until:
        readable, _, _ = select.select([descriptor], [], [], until - time.monotonic())
        if not readable:
            break
        drawn += os.read(descriptor, 65536)
        if is_enough(drawn):
            break
    return drawn


main()
