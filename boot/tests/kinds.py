"""What kind of test each is: the quick ones can be run alone, the costly ones share what they need.

The marks are listed in pyproject.toml. `browser` follows from where a test is, and `process` from
the portal that it asks for; other tests that start processes say so themselves
(`pytestmark = pytest.mark.process`), or fail. Only `long` is left to judgement.
"""

import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from xdist.scheduler import LoadGroupScheduling

# A portal that is running for many tests, by its fixture. Its tests run one after another in one of
# pytest-xdist's processes, or each process would start its own.
_SHARED_PORTALS = {"product": "browser", "door": "door", "portal": "portal"}
_BROWSER_TESTS = Path(__file__).resolve().parents[2] / "frontend" / "tests" / "browser"


def mark(item: pytest.Item) -> None:
    """Add the marks that follow from what a test is."""
    asked_for = getattr(item, "fixturenames", ())
    if _BROWSER_TESTS in item.path.parents:
        item.add_marker("browser")
    portals = [group for name, group in _SHARED_PORTALS.items() if name in asked_for]
    if portals:
        item.add_marker("process")
        item.add_marker(pytest.mark.xdist_group(portals[0]))


def costly_first(item: pytest.Item) -> int:
    """A key to sort by: with short tests at the end, no process waits long for the other."""
    marks = {mark.name for mark in item.iter_markers()}
    order = ("browser", "xdist_group", "long", "process")
    return next((number for number, name in enumerate(order) if name in marks), len(order))


def require_groups(items: list[pytest.Item]) -> None:
    """pytest-xdist marks a group in its tests' ids. Where it does not, each process has portals."""
    for item in items:
        for group in item.iter_markers("xdist_group"):
            if not item.nodeid.endswith(f"@{group.args[0]}"):
                raise pytest.UsageError(f"{item.nodeid} is not in its group, {group.args[0]}.")


class Scheduling(LoadGroupScheduling):
    """Tests of one group, else of one file, run one after another in one process."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.split("::", maxsplit=1)[0]


class StartedProcesses:
    """Those that this process has started since `forget`, in words."""

    _events = frozenset(
        {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
    )
    key: ClassVar = pytest.StashKey["StartedProcesses"]()

    def __init__(self) -> None:
        self._noted: list[str] = []
        self._process_id = os.getpid()
        sys.addaudithook(self._note)  # stays to the end: there is no way to remove one
        self._note_starts_of_multiprocessing()

    def forget(self) -> None:
        self._noted.clear()

    def refuse_unless_marked(self, item: pytest.Item) -> None:
        marks = {mark.name for mark in item.iter_markers()}
        if self._noted and not marks & {"process", "browser"}:
            pytest.fail(f"It starts a process: mark it `process`. {self._noted[0]}", pytrace=False)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in self._events and os.getpid() == self._process_id:
            self._noted.append(f"{event}{arguments}"[:200])

    def _note_starts_of_multiprocessing(self) -> None:
        """They raise no audit event."""
        start = BaseProcess.start

        def noted_start(process: BaseProcess) -> None:
            self._noted.append(repr(process))
            start(process)

        BaseProcess.start = noted_start  # type: ignore[method-assign, assignment]
