"""Files, sessions and runs go by one clock, the database's, whatever a machine's own says."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from uploads.files import retention
from uploads.models import RunStatus, SessionStatus
from uploads.receiving import abandoned
from uploads.tests.factories import make_consumed, make_session, make_stored, send_part
from uploads.tests.workflow_factories import make_run, make_running
from uploads.workflows import claims, leftovers
from uploads.workflows.claims import Failure

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]

AHEAD, BEHIND = timedelta(days=60), timedelta(days=-60)


@contextmanager
def clock_off(by):
    """A machine whose clock is wrong, while the database's is not."""
    with time_machine.travel(timezone.now() + by):
        yield


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
