"""Options shared by several commands."""

import click

event_types = click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    help="An event type, or file.* for all of a kind; repeatable. Without it, all events.",
)
