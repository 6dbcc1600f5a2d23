"""The task that turns documents into Markdown."""

import pytest

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, PPTX_TYPE
from uploads.tests.workflow_context import context_for
from uploads.workflows import registry, tasks
from uploads.workflows.errors import TaskFailed
from uploads.workflows.tasks.extract_text import extract_text


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_all_built_in_tasks_are_registered():
    names = {task.name for task in registry.all_tasks()}
    assert {"extract_text", "inspect", "transcode_image", "llm_prompt", "http_runner"} <= names
    assert tasks.extract_text.extract_text is registry.get("extract_text").run


def test_the_result_is_a_markdown_file_named_as_the_document(tmp_path, folder):
    path = documents.make_docx(tmp_path / "The harvest.docx")
    result = extract_text(context_for("extract_text", path, DOCX_TYPE, folder=folder))
    assert result.filename == "The harvest.md"
    assert result.file.parent == folder
    assert result.file.read_text(encoding="utf-8") == result.output_text
    assert result.output_text.startswith("# Harvest report")
    assert list(folder.iterdir()) == [result.file]


def test_the_result_tells_what_could_not_be_read(tmp_path, folder):
    path = documents.replace_entry(
        documents.make_pptx(tmp_path / "a.pptx"), "ppt/slides/slide2.xml", "broken"
    )
    result = extract_text(context_for("extract_text", path, PPTX_TYPE, folder=folder))
    assert "Where we are" in result.output_text
    assert result.warnings == ["Slide 2 could not be read."]


def test_only_the_beginning_of_a_long_text_is_output(tmp_path, folder):
    path = tmp_path / "long.txt"
    path.write_text("0123456789" * 50_000)
    result = extract_text(context_for("extract_text", path, "text/plain", folder=folder))
    assert result.output_text == "0123456789" * 6_553 + "0123456"  # one more: it is not all
    assert result.file.stat().st_size == 500_000


def test_progress_rises_to_the_end(tmp_path, folder):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=[f"page {n}" for n in range(8)])
    context = context_for("extract_text", path, "application/pdf", folder=folder)
    extract_text(context)
    steps = [percent for percent, _message in context.reporter.steps]
    assert steps == sorted(steps)
    assert len(steps) == 8
    assert steps[-1] == 100


def test_a_cancelled_run_stops(tmp_path, folder):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["one", "two"])
    context = context_for("extract_text", path, "application/pdf", folder=folder)
    context.reporter.is_cancelled = True
    with pytest.raises(TaskFailed) as raised:
        extract_text(context)
    assert raised.value.code == "cancelled"


def test_the_configuration_bounds_the_work(tmp_path, folder):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["one", "two", "three"])
    context = context_for(
        "extract_text", path, "application/pdf", folder=folder, config={"max_pages": 2}
    )
    with pytest.raises(TaskFailed) as raised:
        extract_text(context)
    assert raised.value.code == "too_many_pages"


def test_whoever_starts_a_run_may_adjust_pages_and_rows_but_not_what_guards_memory():
    fields = registry.get("extract_text").config.model_fields
    adjustable = {
        name for name, field in fields.items() if registry.is_marked(field, registry.ADJUSTABLE)
    }
    assert adjustable == {"max_pages", "max_rows"}
