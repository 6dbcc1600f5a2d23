"""What the modules share. Each has a function `facts(subject)` that returns JSON values by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

Facts = dict[str, object]


@dataclass(frozen=True)
class Subject:
    source: BinaryIO  # seekable, to be read from its beginning
    filename: str
    content_type: str
    size_bytes: int
    check: Callable[[], None]  # to be called in loops; raises when the run is cancelled


Probe = Callable[[Subject], Facts]


def known(**values: object) -> Facts:
    """The given values without those that are None."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
