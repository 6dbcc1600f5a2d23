"""Files, sessions and runs go by one clock, the database's, whatever a machine's own says."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.tests.factories import principal_of
from common.errors import Gone, Unauthenticated
from uploads.files import grants, lifecycle, retention
from uploads.files.links import LinkKind, link
from uploads.models import IngestFile, RunStatus, SessionStatus, UploadGrant
from uploads.receiving import abandoned
from uploads.tests.factories import (
    FILES,
    Guest,
    body,
    make_consumed,
    make_session,
    make_stored,
    send_part,
)
from uploads.tests.workflow_factories import make_run, make_running, make_workflow
from uploads.workflows import claims, leftovers, runs
from uploads.workflows.claims import Failure

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]

DATA = b"0123456789"
AHEAD, BEHIND = timedelta(days=60), timedelta(days=-60)


@contextmanager
def clock_off(by):
    """A machine whose clock is wrong, while the database's is not."""
    with time_machine.travel(timezone.now() + by):
        yield


def start_run(file, workflow):
    owner = principal_of(file.uploaded_by)
    return runs.start_run(principal=owner, file_id=file.id, workflow=workflow)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_file_that_such_a_machine_received_is_kept_for_its_time(by):
    with clock_off(by):
        file = make_stored()
    left = file.expires_at - timezone.now()
    lifetime = timedelta(hours=settings.FILE_UPLOAD_TTL_HOURS)
    assert lifetime - timedelta(minutes=1) < left <= lifetime
    assert retention.expire_files() == 0


def test_a_clock_ahead_expires_announces_and_purges_nothing():
    make_stored()
    make_consumed()
    with clock_off(AHEAD):
        assert retention.notify_expiring_files() == 0
        assert retention.expire_files() == 0
        assert retention.purge_files() == 0


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_the_grace_time_of_a_consumed_file_is_by_the_clock_of_the_database(by):
    file = make_stored()
    with clock_off(by):
        consumption = make_consumed()
    assert file.expires_at > timezone.now()
    left = consumption.claim_expires_at - timezone.now()
    assert timedelta() < left <= timedelta(seconds=settings.PORTAL_CONSUME_GRACE_SECONDS)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_file_is_read_until_it_expires_whatever_such_a_machine_says(api, by):
    kept, expired, consumed = (make_stored(DATA, user=api.user) for _ in range(3))
    IngestFile.objects.filter(id=expired.id).update(expires_at=Now() - timedelta(seconds=1))
    claim = lifecycle.consume_file(principal=api.principal, file_id=consumed.id).claim_url
    with clock_off(by):
        assert body(api.get(f"{FILES}/{kept.id}/content")) == DATA
        assert body(api.get(link(LinkKind.FILE, kept.id))) == DATA
        assert api.get(f"{FILES}/{expired.id}/content").json()["code"] == "file_deleted"
        assert body(api.get(claim)) == DATA
    IngestFile.objects.filter(id=consumed.id).update(purge_at=Now() - timedelta(seconds=1))
    with clock_off(by):
        assert api.get(claim).json()["code"] == "file_purged"


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_file_is_kept_longer_at_such_a_machine(api, by):
    file = make_stored(user=api.user)
    later = file.expires_at + timedelta(hours=1)
    with clock_off(by):
        extended = lifecycle.extend_file(principal=api.principal, file_id=file.id, expires_at=later)
    assert extended.expires_at == later


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_run_is_started_at_such_a_machine_until_the_file_expires(by):
    kept, expired = make_stored(), make_stored()
    IngestFile.objects.filter(id=expired.id).update(expires_at=Now() - timedelta(seconds=1))
    workflow = make_workflow()
    with clock_off(by):
        assert start_run(kept, workflow).status == RunStatus.PENDING
        with pytest.raises(Gone):
            start_run(expired, workflow)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_guest_sends_files_until_the_grant_expires_whatever_such_a_machine_says(by):
    guest = Guest(expires_at=timezone.now() + timedelta(hours=1), max_files=1)
    with clock_off(by):
        assert guest.create_session().status_code == 201
        assert guest.create_session().json()["code"] == "grant_files_used_up"
    UploadGrant.objects.update(expires_at=Now() - timedelta(seconds=1))
    with clock_off(by):
        assert guest.create_session().json()["code"] == "grant_expired"
        with transaction.atomic(), pytest.raises(Unauthenticated, match="expired"):
            grants.charge(guest.grant.id, size_bytes=1)
        with pytest.raises(Unauthenticated, match="expired"):
            grants.require_room(guest.principal, size_bytes=1)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_an_upload_is_not_given_up_while_parts_arrive_at_such_a_machine(by):
    with clock_off(by):
        session = make_session(size_bytes=1500)
        send_part(session, 1, b"x" * 1024)
    assert abandoned.abort_idle_sessions() == 0
    with clock_off(AHEAD):
        assert abandoned.abort_idle_sessions() == 0
    session.refresh_from_db()
    assert session.status == SessionStatus.IN_PROGRESS
    assert abs(session.last_activity_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_run_that_such_a_machine_asked_for_is_due_at_once(by):
    with clock_off(by):
        run = make_run()
    assert claims.claim(worker="w") == run


@pytest.mark.parametrize("by", [AHEAD, BEHIND])
def test_a_worker_with_such_a_clock_tries_again_in_time(by):
    run = make_running()
    with clock_off(by):
        assert claims.fail(run, Failure("x", "failed", may_retry=True, retry_after=60))
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING
    assert timedelta(seconds=50) < run.due_at - timezone.now() <= timedelta(seconds=60)


def test_a_clock_ahead_takes_no_run_from_its_worker_and_forgets_none():
    run = make_running()
    with clock_off(timedelta(days=400)):
        assert claims.sweep() == 0
        claims.complete(run, output_text="", is_cut=False, result=None)
        assert leftovers.purge_runs() == 0
    run.refresh_from_db()
    assert abs(run.completed_at - timezone.now()) < timedelta(minutes=1)
