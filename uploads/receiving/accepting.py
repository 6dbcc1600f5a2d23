"""From a proven upload to a stored file: it is checked at once where that is quick, else it waits.

Whoever waits is a row: the file's state says that it is being checked, its session is queued for a
worker (`uploads.receiving.reading_queue`), and nothing of it is announced or given out before.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.principals import Actor
from common.errors import DooritoError, Gone, ServiceUnavailable
from uploads.files import lifecycle, states
from uploads.files.acceptance import checks
from uploads.files.acceptance.base import Candidate, LeftToWorker, Patience, Proof
from uploads.files.acceptance.checks import REFUSALS, Accepted
from uploads.files.acceptance.viruses import Infected
from uploads.files.states import NewFile
from uploads.models import IngestFile, SessionStatus, UploadPart, UploadSession
from uploads.receiving import reading_queue
from uploads.receiving.endings import original_error
from uploads.receiving.sessions import end_session, remove_spool
from uploads.storage import object_of

# A request looks through a little itself; a client does not wait for more. Of the ten seconds,
# three are left to ask a scanner that is silent whether it is there.
AT_ONCE = Patience(silent_seconds=7, seconds=10, most_bytes=16 * 2**20)
_LONGEST_SECONDS = 420.0  # of a worker, which a task's time limit must exceed
_FIRST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(seconds=300)


def accept_at_once(candidate: Candidate, proof: Proof) -> Accepted | ServiceUnavailable:
    """The accepted file, or why it has to be checked later. Raises a refusal."""
    try:
        return checks.check_content(candidate, proof, patience=AT_ONCE)
    except ServiceUnavailable as later:
        return later


def hold(
    session: UploadSession, proof: Proof, *, waits_for: ServiceUnavailable, actor: Actor
) -> IngestFile | None:
    """Leave a proven upload to a worker. None when it is no longer open."""
    with transaction.atomic():
        if not reading_queue.put_proven(session, actor=actor, wait=_first_wait(waits_for)):
            return None
        return states.hold(session.file_id, proof, waits_for=waits_for)


def hold_new(
    session: UploadSession,
    new: NewFile,
    proof: Proof,
    *,
    waits_for: ServiceUnavailable,
    actor: Actor,
) -> IngestFile:
    """The same for a file that came in one request, and its new `session`, in one transaction."""
    session.status = SessionStatus.IN_PROGRESS
    session.parts_purged_at = None
    session.save(force_insert=True)
    reading_queue.put_proven(session, actor=actor, wait=_first_wait(waits_for))
    file = states.hold_new(new, proof, waits_for=waits_for)
    if session.total_parts:  # a part that is sent to it is compared with this one
        UploadPart.objects.create(
            session=session,
            part_number=1,
            offset_bytes=0,
            size_bytes=new.size_bytes,
            digest_algorithm="sha-256",
            digest=proof.sha256,
        )
    return file


def mark_stored(session: UploadSession, accepted: Accepted, *, actor: Actor) -> IngestFile | None:
    """The session's end and the file's state, together; None when no longer open."""
    with transaction.atomic():
        completed = UploadSession.objects.filter(
            id=session.id, status__in=UploadSession.OPEN, received_bytes=F("length_bytes")
        ).change(status=SessionStatus.COMPLETE, last_activity_at=Now())
        if not completed:
            return None
        file = states.store(session.file_id, accepted, actor=actor)
        return lifecycle.keep_at_least(file, seconds=session.keep_seconds)


def decided(refusal: DooritoError) -> ServiceUnavailable:
    """What a refused file is held for until `refuse` ends it: so what it was is on record."""
    return ServiceUnavailable(refusal.code, refusal.message)


def refuse(session: UploadSession, error: DooritoError, *, actor: Actor) -> DooritoError:
    """End an upload that was held, and is not accepted; the error as every repeat will give it."""
    quarantine = timedelta(hours=settings.PORTAL_QUARANTINE_HOURS)
    end_session(
        session,
        status=SessionStatus.FAILED,
        error=error,
        actor=actor,
        keep_for=quarantine if isinstance(error, Infected) else None,
    )
    return original_error(UploadSession.objects.get(id=session.id))


@dataclass(frozen=True)
class Turn:
    """What came of a worker's turn: whether there is any use in going on with others."""

    goes_on: bool


def check_held(session: UploadSession) -> Turn:
    """Check a file that waits for it, and which the caller has the lease of."""
    file, actor = session.file, reading_queue.actor_of(session)
    proof = Proof(file.sha256, file.detected_type, object_of(file))
    try:
        accepted = checks.check_content(_candidate_of(file), proof, patience=_of_worker(session))
    except REFUSALS as error:
        refuse(session, error, actor=actor)
    except ServiceUnavailable as error:
        _wait(session, error, actor=actor)
        return Turn(goes_on=error.code != "scanner_unavailable")
    else:
        if mark_stored(session, accepted, actor=actor) is None:
            remove_spool(session)
    return Turn(goes_on=True)


def _wait(session: UploadSession, error: ServiceUnavailable, *, actor: Actor) -> None:
    """The longer a file waits, the rarer it is tried; not for ever."""
    if give_up_late(session, error, actor=actor):
        return
    waited = reading_queue.waited(session.id) or timedelta()
    wait = min(max(waited / 2, _FIRST_WAIT), _LONGEST_WAIT)
    with transaction.atomic():
        reading_queue.put_back(session.id, wait=wait)
        states.wait_on(session.file_id, waits_for=error)


def give_up_late(session: UploadSession, error: ServiceUnavailable, *, actor: Actor) -> bool:
    """End an upload that `error` has kept waiting for too long. Whether it had."""
    waited = reading_queue.waited(session.id)
    if waited is None or waited <= timedelta(hours=settings.PORTAL_CHECK_WAIT_HOURS):
        return False
    given_up = Gone(
        "not_checked",
        f"The file could not be checked for {settings.PORTAL_CHECK_WAIT_HOURS} hours and was "
        f"not stored. {error.message}",
    )
    return end_session(session, status=SessionStatus.FAILED, error=given_up, actor=actor)


def _first_wait(waits_for: ServiceUnavailable) -> timedelta:
    return timedelta() if isinstance(waits_for, LeftToWorker) else _FIRST_WAIT


def _of_worker(session: UploadSession) -> Patience:
    def on_beat() -> None:
        if not reading_queue.prolong(session.id):
            raise Gone("aborted", "The upload was given up meanwhile.")

    silent = float(settings.PORTAL_SCANNER_TIMEOUT_SECONDS)
    return Patience(silent_seconds=silent, seconds=_LONGEST_SECONDS, on_beat=on_beat)


def _candidate_of(file: IngestFile) -> Candidate:
    return Candidate(
        filename=file.original_filename,
        size_bytes=file.size_bytes,
        content_type=file.content_type,
        detected_type=file.detected_type,
        grant_id=file.grant_id,
    )
