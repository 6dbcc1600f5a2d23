"""The portal's processes end with their supervisor, even one that was killed.

A web worker that outlived its master would keep the port, and a task would run beside its own
repetition.
"""

import os
import signal

from common.processes import end_with_parent

SUPERVISOR_VARIABLE = "DOORITO_SUPERVISOR_PID"


def supervisor() -> int | None:
    """The process id of the `doorito up` that started this process, if one did."""
    process_id = os.environ.get(SUPERVISOR_VARIABLE)
    return int(process_id) if process_id else None


def end_with_supervisor() -> None:
    """Be killed when `doorito up` dies, if that is what started this process."""
    expected = supervisor()
    if expected is None:
        return
    if os.getppid() == expected:
        end_with_parent()
    if os.getppid() != expected:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
