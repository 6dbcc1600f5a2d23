"""Processes that do not outlive their parent, even one that was killed.

The kernel can prevent it on Linux (prctl(2), PR_SET_PDEATHSIG); elsewhere this does nothing, and
an orphan ends by its own means.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Be killed when the parent dies. Work in hand is lost as in any crash, and done again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
