"""What is done to several chosen files at once."""

import io
from zipfile import ZipFile

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from frontend.tests.conftest import main_of
from uploads.models import FileStatus, IngestFile, WorkflowRun
from uploads.tests.factories import make_session, make_stored
from uploads.tests.workflow_factories import make_workflow

CHOSEN = "/app/uploads/chosen/"


@pytest.fixture
def three(user: User) -> list[IngestFile]:
    return [
        make_stored(f"text {n}".encode(), user=user, filename=name)
        for n, name in enumerate(("a.txt", "a.txt", "b.txt"))
    ]


def post(client: Client, action: str, files: list[IngestFile], **values: str):
    form = {"file": [str(file.id) for file in files], **values}
    return client.post(f"{CHOSEN}{action}/", form, follow=True)


def test_chosen_files_are_deleted_and_others_files_do_not_exist(
    ada: Client, three: list[IngestFile]
):
    foreign = make_stored()
    back = "/app/uploads/?search=a"
    response = post(ada, "delete", [*three[:2], foreign], next=back)
    assert response.redirect_chain[-1][0] == back
    assert "2 files are deleted." in main_of(response)
    states = dict(IngestFile.objects.values_list("id", "status"))
    assert [states[file.id] for file in three] == ["deleted", "deleted", "stored"]
    assert states[foreign.id] == FileStatus.STORED


def test_nothing_chosen_changes_nothing_and_the_way_back_stays_here(ada: Client, three):
    response = ada.post(f"{CHOSEN}delete/", {"next": "https://example.org/"}, follow=True)
    assert "Choose some files first." in main_of(response)
    assert response.redirect_chain[-1][0] == "/app/uploads/"
    many = {"file": [str(three[0].id)] * 501}
    assert "at most 500" in main_of(ada.post(f"{CHOSEN}delete/", many, follow=True))


def test_chosen_files_are_kept_longer_and_what_cannot_be_says_why(
    ada: Client, user: User, three: list[IngestFile]
):
    response = post(ada, "extend", [*three, make_session(user=user).file])
    assert "3 files are kept longer." in main_of(response)
    assert "1 could not be kept longer: The file is still being uploaded." in main_of(response)
    kept = IngestFile.objects.get(id=three[0].id)
    assert (kept.expires_at - timezone.now()).days == 6


def test_chosen_files_are_downloaded_as_one_archive(ada: Client, user: User, three):
    response = post(ada, "download", [*three, make_session(user=user).file])
    assert response.streaming
    archive = ZipFile(io.BytesIO(b"".join(response.streaming_content)))
    assert archive.testzip() is None
    stored = {name: archive.read(name) for name in archive.namelist()}
    assert stored == {"b.txt": b"text 2", "a.txt": b"text 1", "a (2).txt": b"text 0"}
    assert "None of the chosen files is stored." in main_of(
        post(ada, "download", [make_session(user=user).file])
    )


def test_a_workflow_says_on_how_many_it_runs_and_runs_on_those(
    ada: Client, three: list[IngestFile]
):
    workflow = make_workflow(name="Report")
    page = main_of(post(ada, "run", [*three, make_stored()]))
    assert "Run on 3 files" in page
    assert WorkflowRun.objects.count() == 0
    response = post(ada, "run", three, workflow=workflow.slug)
    assert "Report is started on 3 files." in main_of(response)
    assert WorkflowRun.objects.count() == 3
