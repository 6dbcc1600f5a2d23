"""The input of a task, and its result."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from pydantic import BaseModel

INLINE_OUTPUT = 16_384  # characters of output text; longer text is stored as a result file too


def output_name(filename: str, workflow_slug: str) -> str:
    """The name of the result file that holds long output text."""
    return f"{Path(filename).stem}.{workflow_slug}.txt"


@dataclass(frozen=True)
class InputFile:
    """The file that a run works on. `content_type` is detected from its bytes."""

    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    url: str  # a signed link, valid while the file is stored
    metadata: dict[str, object]
    storage_key: str
    storage_backend: str = "local"
    storage_bucket: str = ""


@dataclass(frozen=True)
class PreviousResult:
    """The result of the workflow before this one. `file` is None if it made none or it is gone."""

    task_name: str
    output_text: str
    file: InputFile | None


class Reporter(Protocol):
    """Reports to the worker, which saves everything. Every call is cheap."""

    def progress(self, percent: float | None, message: str) -> None: ...

    def spend(self, amount: Decimal) -> None: ...

    def cancelled(self) -> bool: ...


@dataclass(frozen=True)
class RunContext[Config: BaseModel]:
    """One attempt of a run, as its task sees it, in a process of its own."""

    run_id: UUID
    attempt: int  # from 1
    workflow_slug: str
    file: InputFile
    previous: PreviousResult | None
    config: Config
    output_max: int  # characters of output text that are kept; longer text is marked as cut
    folder: Path  # for temporary files and the result; removed after the attempt
    seconds_left: Callable[[], float]  # until the time limit
    callback_url: str  # where an external runner sends its answer while this attempt lasts
    logger: logging.Logger  # its lines are saved with the run
    reporter: Reporter
    opener: Callable[[InputFile], BinaryIO]
    secrets: dict[str, str]

    def open(self) -> BinaryIO:
        """Open the file's bytes as a seekable stream."""
        return self.opener(self.file)

    def open_previous(self) -> BinaryIO | None:
        """Open the result file of the workflow before this one; None if there is none."""
        if self.previous is None or self.previous.file is None:
            return None
        return self.opener(self.previous.file)

    def progress(self, percent: float | None, message: str = "") -> None:
        """Report progress to users: 0 to 100 percent, None if unknown."""
        self.reporter.progress(percent, message)

    def spend(self, amount: Decimal) -> None:
        """Add to the run's cost. Call it as costs arise: they count even if the task fails."""
        self.reporter.spend(amount)

    def cancelled(self) -> bool:
        """Whether the run was cancelled. A task that does not check is killed a little later."""
        return self.reporter.cancelled()

    def secret(self, name: str) -> str:
        """The value of a secret that the configuration names (see `SecretName`)."""
        return self.secrets[name]


@dataclass(frozen=True)
class WorkflowResult:
    """The result of a task. `file` is in the context's folder; the worker stores it."""

    output_text: str = ""  # cut to `RunContext.output_max` characters
    file: Path | None = None
    filename: str = ""  # of the result file, as users see it
    # What could not be read although the task succeeded, for people. They quote nothing of the
    # file: whoever may see the run sees them.
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class HandedOver:
    """An external runner continues the work and answers at the callback URL within `seconds`."""

    seconds: float
