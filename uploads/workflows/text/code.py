"""Source code and data (JSON, XML, YAML and similar) as one code block."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from uploads.workflows.text import plain
from uploads.workflows.text.base import Job, Piece
from uploads.workflows.text.kinds import LANGUAGES

# Longer than any fence that the text is likely to contain.
_FENCE = "~~~~~~"
_BY_TYPE = {
    "application/json": "json",
    "application/x-ndjson": "json",
    "application/xml": "xml",
    "text/xml": "xml",
    "image/svg+xml": "xml",
    "application/javascript": "javascript",
    "application/x-yaml": "yaml",
    "text/x-shellscript": "bash",
}


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    suffix = PurePath(job.filename).suffix.lower()
    guess = job.content_type.removeprefix("text/x-").removeprefix("script.")
    language = (
        LANGUAGES.get(suffix)
        or _BY_TYPE.get(job.content_type)
        or (guess if guess.isalnum() else "")
    )
    yield Piece(f"{_FENCE}{language}\n")
    yield from plain.convert(source, job)
    yield Piece(f"\n{_FENCE}\n", 1.0)
