"""freeze.py THREAD: holds a thread of another process still until it dies, or this one ends.

Nothing else stands still with it, as with SIGSTOP all would.
"""

import ctypes
import os
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WAIT_ALL = 0x40000000  # __WALL: threads, too

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f"freeze: {thread}: {os.strerror(ctypes.get_errno())}")
os.waitpid(thread, WAIT_ALL)
print("held", flush=True)
# A thread that dies meanwhile waits for this one to see it.
os.waitpid(thread, WAIT_ALL)
