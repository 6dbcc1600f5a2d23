"""Whether a session still takes anything, and the error when it does not."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import DooritoError, Gone, NotFound
from uploads.models import SessionStatus, UploadSession

_BY_STATUS = {kind.status: kind for kind in DooritoError.__subclasses__()}


def require_open(session: UploadSession) -> None:
    if session.status not in UploadSession.OPEN:
        raise ended(session)


def ended(session: UploadSession) -> DooritoError:
    """Why the session takes nothing any more."""
    if session.status == SessionStatus.COMPLETE:
        return Gone("session_complete", "The upload is complete.")
    return Gone(f"session_{session.status}", session.error_message)


def original_error(session: UploadSession) -> DooritoError:
    """The error that ended a session, as it was answered then."""
    if session.status != SessionStatus.FAILED:
        return ended(session)
    kind = _BY_STATUS[session.error_status or Gone.status]
    return kind(session.error_code, session.error_message)


@contextmanager
def missing_spool_explained(session: UploadSession) -> Iterator[None]:
    """A spool that is gone because the session ended meanwhile is that session's end."""
    try:
        yield
    except NotFound as exc:
        current = UploadSession.objects.get(id=session.id)
        if exc.code != "upload_missing" or current.status in UploadSession.OPEN:
            raise
        raise ended(current) from exc
