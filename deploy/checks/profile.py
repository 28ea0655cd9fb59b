"""Prints what a unit allows of system calls as a seccomp profile of Docker's format.

profile.py UNIT CALLS: CALLS lists what its SystemCallFilter lines come to; the restrictions beside them
are taken from UNIT. What is not allowed fails with the unit's error number.
"""

import errno
import json
import socket
import sys

import unit

CLONE_NAMESPACES = 0x7E020080
PROT_WRITE, PROT_EXEC = 2, 4
O_CREAT, SET_ID = 0o100, 0o6000


def main():
    service = unit.read(sys.argv[1])["Service"]
    with open(sys.argv[2]) as file:
        calls = set(file.read().split())
    refused = getattr(errno, service["SystemCallErrorNumber"])
    ways = dict(restrictions(service))
    # An old way is taken where this one is not there; it could not be looked into.
    unseen = {"clone3", "openat2"} & calls
    calls -= ways.keys() | unseen
    rules = [{"action": "SCMP_ACT_ALLOW", "names": sorted(calls)}]
    rules += [{"action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS, "names": sorted(unseen)}]
    for call, alternatives in ways.items():
        for arguments in alternatives:
            rules.append({"action": "SCMP_ACT_ALLOW", "names": [call], "args": arguments})
    print(json.dumps({"defaultErrnoRet": refused, "syscalls": rules}, indent=1))


def restrictions(service):
    """Calls that are allowed with some arguments only, each with the alternatives."""
    families = service["RestrictAddressFamilies"].split()
    yield "socket", [[equal(0, int(getattr(socket, name)))] for name in families]
    if is_on(service, "RestrictNamespaces"):
        yield "clone", [[without(0, CLONE_NAMESPACES)]]
        yield "unshare", [[equal(0, 0)]]
        yield "setns", []
    if is_on(service, "RestrictRealtime"):
        yield "sched_setscheduler", [[equal(1, policy)] for policy in (0, 3, 5)]
    if is_on(service, "LockPersonality"):
        yield "personality", [[equal(0, 0)], [equal(0, 0xFFFFFFFF)]]
    if is_on(service, "MemoryDenyWriteExecute"):
        both = PROT_WRITE | PROT_EXEC
        yield "mmap", [[without(2, PROT_EXEC)], [masked(2, both, PROT_EXEC)]]
        for call in ("mprotect", "pkey_mprotect"):
            yield call, [[without(2, PROT_EXEC)]]
    if is_on(service, "RestrictSUIDSGID"):
        for call, mode in MODES.items():
            yield call, [[without(mode, SET_ID)]]
        for call, flags in {"open": 1, "openat": 2}.items():
            yield call, [[without(flags, O_CREAT)], [without(flags + 1, SET_ID)]]


# Which argument of a call is a mode.
MODES = {
    "chmod": 1,
    "fchmod": 1,
    "fchmodat": 2,
    "fchmodat2": 2,
    "creat": 1,
    "mkdir": 1,
    "mkdirat": 2,
    "mknod": 1,
    "mknodat": 2,
}


def is_on(service, key):
    return service.get(key, "no") == "yes"


def equal(index, value):
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def without(index, bits):
    return masked(index, bits, 0)


def masked(index, mask, value):
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


if __name__ == "__main__":
    main()
