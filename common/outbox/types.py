"""The registry of event types. Each app registers its own in `AppConfig.ready`."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.models import OutboxEvent
from common.outbox.payloads import Payload

# Whether a reader, of a type known to the registering app, may see READERS_ONLY members.
MayRead = Callable[[Any, OutboxEvent], bool]


def nobody(_reader: Any, _event: OutboxEvent) -> bool:
    return False


@dataclass(frozen=True)
class EventKind:
    """The events about one kind of thing: `file.uploaded` and `file.deleted` are of kind `file`.

    `label` is its heading in lists. `examples` are published payloads by type; the class of a
    type's example is the class of its payloads.
    """

    name: str
    label: str
    examples: Mapping[str, Payload]
    may_read: MayRead = nobody

    def __post_init__(self) -> None:
        for event_type in self.examples:
            if event_type.partition(".")[0] != self.name:
                raise ValueError(f"{event_type} is no event of the kind {self.name}.")


class EventTypes:
    """All types, in the order of lists: kinds of higher apps come first."""

    def __init__(self) -> None:
        self._kinds: dict[str, EventKind] = {}

    def register(self, *kinds: EventKind) -> None:
        """Raises ValueError when another app has registered a kind with that name."""
        added = {kind.name: kind for kind in kinds}
        if taken := [name for name in added if self._kinds.get(name, added[name]) != added[name]]:
            raise ValueError(f"These kinds of events are registered already: {', '.join(taken)}.")
        self._kinds = added | self._kinds

    def __iter__(self) -> Iterator[str]:
        for kind in self._kinds.values():
            yield from kind.examples

    def __contains__(self, event_type: str) -> bool:
        kind = self.kind_of(event_type)
        return kind is not None and event_type in kind.examples

    @property
    def kinds(self) -> list[EventKind]:
        return list(self._kinds.values())

    def kind_of(self, event_type: str) -> EventKind | None:
        """None for a type whose app is no longer installed."""
        return self._kinds.get(event_type.partition(".")[0])

    def example_of(self, event_type: str) -> Payload:
        """Raises KeyError for an unknown type."""
        return self._kinds[event_type.partition(".")[0]].examples[event_type]

    def has_any(self, pattern: str) -> bool:
        """Whether a filter matches any known type: a misspelt one would never match."""
        return any(subscribes([pattern], event_type) for event_type in self)

    def listed(self) -> str:
        """All types by name, for messages."""
        return ", ".join(sorted(self))


event_types = EventTypes()


def subscribes(patterns: Collection[str], event_type: str) -> bool:
    """Whether an endpoint's filter (`file.uploaded`, `file.*`, empty for all) matches a type."""
    return not patterns or any(
        pattern in ("*", event_type)
        or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )
