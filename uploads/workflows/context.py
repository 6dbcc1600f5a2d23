"""What a task is given, and what it gives back."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from pydantic import BaseModel

INLINE_OUTPUT = 16_384  # characters of output text; what is longer is a result file as well


def output_name(filename: str, workflow_slug: str) -> str:
    """Of the result file that long output text becomes."""
    return f"{Path(filename).stem}.{workflow_slug}.txt"


@dataclass(frozen=True)
class InputFile:
    """The file that a run works on. `content_type` is what the bytes say; sizes in bytes."""

    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    url: str  # a signed link, good while the file is stored
    metadata: dict[str, object]
    storage_key: str
    storage_backend: str = "local"
    storage_bucket: str = ""


@dataclass(frozen=True)
class PreviousResult:
    """What the workflow that this one follows found out; of its file what is there."""

    task_name: str
    output_text: str
    file: InputFile | None


class Line(Protocol):
    """The way to the worker, which writes everything down. Every call is cheap."""

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
    output_max: int  # characters of output text that are kept; more of it is said to be cut
    folder: Path  # for temporary files and the result; removed after the attempt
    seconds_left: Callable[[], float]  # until the time limit
    callback_url: str  # where an external runner reports to, for as long as this attempt is on
    logger: logging.Logger  # kept with the run
    line: Line
    opener: Callable[[InputFile], BinaryIO]
    secrets: dict[str, str]

    def open(self) -> BinaryIO:
        """The file's bytes, to be read as a stream; seekable."""
        return self.opener(self.file)

    def open_previous(self) -> BinaryIO | None:
        """The result file of the workflow that this one follows."""
        if self.previous is None or self.previous.file is None:
            return None
        return self.opener(self.previous.file)

    def progress(self, percent: float | None, message: str = "") -> None:
        """Tell who watches how far the work is, 0 to 100; None where that is not known."""
        self.line.progress(percent, message)

    def spend(self, amount: Decimal) -> None:
        """Add to the run's cost, when it arises: it stays with the run even if the task fails."""
        self.line.spend(amount)

    def cancelled(self) -> bool:
        """Whether somebody cancelled the run. One that does not ask is killed a little later."""
        return self.line.cancelled()

    def secret(self, name: str) -> str:
        """The value of a secret that the configuration names (see `SecretName`)."""
        return self.secrets[name]


@dataclass(frozen=True)
class WorkflowResult:
    """What a task found out. The file lies in the context's folder and is stored by the worker."""

    output_text: str = ""  # its beginning is kept, see `RunContext.output_max`
    file: Path | None = None
    filename: str = ""  # of the result file, as users see it


@dataclass(frozen=True)
class HandedOver:
    """The work goes on elsewhere: whoever has the callback URL answers within `seconds`."""

    seconds: float
