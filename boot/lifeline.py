"""The portal's processes end with their supervisor, even one that was killed.

A web worker that outlived its master would keep the port, and a task would run beside its own
repetition.
"""

import os
import signal

from common.processes import end_with_parent

SUPERVISOR_VARIABLE = "DOORITO_SUPERVISOR_PID"


def end_with_supervisor() -> None:
    """Be killed when `doorito up` dies, if that is what started this process."""
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor:
        return
    if os.getppid() == int(supervisor):
        end_with_parent()
    if os.getppid() != int(supervisor):  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
