import base64
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import principal_of
from common.models import DeliveryStatus, WebhookDelivery
from common.outbox import kicks
from common.tests.factories import make_attempt, make_endpoint
from frontend.tests.conftest import main_of
from uploads.files.batches import create_batch
from uploads.models import FileStatus, IngestFile
from uploads.receiving.sessions import abort_session
from uploads.tests.factories import (
    make_consumed,
    make_rows,
    make_session,
    make_stored,
)
from uploads.tests.workflow_factories import (
    make_completed,
    make_failed,
    make_run,
    make_running,
    make_workflow,
)
from uploads.workflows import claims

HTMX = {"HX-Request": "true"}


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def page_of(file: IngestFile, part: str = "") -> str:
    return f"/app/uploads/{file.id}/{part}"


def test_a_stored_file_shows_its_facts(ada: Client, user: User):
    file = make_stored(
        b"hello",
        user=user,
        filename="słońce.txt",
        relative_path="trip/słońce.txt",
        metadata={"camera": "X100"},
        content_type="text/markdown",
    )
    content = ada.get(page_of(file)).content.decode()
    for fact in (
        file.sha256,
        "słońce.txt",
        "trip/słońce.txt",
        "5 bytes",
        "text/plain",
        "sent as text/markdown",
        "X100",
        f"/api/v1/files/{file.id}/content",
    ):
        assert fact in content


def test_somebody_elses_file_does_not_exist(ada: Client, user: User):
    file = make_stored()
    for part in ("", "events/"):
        assert ada.get(page_of(file, part)).status_code == 404
    for part in ("delete/", "extend/"):
        assert ada.post(page_of(file, part)).status_code == 404
    file.refresh_from_db()
    assert file.status == FileStatus.STORED


def test_an_unknown_file_is_a_404_with_a_page(ada: Client):
    response = ada.get(f"/app/uploads/{uuid4()}/")
    assert response.status_code == 404
    assert b"Nothing behind this door" in response.content


def test_an_unfinished_upload_says_how_to_go_on(ada: Client, user: User):
    content = ada.get(page_of(make_session(user=user).file)).content
    assert b"goes on where it stopped" in content
    assert b"/content" not in content


def test_a_failed_upload_says_why(ada: Client, user: User):
    make_rows(1, user=user, status=FileStatus.FAILED, error_message="The disk was full.")
    assert b"The disk was full." in ada.get(page_of(IngestFile.objects.get())).content


def test_a_consumed_file_offers_no_download(ada: Client, user: User):
    content = ada.get(page_of(make_consumed(user=user).file)).content
    assert b"A runner took this file" in content
    assert b"/content" not in content


def test_deleting_removes_the_file_and_leaves_a_record(ada: Client, user: User):
    file = make_stored(user=user, filename="old.txt")
    response = ada.post(page_of(file, "delete/"), follow=True)
    assert b"<bdi>old.txt</bdi> is deleted." in response.content
    file.refresh_from_db()
    assert file.status == FileStatus.DELETED
    assert b"This record stays" in ada.get(page_of(file)).content


def test_deleting_an_unfinished_upload_gives_it_up(ada: Client, user: User):
    file = make_session(user=user).file
    ada.post(page_of(file, "delete/"))
    file.refresh_from_db()
    assert file.status == FileStatus.FAILED


@pytest.mark.parametrize("part", ["delete/", "extend/"])
def test_a_link_changes_nothing(ada: Client, user: User, part: str):
    assert ada.get(page_of(make_stored(user=user), part)).status_code == 405


def test_a_file_is_kept_longer(ada: Client, user: User):
    file = make_stored(user=user)
    offered = [value for value, _ in ada.get(page_of(file)).context["extend_form"]._choices()]
    response = ada.post(page_of(file, "extend/"), {"until": offered[-1]}, follow=True)
    assert b"The file is kept longer." in response.content
    later = IngestFile.objects.get(id=file.id)
    assert later.expires_at.isoformat() == offered[-1]
    assert later.expires_at > file.expires_at


def test_a_time_that_was_not_offered_is_refused(ada: Client, user: User):
    file = make_stored(user=user)
    far = (timezone.now() + timedelta(days=10_000)).isoformat()
    response = ada.post(page_of(file, "extend/"), {"until": far}, follow=True)
    assert b"Choose a later time" in response.content
    assert IngestFile.objects.get(id=file.id).expires_at == file.expires_at


def test_no_longer_time_is_offered_at_the_maximum(ada: Client, user: User, settings):
    settings.PORTAL_MAX_TTL_HOURS = settings.FILE_UPLOAD_TTL_HOURS
    assert b"Keep longer" not in ada.get(page_of(make_stored(user=user))).content


def test_events_and_deliveries_are_shown_and_refreshed_while_pending(ada: Client, user: User):
    make_endpoint(url="http://127.0.0.1:9/hook?secret=abc")
    file = make_stored(user=user)
    content = ada.get(page_of(file)).content.decode()
    assert "file.uploaded" in content
    assert "127.0.0.1:9" in content
    assert "secret=abc" not in content
    assert f'hx-get="{page_of(file, "events/")}"' in content

    make_attempt(
        delivery=WebhookDelivery.objects.get(), response_status=204, response_body="internal words"
    )
    WebhookDelivery.objects.update(
        status=DeliveryStatus.DELIVERED, attempt_count=1, delivered_at=timezone.now()
    )
    fragment = ada.get(page_of(file, "events/")).content.decode()
    assert "<html" not in fragment
    assert "hx-get" not in fragment
    assert "HTTP 204" in fragment
    assert "internal words" not in fragment
    assert "/app/webhooks/" not in fragment
    assert "/app/events/" not in fragment


def test_staff_see_the_answer_and_find_the_way_to_delivery_and_event(
    grace: Client, viewer: Client, admin_user: User
):
    make_endpoint()
    file = make_stored(user=admin_user)
    delivery = WebhookDelivery.objects.get()
    make_attempt(delivery=delivery, response_body="internal words")
    content = grace.get(page_of(file)).content.decode()
    assert "internal words" in content
    assert f'href="/app/webhooks/deliveries/{delivery.id}/"' in content
    assert f'href="/app/events/{delivery.event_id}/"' in content
    assert "Send again" not in content  # it is on its way
    WebhookDelivery.objects.update(status=DeliveryStatus.FAILED)
    assert "Send again" in grace.get(page_of(file, "events/")).content.decode()


def test_staff_send_a_delivery_again_from_the_files_page(
    grace: Client, admin_user: User, monkeypatch
):
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])
    make_endpoint()
    file = make_stored(user=admin_user)
    WebhookDelivery.objects.update(status=DeliveryStatus.FAILED)
    delivery = WebhookDelivery.objects.get()
    address = f"/app/webhooks/deliveries/{delivery.id}/resend/"
    form = grace.get(page_of(file)).content.decode().split(f'action="{address}"')[1]
    assert f'name="next" value="{page_of(file)}"' in form.split("</form>")[0]
    response = grace.post(address, {"next": page_of(file)}, follow=True)
    assert b"The event is being sent again." in response.content
    assert WebhookDelivery.objects.get().status == DeliveryStatus.PENDING


def test_a_portal_without_workflows_says_what_they_are(ada: Client, user: User):
    content = ada.get(page_of(make_stored(user=user))).content.decode()
    assert "None is defined yet; an administrator can do that." in content
    assert "/admin/" not in content


def test_administrators_find_the_way_to_define_a_workflow(grace: Client, admin_user: User):
    content = grace.get(page_of(make_stored(user=admin_user))).content.decode()
    assert 'href="/admin/uploads/workflow/add/"' in content


def test_the_workflows_that_take_the_type_are_offered(ada: Client, user: User):
    fitting = make_workflow(
        name="Read <it>", description="Says what it says.", accepted_types=["text/*"]
    )
    make_workflow(name="Not for text", accepted_types=["image/*"])
    make_workflow(name="Switched off", is_active=False)
    file = make_stored(user=user)
    content = ada.get(page_of(file)).content.decode()
    assert f'action="{page_of(file, "runs/")}"' in content
    assert f'name="workflow" value="{fitting.slug}"' in content
    assert "Read &lt;it&gt;" in content
    assert "Says what it says." in content
    assert "Not for text" not in content
    assert "Switched off" not in content
    assert "whole batch" not in content
    in_batch = make_stored(user=user, batch_id=create_batch(principal=principal_of(user)).id)
    assert "Run on the whole batch" in ada.get(page_of(in_batch)).content.decode()


def test_a_file_that_no_workflow_takes_says_so(ada: Client, user: User):
    make_workflow(accepted_types=["image/*"])
    content = ada.get(page_of(make_stored(user=user))).content
    assert b"No workflow takes files of the type text/plain." in content


def test_a_file_that_is_not_stored_is_offered_no_workflow(ada: Client, user: User):
    make_workflow()
    content = main_of(ada.get(page_of(make_session(user=user).file)))
    assert "Run<span" not in content
    assert "A workflow runs on a stored file." in content


def test_its_runs_are_shown_and_refreshed_while_one_is_active(ada: Client, user: User):
    file = make_stored(user=user)
    failed = make_failed(file=file, message="It is empty.")
    running = make_running(file=file, percent=30, message="page 3")
    content = ada.get(page_of(file)).content.decode()
    assert f'hx-get="{page_of(file, "runs/")}?seen=stored" hx-trigger="every 2s"' in content
    for shown in ("It is empty.", "page 3", 'value="30.0"', page_of(file, f"runs/{failed.id}/")):
        assert shown in content
    assert claims.complete(running, output_text="", is_cut=False, result=None)
    response = ada.get(page_of(file, "runs/"), {"seen": "stored"}, headers=HTMX)
    fragment = response.content.decode()
    assert "<html" not in fragment
    assert "hx-get" not in fragment
    assert "Completed" in fragment
    assert "HX-Refresh" not in response.headers


def test_a_file_that_its_run_consumed_reloads_the_page(ada: Client, user: User):
    run = make_running(user=user, workflow=make_workflow(consumes_file=True))
    assert claims.complete(run, output_text="", is_cut=False, result=None)
    response = ada.get(page_of(run.file, "runs/"), {"seen": "stored"}, headers=HTMX)
    assert response.headers["HX-Refresh"] == "true"


def test_the_address_of_a_files_runs_leads_to_their_list(ada: Client, user: User):
    file = make_stored(user=user)
    address = ada.get(page_of(file, "runs/")).headers["Location"]
    assert address == f"/app/runs/?file_id={file.id}"
    assert ada.get(address).status_code == 200


def test_of_many_runs_the_newest_are_shown(ada: Client, user: User):
    file = make_stored(user=user)
    runs = [make_run(file=file) for _ in range(12)]
    content = ada.get(page_of(file)).content.decode()
    assert str(runs[-1].id) in content
    assert str(runs[0].id) not in content
    assert f'href="/app/runs/?file_id={file.id}"' in content


def test_a_result_says_of_which_run_it_is(ada: Client, user: User):
    run = make_completed(user=user, result=b"# Report")
    content = ada.get(page_of(run.result_file)).content.decode()
    assert "result of a workflow" in content
    assert f'href="{page_of(run.file, f"runs/{run.id}/")}"' in content
    assert f"/api/v1/files/{run.result_file_id}/content" in content
    assert ">Timeline<" not in content
    run.delete()
    assert "result of a workflow" in ada.get(page_of(run.result_file)).content.decode()


def test_a_name_cannot_turn_the_pages_own_text_around(ada: Client, user: User):
    file = make_stored(user=user, filename="invoice\u202efdp.exe")
    content = ada.get(page_of(file)).content.decode()
    assert "<bdi>invoice\ufffdfdp.exe</bdi>" in content
    assert content.count("\u202e") == content.count('download="invoice\u202e') == 1
    deleted = ada.post(page_of(file, "delete/"), follow=True).content.decode()
    assert "<bdi>invoice\ufffdfdp.exe</bdi> is deleted." in deleted


def test_an_upload_that_its_owner_gave_up_is_no_failure(ada: Client, user: User):
    session = make_session(user=user)
    abort_session(principal=principal_of(user), session_id=session.id)
    for address in ("/app/uploads/", page_of(session.file)):
        content = main_of(ada.get(address))
        assert ">Aborted</span>" in content
        assert 'data-level="error"' not in content


def test_only_what_a_browser_cannot_run_is_shown(ada: Client, user: User):
    text = make_stored(b"<script>alert(1)</script>", user=user, filename="a.txt")
    content = main_of(ada.get(page_of(text)))
    assert "&lt;script&gt;alert(1)" in content
    picture = make_stored(PNG, user=user, filename="dot.png")
    assert f'src="/api/v1/files/{picture.id}/content?inline=1"' in main_of(
        ada.get(page_of(picture))
    )
    drawing = make_stored(b"<svg xmlns='http://www.w3.org/2000/svg'/>", user=user, filename="a.svg")
    assert "Preview" not in main_of(ada.get(page_of(drawing)))
