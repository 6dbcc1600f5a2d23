"""How a task says that it failed. The message is for the user; it says what to do, if anything.

Whatever else a task raises is a fault of the task: users learn its kind, staff read the traceback.
"""


class TaskFailed(Exception):
    """For good: another attempt would fail as well. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TryAgain(TaskFailed):
    """For now: another attempt may succeed, in `retry_after` seconds or after the usual wait."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after
