"""``doorito events``: shows events as they happen."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import click

from common.cli_params import PastMoment
from common.console import iso
from common.ids import first_id
from common.models import OutboxEvent
from common.outbox.envelopes import body
from common.outbox.types import event_types, subscribes
from common.webhooks import selectors
from common.webhooks.cli.about import about

POLL = 0.5  # seconds
# Ids are made before the commit, so an event can show up after one with a later id.
LATE = timedelta(seconds=10)
RECENT = "10m"


@click.group()
def events() -> None:
    """Events: follow them."""


def _known(
    _context: click.Context, _param: click.Parameter, patterns: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a misspelt event type, which would never match."""
    for pattern in patterns:
        if not event_types.has_any(pattern):
            raise click.BadParameter(
                f"there is no event type {pattern}. Types: {event_types.listed()}."
            )
    return patterns


@events.command()
@click.option(
    "--type",
    "patterns",
    multiple=True,
    metavar="TYPE",
    callback=_known,
    help="Only this type, or file.* for all of a kind; repeatable.",
)
@click.option(
    "--since",
    type=PastMoment(),
    default=RECENT,
    show_default=True,
    help="How long ago (2h, 3d), or a moment such as 2026-11-20T10:00 (UTC).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON envelope per line.")
@click.option("--once", is_flag=True, help="Print what there is and end.")
def tail(patterns: tuple[str, ...], since: datetime, as_json: bool, once: bool) -> None:
    """Print recent events and follow new ones until Ctrl-C."""
    following = Tail(since)
    try:
        while True:
            for event in following.new_events():
                if subscribes(patterns, event.event_type):
                    click.echo(_envelope(event) if as_json else _line(event))
            if once:
                return
            time.sleep(POLL)
    except KeyboardInterrupt:
        return


class Tail:
    """Yields each event since a moment once, ordered by id as far as possible."""

    def __init__(self, since: datetime) -> None:
        self._floor = first_id(since)
        self._shown: set[UUID] = set()

    def new_events(self) -> Iterator[OutboxEvent]:
        latest = self._floor
        while batch := selectors.events_after(latest):
            yield from (event for event in batch if event.id not in self._shown)
            self._shown.update(event.id for event in batch)
            latest = batch[-1].id
            newest = batch[-1].created_at
            # By the events' clock, which need not be ours.
            self._floor = max(self._floor, first_id(newest - LATE))
        self._shown = {shown for shown in self._shown if shown > self._floor}


def _envelope(event: OutboxEvent) -> str:
    return body(event).decode()


def _line(event: OutboxEvent) -> str:
    parts = (iso(event.created_at), event.event_type, str(event.id), event.status)
    return "  ".join([*map(str, parts), about(event.payload)]).rstrip()
