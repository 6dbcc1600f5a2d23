"""Events as they happen, from a list that is newest first."""

from datetime import datetime, timedelta
from uuid import UUID

from doorito_client.flows import Core, Flow
from doorito_client.operations import events
from doorito_client.results import Event

# Ids are made before the commit, so an event can show up after one with a later id.
LATE = timedelta(seconds=10)


class Following:
    """Gives each event since a moment once; without one, those from the first look on."""

    interval = 1.0  # seconds between two looks

    def __init__(self, *, type: str | None, since: datetime | None) -> None:
        self._listing = events(type=type)
        self._floor = since
        self._seen: set[UUID] = set()

    def new(self, core: Core) -> Flow[list[Event]]:
        """Those that were not given yet, oldest first."""
        found = yield from self._since_floor(core)
        fresh = [event for event in reversed(found) if event.id not in self._seen]
        is_first = self._floor is None
        if found:
            newest = found[0].created_at  # by the portal's clock, which need not be ours
            self._floor = max(self._floor or newest - LATE, newest - LATE)
        self._seen = {event.id for event in found}
        return [] if is_first else fresh

    def _since_floor(self, core: Core) -> Flow[list[Event]]:
        found: list[Event] = []
        cursor: str | None = None
        while True:
            page = yield from self._listing.page(core, cursor)
            floor = self._floor
            new = [event for event in page.items if floor is None or event.created_at >= floor]
            found += new
            cursor = page.next_cursor
            if floor is None or cursor is None or len(new) < len(page.items):
                return found
