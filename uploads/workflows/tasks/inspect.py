"""What a file is, as JSON."""

import json
from contextlib import closing
from importlib import import_module
from typing import BinaryIO

from uploads.workflows.context import RunContext, WorkflowResult
from uploads.workflows.errors import TaskFailed
from uploads.workflows.facts.base import Facts, Probe, Subject
from uploads.workflows.registry import NoConfig, workflow_task
from uploads.workflows.text import TextOptions, pieces
from uploads.workflows.text.kinds import Kind, kind_of

_LANGUAGE_CHARACTERS = 64 * 1024
_ARCHIVE_TYPES = {
    "application/x-tar",
    "application/gzip",
    "application/x-gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-lzma",
    "application/x-7z-compressed",
    "application/x-rar",
    "application/vnd.rar",
    "application/zstd",
}
_OFFICE = {Kind.DOCX, Kind.PPTX, Kind.XLSX, Kind.ODS, Kind.ODF, Kind.EPUB}
_PLAIN = {Kind.PLAIN, Kind.CODE, Kind.CSV, Kind.HTML, Kind.EMAIL, Kind.LATEX}
_WITHOUT_LANGUAGE = {Kind.ZIP, Kind.CODE}
# Already known to whoever asks about the file.
_EXPECTED = {"type_not_supported", "no_text"}


@workflow_task("inspect", config=NoConfig)
def inspect(context: RunContext[NoConfig]) -> WorkflowResult:
    """Tells what a file is: type, dimensions, pages, duration, entries, language, as JSON."""
    file = context.file
    found: Facts = {
        "filename": file.filename,
        "content_type": file.content_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }
    problems: list[Facts] = []
    with context.open() as source:
        kind = _kind(source, context, problems)
        section = _section(file.content_type, kind)
        if section is not None:
            context.progress(10, "reading")
            try:
                found[section] = _facts(section, source, context)
            except TaskFailed as exc:
                _note(exc, problems)
        if kind is not None and kind not in _WITHOUT_LANGUAGE:
            context.progress(50, "guessing the language")
            found["language"] = _language(source, context, problems)
    found["problems"] = problems
    return WorkflowResult(output_text=json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _kind(source: BinaryIO, context: RunContext[NoConfig], problems: list[Facts]) -> Kind | None:
    try:
        return kind_of(
            source, filename=context.file.filename, content_type=context.file.content_type
        )
    except TaskFailed as exc:
        _note(exc, problems)
        return None


def _section(content_type: str, kind: Kind | None) -> str | None:
    """The name of the module for such files, which is also the key in the answer."""
    family = content_type.partition("/")[0]
    if kind is Kind.PDF:
        return "pdf"
    if kind in _OFFICE:
        return "office"
    if kind is Kind.ZIP or content_type in _ARCHIVE_TYPES:
        return "archive"
    if kind in _PLAIN:
        return "text"
    if family == "image":
        return "image"
    return "media" if family in {"audio", "video"} or content_type == "application/ogg" else None


def _facts(section: str, source: BinaryIO, context: RunContext[NoConfig]) -> Facts:
    probe: Probe = import_module(f"uploads.workflows.facts.{section}").facts
    source.seek(0)
    return probe(
        Subject(
            source=source,
            filename=context.file.filename,
            content_type=context.file.content_type,
            size_bytes=context.file.size_bytes,
            check=lambda: _check(context),
        )
    )


def _language(
    source: BinaryIO, context: RunContext[NoConfig], problems: list[Facts]
) -> Facts | None:
    """The language of the first words; None if there are too few."""
    text = ""
    try:
        read = pieces(
            source=source,
            filename=context.file.filename,
            content_type=context.file.content_type,
            options=TextOptions(folder=context.folder),
        )
        with closing(read):
            for piece in read:
                _check(context)
                text += piece.text
                if len(text) >= _LANGUAGE_CHARACTERS:
                    break
    except TaskFailed as exc:
        _note(exc, problems)
    guess = import_module("uploads.workflows.facts.language").language
    guessed: Facts | None = guess(text[:_LANGUAGE_CHARACTERS])
    return guessed


def _check(context: RunContext[NoConfig]) -> None:
    if context.cancelled():
        raise TaskFailed("cancelled", "The run was cancelled.")


def _note(problem: TaskFailed, problems: list[Facts]) -> None:
    """Add a problem with the file to the list. Cancellation is raised again."""
    if problem.code == "cancelled":
        raise problem
    noted: Facts = {"code": problem.code, "message": problem.message}
    if problem.code not in _EXPECTED and noted not in problems:
        problems.append(noted)
