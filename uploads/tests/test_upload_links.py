"""What an upload link does besides taking files: its page, its batches, its workflow, its mail."""

import time
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.db.models.functions import Now
from django.utils import timezone

from accounts import link_passwords
from accounts.bearers import credential_of
from accounts.models import TokenScope
from accounts.tests.factories import make_user, principal_of
from common.errors import DooritoError, TooManyRequests
from common.tests.threads import at_once
from uploads.files import grants, notices, visits
from uploads.models import UploadBatch, UploadGrant, WorkflowRun
from uploads.tests.description import DescribedClient
from uploads.tests.factories import (
    BATCHES,
    FILES,
    SESSIONS,
    Api,
    Guest,
    assert_problem,
    events,
    make_grant,
    make_stored,
    some_bytes,
)
from uploads.tests.workflow_factories import make_workflow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]


class Visitor(Guest):
    """The calls of a page that was opened with a link."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.link, self.token = self.token, visits.pass_for(self.grant)
        self.http = DescribedClient(headers={"authorization": f"Bearer {self.token}"})


def refusal_of(text: str) -> str:
    with pytest.raises(DooritoError) as refused:
        credential_of(text)
    return refused.value.code


# --- Visits --------------------------------------------------------------------------------------


def test_a_pass_sends_and_does_nothing_else():
    visitor = Visitor(scopes=("upload", "read", "consume"))

    file = visitor.upload()

    assert credential_of(visitor.token).principal.scopes == {TokenScope.UPLOAD}
    others = make_stored(user=visitor.user)
    assert visitor.get(f"{FILES}/{file['id']}").json()["status"] == "stored"
    assert_problem(visitor.get(f"{FILES}/{others.id}"), 404, "file_not_found")
    for reply in (
        visitor.get(FILES),
        visitor.get(f"{FILES}/{file['id']}/content"),
        visitor.delete(f"{FILES}/{file['id']}"),
        visitor.get(BATCHES),
    ):
        assert_problem(reply, 403, "scope_missing")
    assert visitor.begun() == (1, 15)


def test_nobody_who_only_sends_is_told_what_others_with_the_link_send():
    one = Visitor()
    session = one.session_of(b"0123456789")
    other = DescribedClient(headers={"authorization": f"Bearer {visits.pass_for(one.grant)}"})

    assert other.get(SESSIONS).json()["items"] == []
    assert one.get_session(session["session_id"]).status_code == 200
    assert len(Api(one.user).get(SESSIONS).json()["items"]) == 1


def test_a_pass_ends_with_its_time_its_link_and_its_token():
    visitor = Visitor()
    with patch("time.time", return_value=time.time() + visits.LIFETIME.total_seconds() + 1):
        assert refusal_of(visitor.token) == "visit_over"
    assert refusal_of(visitor.token[:-1] + "_") == "grant_invalid"

    owner = principal_of(visitor.user)
    grants.replace_token(principal=owner, grant_id=visitor.grant.id)
    assert refusal_of(visitor.token) == "grant_invalid"
    visitor.grant.refresh_from_db()
    before = visits.pass_for(visitor.grant)
    grants.change_grant(principal=owner, grant_id=visitor.grant.id, password="let me in")
    assert refusal_of(before) == "grant_invalid"
    visitor.grant.refresh_from_db()
    fresh = visits.pass_for(visitor.grant)
    grants.revoke_grant(principal=owner, grant_id=visitor.grant.id)
    assert refusal_of(fresh) == "grant_revoked"


def test_a_link_that_may_only_read_opens_no_page_to_send():
    _, token = make_grant(scopes=("read",))
    with pytest.raises(DooritoError) as refused:
        visits.opened(token)
    assert refused.value.code == "scope_missing"


# --- Passwords -----------------------------------------------------------------------------------


def test_guesses_at_a_password_are_few_however_many_come_at_once():
    grant, _ = make_grant(password="let me in")

    def guess() -> str:
        try:
            link_passwords.require_match(
                "wrong one", kept=grant.password_hash, link_id=grant.id, address="192.0.2.1"
            )
        except DooritoError as error:
            return error.code
        return "let in"

    told = at_once([guess] * 14)

    assert sorted(set(told)) == ["link_password_wrong", "too_many_passwords"]
    assert told.count("link_password_wrong") == 10
    with pytest.raises(TooManyRequests):  # the right one, too
        link_passwords.require_match(
            "let me in", kept=grant.password_hash, link_id=grant.id, address="192.0.2.1"
        )
    link_passwords.require_match(
        "let me in", kept=grant.password_hash, link_id=grant.id, address="192.0.2.2"
    )


# --- Batches -------------------------------------------------------------------------------------


def test_what_a_guest_sends_together_is_a_batch_of_the_owners():
    visitor = Visitor()
    batch = visitor.create_batch(name="")

    visitor.upload(b"one", batch_id=batch["id"])
    visitor.upload(b"two", batch_id=batch["id"])
    assert visitor.close_batch(batch["id"]).json()["status"] == "complete"

    shown = Api(visitor.user).get(f"{BATCHES}/{batch['id']}").json()
    assert (shown["name"], shown["stored_count"]) == ("the suppliers", 2)
    [told] = events("batch.completed")
    assert told.payload["actor"]["label"] == "the suppliers"


def test_a_guest_joins_no_batch_of_another_link():
    user = make_user()
    batch = Visitor(user=user).create_batch(name="mine")
    other = Visitor(user=user)

    assert_problem(other.create_session(batch_id=batch["id"]), 404, "batch_not_found")
    assert_problem(other.close_batch(batch["id"]), 404, "batch_not_found")


def test_a_guest_opens_few_batches_without_a_file(monkeypatch):
    monkeypatch.setattr("uploads.files.batches.MOST_EMPTY", 2)
    visitor = Visitor()
    for _ in range(2):
        batch = visitor.create_batch()
    assert_problem(visitor.post(BATCHES, {}), 409, "too_many_batches")
    visitor.upload(batch_id=batch["id"])
    visitor.create_batch()
    assert UploadBatch.objects.filter(grant=visitor.grant).count() == 3


# --- Workflows -----------------------------------------------------------------------------------


def test_the_workflow_of_a_link_starts_on_what_it_takes_and_on_nothing_else():
    workflow = make_workflow(accepted_types=["text/plain"])
    guest = Guest(workflow=workflow.slug)

    text = guest.post_raw(b"some text\n", filename="a.txt").json()
    guest.upload(some_bytes(15))
    Api(guest.user).post_raw(b"the owner's own\n", filename="b.txt")

    assert [str(run.file_id) for run in WorkflowRun.objects.all()] == [text["id"]]


def test_a_workflow_that_starts_by_itself_too_runs_once():
    workflow = make_workflow(auto_start=True)
    Guest(workflow=workflow.slug).upload()
    assert WorkflowRun.objects.count() == 1


# --- Mail ----------------------------------------------------------------------------------------


def let_pass(grant: UploadGrant) -> None:
    """The time of quiet."""
    UploadGrant.objects.filter(id=grant.id, notice_due_at__isnull=False).update(notice_due_at=Now())


def test_the_owner_gets_one_mail_of_what_came_together(settings):
    settings.PUBLIC_URL = "https://portal.example.org"
    guest = Guest(mails_owner=True)
    for number in range(25):
        guest.post_raw(b"x" * 1024, filename=f"{number:02}.txt")
    assert notices.send_due() == 0  # more may come
    let_pass(guest.grant)

    assert notices.send_due() == 1
    assert notices.send_due() == 0

    [message] = mail.outbox
    assert message.to == [guest.user.email]
    assert message.subject == "25 files came by “the suppliers”"
    assert "25 files (25.0 KiB)" in message.body
    assert "- 24.txt (1.0 KiB)\n" in message.body
    assert "… and 5 more" in message.body
    assert f"https://portal.example.org/app/links/{guest.grant.id}/" in message.body

    guest.post_raw(b"later", filename="later.txt")
    let_pass(guest.grant)
    notices.send_due()
    assert [each.subject for each in mail.outbox[1:]] == ["1 file came by “the suppliers”"]


def test_a_mail_waits_no_longer_than_half_an_hour_however_much_still_comes():
    guest = Guest(mails_owner=True)
    guest.upload()
    long_ago = timezone.now() - notices.LONGEST - timedelta(minutes=1)
    UploadGrant.objects.filter(id=guest.grant.id).update(untold_since=long_ago)
    guest.upload()
    assert notices.send_due() == 1


def test_a_mail_that_could_not_be_sent_is_sent_later():
    guest = Guest(mails_owner=True)
    guest.upload()
    let_pass(guest.grant)
    with patch("django.core.mail.EmailMessage.send", side_effect=OSError):
        assert notices.send_due() == 1
    assert notices.send_due() == 0  # not at once
    let_pass(guest.grant)
    notices.send_due()
    assert len(mail.outbox) == 1


def test_several_workers_send_one_mail():
    guest = Guest(mails_owner=True)
    guest.upload()
    let_pass(guest.grant)
    at_once([notices.send_due] * 4)
    assert len(mail.outbox) == 1


def test_nobody_is_told_who_did_not_ask_for_it():
    guest = Guest()
    guest.upload()
    guest.grant.refresh_from_db()
    assert guest.grant.notice_due_at is None
