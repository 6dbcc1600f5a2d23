"""Settings of the kernel for a process."""

import ctypes
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 65_536  # far more than is needed; some programs go through all that are allowed


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent dies.

    Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere this does nothing. Interrupted work is
    repeated, as after any crash.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def allow_descriptors() -> int:
    """Raise the limit of open files for this process and its children. Returns the limit.

    The usual soft limit of 1,024 is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
