"""Runs a command as a machine would that allows less.

    confined.py [--unprivileged] [--memlock BYTES] [--forbid NAME=ERRNO]... COMMAND [ARGUMENT]...

`--unprivileged` drops every capability, so that the superuser is a user like any other;
`--memlock` sets the limit of locked memory; `--forbid` has the system call NAME answer ERRNO, as
the seccomp profile of a container does. What cannot be arranged ends it with exit code 99.
"""

import argparse
import ctypes
import errno
import os
import platform
import resource
import struct
import sys

PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
SECCOMP_MODE_FILTER = 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06

# The numbers of new system calls are the same everywhere, those of old ones are not.
CALLS = {
    "x86_64": {"io_uring_setup": 425, "fallocate": 285, "mkdir": 83, "mkdirat": 258},
    "aarch64": {"io_uring_setup": 425, "fallocate": 47, "mkdirat": 34},
}

libc = ctypes.CDLL(None, use_errno=True)


def prctl(*numbers):
    answer = libc.prctl(*(ctypes.c_ulong(number) for number in numbers))
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def drop_capabilities():
    """What is not in the bounding set is not regained by executing a program as the superuser."""
    if os.geteuid() != 0:
        return
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_READ, capability)
        except OSError:
            break
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def forbid(calls):
    """Installs a filter: each of these system calls answers its error, all others pass."""
    steps = [struct.pack("=HBBI", LOAD_WORD, 0, 0, 0)]
    for name, error in calls:
        number = CALLS[platform.machine()][name]
        steps.append(struct.pack("=HBBI", JUMP_IF_EQUAL, 0, 1, number))
        steps.append(struct.pack("=HBBI", RETURN, 0, 0, RET_ERRNO | error))
    steps.append(struct.pack("=HBBI", RETURN, 0, 0, RET_ALLOW))
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    program = ctypes.create_string_buffer(program)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)


def rule(text):
    name, _, error = text.partition("=")
    if name not in CALLS[platform.machine()]:
        raise argparse.ArgumentTypeError(f"no known system call: {name}")
    return name, getattr(errno, error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--unprivileged", action="store_true")
    parser.add_argument("--memlock", type=int, metavar="BYTES")
    parser.add_argument("--forbid", type=rule, action="append", default=[], metavar="NAME=ERRNO")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        if options.memlock is not None:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (options.memlock, options.memlock))
        if options.unprivileged:
            drop_capabilities()
        if options.forbid:
            forbid(options.forbid)
        os.execvp(options.command[0], options.command)
    except OSError as error:
        print(f"confined.py: {error}", file=sys.stderr)
        sys.exit(99)


if __name__ == "__main__":
    main()
