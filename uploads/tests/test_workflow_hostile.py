"""Files that are made to harm, through the whole engine: a clear end, in bounded time and memory.

(What the converters themselves say of them: `test_workflow_text_hostile.py`.)
"""

from pathlib import Path

import pytest
from django.conf import settings as original

from accounts.tests.factories import principal_of
from uploads.models import RunStatus, Workflow
from uploads.tests import documents
from uploads.tests.factories import make_stored
from uploads.workflows import engine, runs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_run_kicks"),
    pytest.mark.process,
]

DATA_DIRECTORY = original.DOORITO_DATA_DIR  # as the fork server, another process, has it


@pytest.fixture(autouse=True)
def _confined(settings, monkeypatch, tmp_path):
    settings.DOORITO_DATA_DIR = DATA_DIRECTORY
    settings.PORTAL_WORKFLOW_MEMORY = 512 * 2**20
    monkeypatch.setattr(engine, "_folders", lambda: tmp_path / "work")


def outcome(path: Path, task_name: str, *, filename: str = "", **config):
    """What becomes of a run on a file; the worker must be able to go on with another."""
    values = {"task_name": task_name, "accepted_types": ["*/*"], "max_attempts": 1}
    workflow = Workflow.objects.create(name="Test", slug="test", config=config, **values)
    sane = Workflow.objects.create(name="Sane", slug="sane", **values | {"task_name": "test_echo"})
    content = path.read_bytes()
    file = make_stored(content, filename=filename or path.name, chunk=len(content))
    started = [
        runs.start_run(principal=principal_of(file.uploaded_by), file_id=file.id, workflow=each)
        for each in (workflow, sane)
    ]
    engine.run_due(must_stop=lambda: False)
    for run in started:
        run.refresh_from_db()
    assert started[1].status == RunStatus.COMPLETED
    return started[0]


def test_a_zip_bomb_in_a_document_fails(tmp_path):
    path = documents.make_docx(tmp_path / "bomb.docx")
    documents.add_entry(path, "word/media/zeros.bin", zeros=2**30)
    run = outcome(path, "extract_text")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "archive_bomb")


def test_a_zip_bomb_is_listed_without_being_unpacked(tmp_path):
    path = documents.make_zip(tmp_path / "bomb.zip", {"a.txt": "a"})
    documents.add_entry(path, "zeros.bin", zeros=2**30)
    run = outcome(path, "inspect")
    assert run.status == RunStatus.COMPLETED
    assert '"looks_like_bomb": true' in run.output_text


@pytest.mark.parametrize("task_name", ["transcode_image", "inspect"])
def test_an_image_bomb_is_not_unpacked(tmp_path, task_name):
    run = outcome(documents.make_image_bomb(tmp_path / "bomb.png"), task_name)
    if task_name == "inspect":
        assert run.status == RunStatus.COMPLETED
        assert "image_bomb" in run.output_text
    else:
        assert (run.status, run.error_code) == (RunStatus.FAILED, "image_bomb")


def test_a_pdf_of_100_000_pages_is_refused_or_read_to_its_end(tmp_path):
    path = documents.make_pdf_of_many_pages(tmp_path / "long.pdf", pages=100_000)
    run = outcome(path, "extract_text")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "too_many_pages")
    assert "100000" in run.error_message.replace(",", "")


def test_a_file_whose_name_lies_goes_by_its_content(tmp_path):
    path = documents.make_pdf(tmp_path / "report.pdf", pages=["The truth is inside."])
    run = outcome(path, "extract_text", filename="picture.png")
    assert run.status == RunStatus.COMPLETED
    assert "The truth is inside." in run.output_text


def test_a_file_whose_content_lies_fails_with_a_reason(tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 100)
    run = outcome(path, "extract_text")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "file_unreadable")
