"""What workers do: read a finished object through, once, have the file checked and store it."""

import logging
import time
from datetime import timedelta

from common.errors import DooritoError, Gone, NotFound, ServiceUnavailable
from uploads.models import FileStatus, SessionStatus, UploadSession
from uploads.receiving import accepting, reading_queue
from uploads.receiving.digests import MoreToRead
from uploads.receiving.finalizing import FinalizeUnderWay, finish_by_worker
from uploads.receiving.lost_writes import forget_parts_at
from uploads.receiving.sessions import end_session
from uploads.storage import handle_of, storage_for
from uploads.storage.base import PartsLost

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 300.0  # of one turn, which a task's time limit must exceed
_WAIT_SECONDS = 30


def finalize_next() -> int:
    """Read the next upload that waits for it, or some more of it, or check it.

    0 when there is none, or nothing that could be checked just now.
    """
    session_id = reading_queue.take()
    if session_id is None:
        return 0
    session = UploadSession.objects.select_related("file").get(id=session_id)
    try:
        if session.file.status == FileStatus.CHECKING:
            return int(accepting.check_held(session).goes_on)
        with storage_for(session).locks.exclusive(handle_of(session)):
            session = UploadSession.objects.select_related("file").get(id=session_id)
            if session.status in UploadSession.OPEN:
                _read(session)
    except FinalizeUnderWay:
        logger.info("Session %s is read through, and to be checked", session_id)
    except MoreToRead:
        reading_queue.put_back(session_id)
    except PartsLost as lost:
        forget_parts_at(session, lost.offsets)
        reading_queue.remove(session_id)
    except (NotFound, Gone) as error:  # somebody removed it from the store
        _fail(session, error)
    except ServiceUnavailable as error:
        wait = timedelta(seconds=error.retry_after or _WAIT_SECONDS)
        reading_queue.put_back(session_id, wait=wait)
    except DooritoError as error:  # it ended, and says why whenever it is asked
        logger.info("Session %s: %s", session_id, error.message)
    except OSError:
        logger.exception("The upload of session %s cannot be read", session_id)
        actor = reading_queue.actor_of(session)
        if not accepting.give_up_late(session, _unreadable(), actor=actor):
            reading_queue.put_back(session_id, wait=timedelta(seconds=_WAIT_SECONDS))
    return 1


def _read(session: UploadSession) -> None:
    until = time.monotonic() + LONGEST_SECONDS

    def on_round() -> bool:
        return reading_queue.prolong(session.id) and time.monotonic() < until

    finish_by_worker(
        session,
        size_bytes=session.length_bytes or 0,
        actor=reading_queue.actor_of(session),
        on_round=on_round,
    )


def _unreadable() -> ServiceUnavailable:
    return ServiceUnavailable("storage_failed", "Its bytes cannot be read.")


def _fail(session: UploadSession, error: DooritoError) -> None:
    session.refresh_from_db()
    if session.status in UploadSession.OPEN:
        actor = reading_queue.actor_of(session)
        end_session(session, status=SessionStatus.FAILED, error=error, actor=actor)
