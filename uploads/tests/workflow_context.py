"""A context for a task that a test calls in its own process."""

import hashlib
import logging
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from common.ids import uuid7
from uploads.workflows import registry
from uploads.workflows.context import InputFile, PreviousResult, RunContext


@dataclass
class ReportLog:
    """What a task told of its work."""

    steps: list[tuple[float | None, str]] = field(default_factory=list)
    spent: Decimal = Decimal(0)
    is_cancelled: bool = False

    def progress(self, percent: float | None, message: str) -> None:
        self.steps.append((percent, message))

    def spend(self, amount: Decimal) -> None:
        self.spent += amount

    def cancelled(self) -> bool:
        return self.is_cancelled


def input_file(path: Path, content_type: str, *, url: str = "http://testserver/f/x") -> InputFile:
    content = path.read_bytes()
    return InputFile(
        id=uuid7(),
        filename=path.name,
        content_type=content_type,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        url=url,
        metadata={},
        storage_key=str(path),
    )


def context_for(
    task_name: str,
    path: Path,
    content_type: str,
    *,
    folder: Path,
    config: dict[str, Any] | None = None,
    previous: PreviousResult | None = None,
    secrets: dict[str, str] | None = None,
    callback_url: str = "http://testserver/api/v1/runs/callback/x",
    seconds: float = 60,
) -> RunContext[Any]:
    """As the worker makes it; `folder` must exist. `context.reporter` is a ReportLog."""
    started = monotonic()
    return RunContext(
        run_id=uuid7(),
        attempt=1,
        workflow_slug="test",
        file=input_file(path, content_type),
        previous=previous,
        config=registry.get(task_name).config.model_validate(config or {}),
        output_max=65_536,
        folder=folder,
        seconds_left=lambda: started + seconds - monotonic(),
        callback_url=callback_url,
        logger=logging.getLogger("test.workflow"),
        reporter=ReportLog(),
        opener=_open,
        secrets=secrets or {},
    )


def _open(file: InputFile) -> BinaryIO:
    return Path(file.storage_key).open("rb")
