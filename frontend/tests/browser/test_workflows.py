"""Workflows as people meet them: defined by one, run, watched and read by another."""

import re
from pathlib import Path
from textwrap import dedent

from docx import Document
from fpdf import FPDF
from playwright.sync_api import Page, expect

from boot.tests.portal import Portal
from frontend.tests.browser.conftest import Window

LONG = "a-very-long-name-without-any-place-to-break-it-" * 5
WIDTHS = (360, 768, 1280)
WORK = 60_000  # milliseconds that a run may take on a busy machine


def make_pdf(path: Path) -> Path:
    document = FPDF()
    document.add_page()
    document.set_font("helvetica", size=12)
    document.cell(text="The harvest of 2026 was plentiful.")
    document.output(str(path))
    return path


def make_docx(path: Path) -> Path:
    document = Document()
    document.add_heading("Quarterly report", level=1)
    document.add_paragraph("Income went up.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Month", "Income", "May", "17"], strict=True):
        cell.text = text
    document.save(str(path))
    return path


def define(grace: Window, *, task: str, name: str) -> None:
    """A workflow, in the admin."""
    page = grace.open("/admin/uploads/workflow/add/")
    page.get_by_role("link", name=task).click()
    page.get_by_label("Name:").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text(name)


def become_somebody_else(window: Window) -> None:
    window.context.clear_cookies()
    window.register()


def upload(window: Window, *paths: Path) -> dict[str, str]:
    """Stored files: their ids by name."""
    page = window.open("/app/upload/")
    page.locator("#choose-files").set_input_files([str(path) for path in paths])
    expect(page.locator("[data-upload][data-state=stored]")).to_have_count(len(paths))
    return {file["original_filename"]: file["id"] for file in window.files()}


def run_to_the_end(window: Window, file_id: str, name: str) -> Page:
    page = window.open(f"/app/uploads/{file_id}/")
    page.get_by_role("button", name=f"Run workflow {name}").click()
    page.wait_for_url("**/runs/*/")
    expect(page.locator("#state-title .badge")).to_have_text("Completed", timeout=WORK)
    return page


def downloaded(page: Page) -> str:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".md")
    return Path(download.value.path()).read_text()


def test_text_is_extracted_from_documents_by_a_workflow_that_an_administrator_defined(
    grace: Window, tmp_path: Path
):
    define(grace, task="extract_text", name="Read documents")
    become_somebody_else(grace)
    pdf, docx = make_pdf(tmp_path / "harvest.pdf"), make_docx(tmp_path / "report.docx")
    ids = upload(grace, pdf, docx)

    page = run_to_the_end(grace, ids["harvest.pdf"], "Read documents")
    expect(page.locator("#output-page")).to_contain_text("The harvest of 2026 was plentiful.")
    assert "The harvest of 2026 was plentiful." in downloaded(page)

    page = run_to_the_end(grace, ids["report.docx"], "Read documents")
    formatted = page.locator("#output-page")
    expect(formatted.get_by_role("heading", name="Quarterly report")).to_be_visible()
    expect(formatted.get_by_role("columnheader", name="Income")).to_be_visible()
    expect(page.locator("#output-text")).to_be_hidden()
    page.get_by_role("radio", name="Text").check()
    expect(formatted).to_be_hidden()
    expect(page.locator("#output-text")).to_contain_text("# Quarterly report")
    assert "# Quarterly report" in downloaded(page)

    page.get_by_role("link", name="report.md").click()
    expect(page.get_by_text("result of a workflow")).to_be_visible()
    page.get_by_role("link", name="Workflows", exact=True).locator("visible=true").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_text("No run matches").first).to_be_visible()
    page.goto(f"{grace.url}/app/")
    expect(page.get_by_role("link", name="Completed")).to_have_attribute(
        "href", "/app/runs/?status=completed"
    )


def test_a_run_is_made_again_with_other_settings(grace: Window, tmp_path: Path):
    define(grace, task="extract_text", name="Read again")
    become_somebody_else(grace)
    (file_id,) = upload(grace, make_pdf(tmp_path / "harvest.pdf")).values()
    page = run_to_the_end(grace, file_id, "Read again")
    first = page.url
    page.get_by_role("link", name="Run again").click()
    pages = page.get_by_label("Pages at most")
    pages.fill("0")
    page.get_by_role("button", name="Run workflow").click()
    expect(pages).to_be_focused()
    expect(pages).to_have_attribute("aria-invalid", "true")
    pages.fill("5")
    page.get_by_role("button", name="Run workflow").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}/$"))
    assert page.url != first
    expect(page.locator("#state-title .badge")).to_have_text("Completed", timeout=WORK)


def by_hand(product: Portal, *lines: str) -> str:
    """Do what a worker does, in the portal's own database: what was printed."""
    imports = """\
        from datetime import timedelta
        from django.utils import timezone
        from uploads.models import IngestFile, Workflow, WorkflowRun
        from uploads.workflows import claims as run_claims
        from uploads.workflows import queue as run_queue
        from uploads.workflows.claims import LogLine, Progress
        now = timezone.now()
        """
    done = product.manage("shell", "--verbosity", "0", "-c", dedent(imports) + "\n".join(lines))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_by_hand(product: Portal, file_id: str, *, slug: str) -> str:
    """The id of a run that is under way for as long as the test wants."""
    return by_hand(
        product,
        "from django.db import transaction",
        f"workflow, _ = Workflow.objects.get_or_create(slug={slug!r},",
        f"    defaults=dict(name={LONG[:100]!r}, task_name='inspect', accepted_types=['*/*']))",
        "with transaction.atomic():",
        f"    file = IngestFile.objects.select_for_update().get(id={file_id!r})",
        "    run = run_queue.enqueue(workflow, file, trigger='user')",
        "    run_claims.claim(worker='test')",
        "    WorkflowRun.objects.filter(id=run.id).update(",
        "        lease_expires_at=now + timedelta(hours=1), progress_percent=10)",
        "print(run.id)",
    )


def change_by_hand(product: Portal, run_id: str, change: str) -> None:
    """However slow the machine is, the run is not taken for lost after it."""
    by_hand(
        product,
        f"run = WorkflowRun.objects.get(id={run_id!r})",
        f"assert {change}",
        "WorkflowRun.objects.filter(id=run.id, status='running').update(",
        "    lease_expires_at=now + timedelta(hours=1))",
    )


def test_a_run_is_watched_without_a_reload_and_the_keyboard_keeps_its_place(
    ada: Window, product: Portal
):
    file_id = ada.store("note.txt")
    run_id = start_by_hand(product, file_id, slug="watched")
    page = ada.open(f"/app/uploads/{file_id}/")
    expect(page.locator("#file-runs progress")).to_have_attribute("value", "10.0")
    page.locator(f"#run-{run_id}").click()
    page.evaluate("window.isTheSamePage = true")
    page.locator("#cancel").focus()
    lines = "[LogLine(now, 'info', f'line {n} ' + 'x' * 300) for n in range(40)]"
    change_by_hand(
        product,
        run_id,
        f"run_claims.renew(run, Progress(percent=60, message='half', lines={lines})) is False",
    )
    expect(page.locator("#run progress")).to_have_attribute("value", "60.0")
    expect(page.locator("#run")).to_contain_text("line 39")
    expect(page.locator("#cancel")).to_be_focused()
    page.locator("#log").evaluate("(log) => { log.scrollTop = 120; log.focus() }")

    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    text = "# Found\\n\\n[x](javascript:alert(1)) <script>alert(2)</script>"
    change_by_hand(
        product, run_id, f"run_claims.complete(run, output_text='{text}', is_cut=True, result=None)"
    )
    expect(page.get_by_role("heading", name="Found", level=3)).to_be_visible()
    expect(page.locator("#run-news")).to_have_text(re.compile("Completed"))
    expect(page.locator("#log")).to_be_focused()
    assert page.locator("#log").evaluate("(log) => log.scrollTop") == 120
    assert page.evaluate("window.isTheSamePage")
    seen = len(polls)
    page.wait_for_timeout(3_000)  # longer than the pace
    assert len(polls) == seen


def test_a_run_that_is_under_way_is_cancelled(ada: Window, product: Portal):
    file_id = ada.store("note.txt")
    run_id = start_by_hand(product, file_id, slug="cancelled")
    page = ada.open(f"/app/uploads/{file_id}/runs/{run_id}/")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The run is being cancelled.")).to_be_visible()
    expect(page.locator("#cancel")).to_be_disabled()
    failure = "run_claims.Failure('cancelled', 'It was cancelled.')"
    change_by_hand(product, run_id, f"run_claims.fail(run, {failure})")
    expect(page.locator("#state-title .badge")).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def test_no_page_of_runs_scrolls_sideways(ada: Window, product: Portal):
    file_id = ada.store(f"{LONG}.txt")
    run_id = start_by_hand(product, file_id, slug="wide")
    change_by_hand(
        product,
        run_id,
        f"run_claims.renew(run, Progress(percent=5, message={LONG[:200]!r}, "
        f"lines=[LogLine(now, 'error', {LONG!r})])) is False",
    )
    address = f"/app/uploads/{file_id}/"
    run = f"{address}runs/{run_id}/"
    paths = [run, address, f"{address}runs/new/wide/", "/app/runs/", "/app/"]
    for width in WIDTHS:
        ada.page.set_viewport_size({"width": width, "height": 800})
        for path in paths:
            page = ada.open(path)
            assert overflow(page) <= 0, (path, width)
    row = f"|{'|'.join(['wide' * 20] * 8)}|"
    text = f"{row}\n|{'-|' * 8}\n\n```\n{LONG}\n```\n{LONG}"
    change_by_hand(
        product,
        run_id,
        f"run_claims.complete(run, output_text={text!r}, is_cut=False, result=None)",
    )
    for width in WIDTHS:
        ada.page.set_viewport_size({"width": width, "height": 800})
        page = ada.open(run)
        expect(page.get_by_role("table")).to_be_visible()
        assert overflow(page) <= 0, width
