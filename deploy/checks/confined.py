"""confined.py PROFILE COMMAND…: becomes COMMAND under a seccomp profile of Docker's format.

Calls that this libseccomp does not know are passed over, as Docker does.
"""

import json
import os
import sys

import seccomp as s

ACTIONS = {
    "SCMP_ACT_ALLOW": lambda rule: s.ALLOW,
    "SCMP_ACT_ERRNO": lambda rule: s.ERRNO(rule["errnoRet"]),
}
CONDITIONS = {
    "SCMP_CMP_EQ": lambda a: s.Arg(a["index"], s.EQ, a["value"]),
    "SCMP_CMP_MASKED_EQ": lambda a: s.Arg(a["index"], s.MASKED_EQ, a["value"], a["valueTwo"]),
}

with open(sys.argv[1]) as file:
    profile = json.load(file)
found = s.SyscallFilter(s.ERRNO(profile["defaultErrnoRet"]))
for rule in profile["syscalls"]:
    arguments = [CONDITIONS[a["op"]](a) for a in rule.get("args", [])]
    for name in rule["names"]:
        if s.resolve_syscall(s.Arch(), name) != -1:
            found.add_rule(ACTIONS[rule["action"]](rule), name, *arguments)
found.load()
os.execvp(sys.argv[2], sys.argv[2:])
