"""The text of a document, as Markdown."""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from uploads.workflows.context import RunContext, WorkflowResult
from uploads.workflows.errors import TaskFailed
from uploads.workflows.registry import ADJUSTABLE, TaskConfig, workflow_task
from uploads.workflows.text import ACCEPTED_TYPES, TextOptions, pieces

_MIB = 1024 * 1024


class ExtractTextConfig(TaskConfig):
    max_pages: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000,
        title="Pages at most",
        description="A PDF with more pages fails.",
        json_schema_extra=ADJUSTABLE,
    )
    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        100_000,
        title="Rows at most",
        description="Of each table of a spreadsheet or CSV file; the others are left out.",
        json_schema_extra=ADJUSTABLE,
    )
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000,
        title="Archive entries at most",
        description="An office document with more parts fails; the list of a ZIP file ends there.",
    )
    max_unpacked_mib: Annotated[int, Field(ge=1, le=16_384)] = Field(
        512,
        title="Unpacked size at most (MiB)",
        description="An office document or book that would unpack to more fails.",
    )


@workflow_task("extract_text", accepts=ACCEPTED_TYPES, config=ExtractTextConfig)
def extract_text(context: RunContext[ExtractTextConfig]) -> WorkflowResult:
    """Turns documents, pages, tables, e-mails and books into Markdown."""
    config = context.config
    options = TextOptions(
        max_pages=config.max_pages,
        max_rows=config.max_rows,
        max_entries=config.max_entries,
        max_unpacked_bytes=config.max_unpacked_mib * _MIB,
        folder=context.folder,
    )
    result = context.folder / "text.md"
    beginning = ""
    percent = -1
    count = 0
    warnings: list[str] = []
    with context.open() as source, result.open("w", encoding="utf-8", newline="\n") as target:
        for piece in pieces(
            source=source,
            filename=context.file.filename,
            content_type=context.file.content_type,
            options=options,
            warn=warnings.append,
        ):
            if context.cancelled():
                raise TaskFailed("cancelled", "The run was cancelled.")
            target.write(piece.text)
            count += len(piece.text)
            if (
                len(beginning) <= context.output_max
            ):  # one character more shows that the text is cut
                beginning = (beginning + piece.text)[: context.output_max + 1]
            if piece.done is not None and int(piece.done * 100) > percent:
                percent = int(piece.done * 100)
                context.progress(percent, f"{count:,} characters")
    context.logger.info("%s characters of text", f"{count:,}")
    for warning in warnings:
        context.logger.warning("%s", warning)
    stem = PurePath(context.file.filename).stem or "text"
    return WorkflowResult(
        output_text=beginning, file=result, filename=f"{stem}.md", warnings=warnings
    )
