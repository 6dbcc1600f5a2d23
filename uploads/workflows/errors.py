"""The errors by which a task fails. The message tells the user what to do, if anything.

Whatever else a task raises is a fault of the task: users learn its kind, staff read the traceback.
"""


class TaskFailed(Exception):
    """A permanent failure: another attempt would fail too. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TryAgain(TaskFailed):
    """A temporary failure: a retry may succeed, after `retry_after` seconds or the usual wait."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after
