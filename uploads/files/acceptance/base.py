"""What checks of acceptance are given, and what they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol
from uuid import UUID

from common.errors import ServiceUnavailable
from uploads.storage import StoredObject


@dataclass(frozen=True)
class Proof:
    """What the bytes of a whole file were found to be, and where they lie."""

    sha256: str
    detected_type: str
    stored: StoredObject


@dataclass(frozen=True)
class Candidate:
    """A whole file that is not stored yet. The two types are the declared and the detected one."""

    filename: str
    size_bytes: int
    content_type: str
    detected_type: str
    grant_id: UUID | None = None  # under which a guest sends it


class Content(Protocol):
    """The bytes of a candidate."""

    def open(self, *, start: int = 0, end: int | None = None) -> BinaryIO:
        """From `start` to `end` (exclusive; None: to the last one)."""


@dataclass(frozen=True)
class Patience:
    """How long whoever waits for a check does so; what takes longer is left to a worker.

    `on_beat` is called every few seconds, and raises when nobody waits any more.
    """

    silent_seconds: float  # with no sign of whatever is asked
    seconds: float  # altogether
    most_bytes: int | None = None  # to be read, of one file; None: any number
    on_beat: Callable[[], None] = lambda: None


class LeftToWorker(ServiceUnavailable):
    """The check takes longer than its caller waits. Nothing is wrong."""

    def __init__(self) -> None:
        super().__init__("being_checked", "The file is being checked.", retry_after=2)


@dataclass(frozen=True)
class Check:
    """A condition of acceptance, in up to two stages; each raises what the file is refused for.

    `facts` looks at what is known of a whole upload, `content` at its bytes. That reads no more
    than `Patience` allows and raises LeftToWorker otherwise; it raises ServiceUnavailable while it
    cannot judge. A refusal is UnprocessableContent, UnsupportedType or PayloadTooLarge. What is
    larger than `most_bytes` is refused before it is sent.
    """

    name: str
    is_on: Callable[[], bool] = lambda: True
    most_bytes: Callable[[], int] | None = None  # of a file that it can judge
    facts: Callable[[Candidate], None] | None = None
    content: Callable[[Candidate, Content, Patience], None] | None = None
