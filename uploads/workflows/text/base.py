"""What the converters share. Each module has `convert(source, job)`, which yields Markdown."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from uploads.workflows.errors import TaskFailed

_NOTE = re.compile(r"^\*[^*\n]{1,200} could not be read\.\*$", re.MULTILINE)  # of `Job.attempt`
# Formats whose libraries load the whole file into memory.
WHOLE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Piece:
    """A part of the text; may be empty and only report progress (0 to 1, None if unknown)."""

    text: str
    done: float | None = None


@dataclass(frozen=True)
class TextOptions:
    """Limits. `folder` is for temporary files, by default the system's."""

    max_pages: int = 10_000
    max_rows: int = 100_000  # of each table
    max_entries: int = 10_000  # of an archive
    max_unpacked_bytes: int = 512 * 1024 * 1024
    folder: Path | None = None


Warn = Callable[[str], None]


def unheard(_warning: str) -> None:
    """For callers whom warnings are nothing to."""


@dataclass(frozen=True)
class Job:
    """`warn` is told, in a sentence that quotes nothing, which part could not be read."""

    filename: str
    content_type: str
    options: TextOptions = field(default_factory=TextOptions)
    warn: Warn = unheard
    depth: int = 0  # of documents within documents

    def attempt(self, part: str, read: Callable[[], str]) -> str:
        """What `read` gives; if that fails, a note in its place, and a warning.

        `part` names it: `Page 3`, `A chart on slide 2`. What is not the part's fault is raised:
        TaskFailed, MemoryError, OSError.
        """
        try:
            return read()
        except (TaskFailed, MemoryError, OSError):
            raise
        except Exception:
            self.warn(f"{part} could not be read.")
            return f"*{part} could not be read.*"


Converter = Callable[[BinaryIO, Job], Iterator[Piece]]


def unreadable(kind: str, why: object) -> TaskFailed:
    """The error for an invalid file. `kind` has its article: `a PDF`."""
    reason = " ".join(str(why).split())[:300].rstrip(".") or type(why).__name__
    return TaskFailed("file_unreadable", f"The file cannot be read as {kind}: {reason}.")


def without_notes(text: str) -> str:
    return _NOTE.sub("", text)


@contextmanager
def reading(kind: str, *also: type[Exception]) -> Iterator[None]:
    """Turn errors of a parser into `file_unreadable`.

    Except errors that are not the file's fault: MemoryError, and OSError unless listed in `also`.
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
    """The size in bytes. Rewinds the source to its beginning."""
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
