"""Plain text, unchanged."""

from collections.abc import Iterator
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, size_of
from uploads.workflows.text.decoding import decoded

_PIECE_CHARACTERS = 64 * 1024


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    del job
    size = size_of(source)
    with decoded(source) as text:
        while piece := text.read(_PIECE_CHARACTERS):
            # CR LF may be split between two pieces.
            if piece.endswith("\r"):
                piece += text.read(1)
            yield Piece(piece, min(1.0, source.tell() / size))
