"""A bar for every file on its way, and one for all of them; on standard error, for people only."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from doorito_client.cli.common import printable, progress_console


class Bars:
    """Told from any thread how far each file is."""

    def __init__(self, progress: Progress, *, files: int, total_bytes: int) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._sent: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._total = progress.add_task(f"{files} files", total=total_bytes) if files > 1 else None

    def follow(self, name: str, size_bytes: int) -> Callable[[int], None]:
        """What a transfer calls with the bytes that are through."""

        def update(sent: int) -> None:
            with self._lock:
                if name not in self._tasks:
                    title = printable(name)[-40:]
                    self._tasks[name] = self._progress.add_task(title, total=size_bytes)
                self._sent[name] = sent
                self._progress.update(self._tasks[name], completed=sent)
                if self._total is not None:
                    self._progress.update(self._total, completed=sum(self._sent.values()))

        return update

    def end(self, name: str) -> None:
        """Of several files only those on their way are shown."""
        with self._lock:
            task = self._tasks.pop(name, None)
            if task is not None and self._total is not None:
                self._progress.remove_task(task)


@contextmanager
def bars(*, files: int, total_bytes: int) -> Iterator[Bars]:
    """Nothing is drawn where nobody looks: standard error is no terminal."""
    console = progress_console()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield Bars(progress, files=files, total_bytes=total_bytes)
