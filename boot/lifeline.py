"""Processes that do not outlive their parent, even one that was killed.

A web worker that outlived its master would keep the port, and a task would run beside its own
repetition. The kernel can prevent it on Linux (prctl(2), PR_SET_PDEATHSIG); elsewhere this does
nothing, and an orphan ends by its server's own means.
"""

import ctypes
import os
import signal
import sys

SUPERVISOR_VARIABLE = "DOORITO_SUPERVISOR_PID"

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Be killed when the parent dies. Work in hand is lost as in any crash, and done again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_supervisor() -> None:
    """Be killed when `doorito up` dies, if that is what started this process."""
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor:
        return
    if os.getppid() == int(supervisor):
        end_with_parent()
    if os.getppid() != int(supervisor):  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
