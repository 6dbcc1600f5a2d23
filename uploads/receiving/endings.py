"""The errors for sessions that are no longer open."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from common.errors import DooritoError, Gone, NotFound
from uploads.models import SessionStatus, UploadSession

_BY_STATUS = {kind.status: kind for kind in DooritoError.__subclasses__()}


def ended(session: UploadSession) -> DooritoError:
    """The error for a session that is no longer open."""
    if session.status == SessionStatus.COMPLETE:
        return Gone("session_complete", "The upload is complete.")
    return Gone(f"session_{session.status}", session.error_message)


def require_open(session: UploadSession) -> None:
    """Raises Gone if the session is no longer open."""
    if session.status not in UploadSession.OPEN:
        raise ended(session)


def original_error(session: UploadSession) -> DooritoError:
    """The error that ended a session, as it was answered then."""
    if session.status != SessionStatus.FAILED:
        return ended(session)
    kind = _BY_STATUS[session.error_status or Gone.status]
    return kind(session.error_code, session.error_message)


@contextmanager
def missing_spool_explained(session_id: UUID) -> Iterator[None]:
    """Raise the session's own error if the spool is missing because the session ended meanwhile."""
    try:
        yield
    except NotFound as exc:
        if exc.code != "upload_missing":
            raise
        current = UploadSession.objects.get(id=session_id)
        if current.status in UploadSession.OPEN:
            raise
        raise ended(current) from exc
