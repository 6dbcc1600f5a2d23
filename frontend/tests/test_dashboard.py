from django.test import Client

from accounts.models import User
from uploads.models import AccountLimits, FileStatus
from uploads.tests.factories import make_rows, make_session, make_stored
from uploads.tests.workflow_factories import make_completed, make_failed, make_run


def test_the_root_leads_to_the_dashboard(ada: Client):
    assert ada.get("/").headers["Location"] == "/app/"


def test_it_needs_a_log_in(client: Client, db):
    assert client.get("/app/").headers["Location"] == "/app/login/?next=/app/"


def test_an_empty_portal_says_how_to_begin(ada: Client):
    response = ada.get("/app/")
    assert b"Nothing here yet" in response.content
    assert b"Create an API token" in response.content


def test_it_counts_files_by_state_and_lists_the_latest(ada: Client, user: User):
    make_stored(b"x" * 2048, user=user, filename="stored.bin", chunk=2048)
    make_session(user=user, filename="underway.bin")
    make_rows(1, user=user, status=FileStatus.FAILED)
    make_stored(filename="of-somebody-else.bin")
    response = ada.get("/app/")
    counts = response.context["dashboard"]
    assert (counts.stored, counts.uploading, counts.failed) == (1, 1, 1)
    assert b"2.0 KiB" in response.content
    assert b"underway.bin" in response.content
    assert b"of-somebody-else.bin" not in response.content


def test_no_cache_keeps_a_page(ada: Client):
    assert "no-store" in ada.get("/app/").headers["Cache-Control"]


def test_administrators_see_the_way_to_the_admin(ada: Client, user: User):
    assert b'href="/admin/"' not in ada.get("/app/").content
    User.objects.filter(id=user.id).update(is_staff=True)
    assert b'href="/admin/"' in ada.get("/app/").content


def test_runs_are_counted_once_there_are_any(ada: Client, user: User):
    make_run()
    assert b'id="runs"' not in ada.get("/app/").content
    for make in (make_run, make_completed, make_failed, make_failed):
        make(user=user)
    response = ada.get("/app/")
    counts = response.context["runs"]
    assert (counts.pending, counts.running, counts.completed, counts.failed) == (1, 0, 1, 2)
    assert b'href="/app/runs/?status=failed"' in response.content


def test_it_shows_the_use_of_an_account_that_has_limits(ada: Client, user: User, settings):
    assert b"no limit is set" in ada.get("/app/").content
    settings.PORTAL_QUOTA_BYTES = 4096
    make_stored(b"x" * 2048, user=user, chunk=2048)
    page = ada.get("/app/").content.decode()
    assert "2.0 KiB of 4.0 KiB in use" in page
    assert "files in use" not in page
    AccountLimits.objects.create(owner=user, files=1)
    assert "1 of 1 files in use" in ada.get("/app/").content.decode()
