"""The knowledge base in aikb/ says what the code says."""

import re
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from boot.aikb import pages
from boot.errors import CannotRunError
from boot.tests.portal import ROOT

FOLDER = ROOT / "aikb"
PAGES = sorted(FOLDER.glob("*.md"))
GUIDES = [*PAGES, ROOT / "CLAUDE.md", ROOT / "SECURITY.md", ROOT / "CODE_OF_CONDUCT.md"]
NAMES = {
    *("architecture", "models", "services", "tasks", "signals", "admin", "cli", "conventions"),
    *("dependencies", "deployment", "specs-roadmap"),
}


@pytest.fixture
def checkout(tmp_path, settings):
    """A folder with a page of each table, none of them filled in yet."""
    (tmp_path / "aikb").mkdir()
    for name in pages.TABLES:
        page = tmp_path / "aikb" / f"{name.replace(' ', '-')}.md"
        page.write_text(f"# Page\n\n<!-- table: {name} -->\n<!-- end of table -->\n\nWords.\n")
    for shared in ("boot", "common", "accounts", "uploads", "frontend", *_requirements()):
        (tmp_path / shared).symlink_to(ROOT / shared)
    settings.BASE_DIR = tmp_path
    return tmp_path


def _requirements():
    return [path.name for path in ROOT.glob("requirements*")]


def run(*arguments):
    output = StringIO()
    call_command("aikb", *arguments, stdout=output)
    return output.getvalue()


def test_the_tables_are_up_to_date():
    stale = [path.name for path in pages.stale(FOLDER)]
    assert stale == [], "run `make aikb`"


def test_every_page_is_there_and_every_table_is_shown():
    assert {path.stem for path in PAGES} == NAMES
    assert pages.shown(FOLDER) == set(pages.TABLES)


def test_the_guide_for_agents_names_every_page():
    linked = re.findall(r"\(aikb/([\w-]+)\.md\)", (ROOT / "CLAUDE.md").read_text())
    assert sorted(linked) == sorted(NAMES)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_file_named_exists(page):
    named = re.findall(
        r"`((?:boot|common|accounts|uploads|frontend|scripts|static)/[\w/.-]*)`", page.read_text()
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_make_target_named_exists():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = "\n".join(page.read_text() for page in GUIDES)
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= set(targets)


def test_the_command_fills_in_every_table_and_keeps_the_words(checkout):
    output = run()

    for path in (checkout / "aikb").iterdir():
        assert path.name in output
        text = path.read_text()
        assert text.startswith("# Page\n")
        assert text.endswith("<!-- end of table -->\n\nWords.\n")
        assert len(text.splitlines()) > 8
    assert "up to date" in run("--check")


def test_the_check_writes_nothing_and_names_what_is_out_of_date(checkout):
    run()
    page = checkout / "aikb" / "admin.md"
    changed = page.read_text().replace("`uploads.IngestFile`", "`uploads.Other`")
    page.write_text(changed)

    with pytest.raises(CommandError, match=r"admin\.md\. Run `make aikb`"):
        run("--check")

    assert page.read_text() == changed


def test_a_table_that_does_not_exist_is_refused(checkout):
    page = checkout / "aikb" / "admin.md"
    page.write_text("<!-- table: weather -->\n<!-- end of table -->\n")

    with pytest.raises(CannotRunError, match=r"admin\.md asks for .*: weather"):
        run()


def test_every_setting_from_the_environment_is_in_the_table():
    text = (FOLDER / "deployment.md").read_text()
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))
    assert set(settings.KNOWN_NAMES) <= named


def test_intervals_are_those_of_the_schedule():
    text = (FOLDER / "tasks.md").read_text()
    assert "| `sweep-outbox` | `common.tasks.sweep_outbox` | every 5 min |" in text
    assert "| `purge-sessions` | `accounts.tasks.purge_sessions` | daily at 04:30 |" in text
    assert "| `clean-up-uploads` | `uploads.tasks.clean_up_uploads` | every 6 h |" in text
