"""One of the portal's processes by itself, once what it needs is there: `doorito start`."""

import os
import time
from collections.abc import Callable
from typing import NoReturn

import click
from django.conf import settings
from django.db import connection

from boot import startup, supervisor
from boot.errors import CannotRunError, NotYetError
from common.processes import allow_descriptors

_POLL_SECONDS = 1.0


def become(process: str, *, seconds: float) -> NoReturn:
    """Be that process, of those that `doorito up` runs, from now on.

    Raises CannotRunError when the portal is not prepared within so many seconds.
    """
    _retry(startup.refuse_unprepared, seconds, awaited="the portal to be prepared")
    allow_descriptors()
    command = supervisor.commands()[process]
    os.chdir(settings.BASE_DIR)
    os.execv(command[0], command)  # noqa: S606


def wait_for_database(seconds: float) -> None:
    """Raises CannotRunError: it does not answer in time, or its address cannot be used."""
    if settings.EMBEDDED_POSTGRES:
        return  # started by whoever uses it
    database = connection.settings_dict
    place = f"{database['HOST'] or 'this machine'}:{database['PORT'] or 5432}"
    _retry(startup.refuse_unreachable_database, seconds, awaited=f"the database at {place}")


def _retry(attempt: Callable[[], None], seconds: float, *, awaited: str) -> None:
    """Until it raises no NotYetError any more, for so many seconds."""
    deadline = time.monotonic() + seconds
    is_told = False
    while True:
        try:
            return attempt()
        except NotYetError as exc:
            if time.monotonic() >= deadline:
                waited = f" (waited {seconds:g} s for {awaited})" if seconds else ""
                raise CannotRunError(f"{exc}{waited}") from exc
        if not is_told:
            click.echo(f"Waiting for {awaited}, up to {seconds:g} s", err=True)
            is_told = True
        time.sleep(_POLL_SECONDS)
