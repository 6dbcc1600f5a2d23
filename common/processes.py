"""What the kernel is asked to do for a process."""

import ctypes
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 65_536  # far more than is needed; some programs go through all that are allowed


def end_with_parent() -> None:
    """Be killed when the parent dies. Work in hand is lost as in any crash, and done again.

    The kernel can do it on Linux (prctl(2), PR_SET_PDEATHSIG); elsewhere this does nothing, and
    an orphan ends by its own means.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def allow_descriptors() -> int:
    """Let this process, and those it starts, open as many files as it may ask for; how many.

    The usual soft limit of 1,024 is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
