"""Who waits in the web server's loop, and until when."""

import time
from collections import OrderedDict
from collections.abc import Hashable


class Waiting[T: Hashable]:
    """Those who wait for the same, each for so many seconds; cheap with thousands of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines: OrderedDict[T, float] = OrderedDict()  # monotonic, the earliest first

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, waiting: T) -> None:
        """Begin to wait, or begin anew."""
        self._deadlines[waiting] = time.monotonic() + self._seconds
        self._deadlines.move_to_end(waiting)

    def remove(self, waiting: T) -> None:
        self._deadlines.pop(waiting, None)

    def longest(self) -> T | None:
        """Who has waited longest."""
        return next(iter(self._deadlines), None)

    def overdue(self) -> list[T]:
        """Those whose time is over; they stay until they are removed."""
        now = time.monotonic()
        found = []
        for waiting, deadline in self._deadlines.items():
            if deadline > now:
                break
            found.append(waiting)
        return found

    def everybody(self) -> list[T]:
        return list(self._deadlines)

    def end_by(self, deadline: float) -> None:
        """Let nobody wait longer than until `deadline` (monotonic)."""
        capped = ((waiting, min(until, deadline)) for waiting, until in self._deadlines.items())
        self._deadlines = OrderedDict(capped)
