"""Converts documents to Markdown text, piece by piece.

Each format has a module, loaded when it is needed, so that reading a PDF loads no spreadsheet
library.
"""

from collections.abc import Generator
from typing import BinaryIO

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import (
    Job,
    Piece,
    TextOptions,
    Warn,
    unheard,
    unreadable,
    without_notes,
)
from uploads.workflows.text.clean import clean
from uploads.workflows.text.kinds import ACCEPTED_TYPES, converter, kind_of

__all__ = ["ACCEPTED_TYPES", "Piece", "TextOptions", "pieces"]

_DEFAULTS = TextOptions()


def pieces(
    *,
    source: BinaryIO,
    filename: str,
    content_type: str,
    options: TextOptions = _DEFAULTS,
    warn: Warn = unheard,
) -> Generator[Piece]:
    """The file's text in pieces; the caller may stop at any time. `source` is seekable.

    A part that cannot be read is left out, and `warn` is told which.

    Raises TaskFailed: `type_not_supported`, `file_unreadable`, `file_encrypted`, `no_text`,
    `file_too_large`, `too_many_pages`, `too_many_cells`, `archive_bomb`.
    """
    kind = kind_of(source, filename=filename, content_type=content_type)
    source.seek(0)
    told: list[str] = []

    def hear(warning: str) -> None:
        told.append(warning)
        warn(warning)

    job = Job(filename=filename, content_type=content_type, options=options, warn=hear)
    has_text = False
    try:
        for piece in converter(kind)(source, job):
            text = clean(piece.text)
            has_text = has_text or without_notes(text).strip() != ""
            yield Piece(text, piece.done)
    except RecursionError as exc:
        raise unreadable(kind.label, "its parts are nested too deeply") from exc
    if not has_text and told:
        raise unreadable(kind.label, told[0])
    if not has_text:
        raise TaskFailed("no_text", "There is no text in the file.")
