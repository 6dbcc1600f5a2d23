"""What the converters share. Each is a module with `convert(source, job)`, pieces of Markdown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from uploads.workflows.errors import TaskFailed

# Formats that their libraries hold in memory as a whole.
WHOLE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Piece:
    """A part of the text, at times empty: only to say how far the work is (0 to 1, if known)."""

    text: str
    done: float | None = None


@dataclass(frozen=True)
class TextOptions:
    """Bounds of the work. `folder` is for temporary files, by default the system's."""

    max_pages: int = 10_000
    max_rows: int = 100_000  # of each table
    max_entries: int = 10_000  # of an archive
    max_unpacked_bytes: int = 512 * 1024 * 1024
    folder: Path | None = None


@dataclass(frozen=True)
class Job:
    filename: str
    content_type: str
    options: TextOptions = field(default_factory=TextOptions)


Converter = Callable[[BinaryIO, Job], Iterator[Piece]]


def unreadable(kind: str, why: object) -> TaskFailed:
    """The error for broken bytes, `kind` with its article: `a PDF`."""
    said = " ".join(str(why).split())[:300].rstrip(".") or type(why).__name__
    return TaskFailed("file_unreadable", f"The file cannot be read as {kind}: {said}.")


@contextmanager
def reading(kind: str, *also: type[Exception]) -> Iterator[None]:
    """Around a library that reads a stranger's bytes: whatever it raises is said of the file.

    Not so for what is no property of the file: memory, and OSError, unless named in `also`.
    """
    try:
        yield
    except (TaskFailed, MemoryError, RecursionError):
        raise
    except also as exc:
        raise unreadable(kind, exc) from exc
    except OSError:
        raise
    except Exception as exc:
        raise unreadable(kind, exc) from exc


def encrypted() -> TaskFailed:
    return TaskFailed(
        "file_encrypted", "The file is protected by a password. Upload it without protection."
    )


def size_of(source: BinaryIO) -> int:
    """In bytes; leaves the source at its beginning."""
    size = source.seek(0, 2)
    source.seek(0)
    return size


def check_fits_memory(source: BinaryIO, kind: str) -> None:
    size = size_of(source)
    if size > WHOLE_BYTES_MAX:
        raise TaskFailed(
            "file_too_large",
            f"{kind} of {size:,} bytes is more than the {WHOLE_BYTES_MAX:,} that can be converted.",
        )
