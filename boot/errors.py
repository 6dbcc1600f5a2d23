"""What keeps Doorito from running, said in one line."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, ProgrammingError

from common.errors import DooritoError

STOPPED = 130  # the exit code of what Ctrl-C ended, as in a shell
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CannotRunError(Exception):
    """Something outside the code is in the way; the message tells the operator what to do."""


class NotYetError(CannotRunError):
    """The same, and it may go away by itself."""


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """What operators can put right ends the program as one line and exit code 1."""
    try:
        yield
    except KeyboardInterrupt:
        _end("Stopped.", STOPPED)
    except (CannotRunError, DooritoError) as exc:
        _fail(str(exc))
    except ImproperlyConfigured as exc:
        configuration = f"'boot.settings.{os.environ['DJANGO_CONFIGURATION']}'"
        _fail(str(exc).removeprefix(f"Couldn't setup configuration {configuration}: "))
    except ModuleNotFoundError as exc:
        if not _is_extra(exc.name):
            raise
        _fail(f"PORTAL_EXTRA_APPS names {exc.name}, and no such module is installed.")
    except ProgrammingError as exc:
        _fail(f"The database is not prepared, run `./doorito prepare`: {exc}")
    except (OperationalError, InterfaceError) as exc:
        _fail(f"The database does not answer: {exc}")
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        _fail(f"Cannot write {exc.filename or 'the output'}: {exc.strerror}.")


def _is_extra(module: str | None) -> bool:
    """Whether a module that is missing belongs to the apps that the operator named."""
    return settings.configured and any(
        f"{app}.".startswith(f"{module}.") for app in settings.PORTAL_EXTRA_APPS
    )


def _fail(message: str) -> None:
    _end(f"Error: {' '.join(message.split())}", 1)


def _end(line: str, code: int) -> None:
    sys.stderr.write(f"{line}\n")
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
