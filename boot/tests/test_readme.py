"""README.md and docs/ tell the truth: what they name exists, what exists for users is named."""

import re
from datetime import date

import click
import pytest
from django.conf import settings

from boot.cli import doorito
from boot.tests.portal import ROOT
from common.outbox.types import event_types
from uploads.api import api

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_named_exists():
    assert set(re.findall(r"\bmake ([a-z-]+)", TEXT.replace("and `make`", ""))) <= make_targets()


def test_every_make_target_is_named():
    listed = TEXT.split("`make help` lists the targets:")[1].split(".")[0]
    assert set(re.findall(r"`([a-z-]+)`", listed)) == make_targets() - {"help", "install-dev"}


def test_every_command_named_exists():
    context = doorito.make_context("doorito", [], resilient_parsing=True)
    named = set(re.findall(r"\./doorito ([a-z-]+)(?: ([a-z][a-z0-9-]*))?", TEXT))
    assert named
    for group, command in named:
        found = doorito.get_command(context, group)
        assert found is not None, group
        if command and isinstance(found, click.Group):
            assert command in found.commands, (group, command)


def test_every_setting_named_exists():
    others = {"DJANGO_CONFIGURATION", "DOORITO_SERVER", "DOORITO_TOKEN"}  # ... and the client's
    of_containers = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    names = set(re.findall(r"`([A-Z][A-Z_]{5,})`", TEXT)) - others - of_containers
    assert names
    known = {*dir(settings), *settings.KNOWN_NAMES}
    assert sorted(names - known) == []


@pytest.mark.django_db
def test_every_call_of_the_api_is_named():
    paths = api.get_openapi_schema()["paths"]
    for path, operations in paths.items():
        tail = path.rsplit("}", 1)[-1].strip("/") or path.removeprefix("/api/v1/").split("/")[0]
        assert tail.split("/")[0] in TEXT, path
        assert all(method.upper() in TEXT for method in operations if method != "head"), path


def test_the_events_named_are_those_that_are_emitted():
    named = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", TEXT, re.MULTILINE))
    assert named == set(event_types)


def test_every_folder_named_exists():
    folders = re.findall(r"^\| `([a-z]+/)` \|", TEXT, re.MULTILINE)
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_module_named_exists():
    named = set(re.findall(r"`((?:boot|common|accounts|uploads|frontend|scripts)/[\w/.]*)`", TEXT))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_licence_names_the_day_on_which_it_changes():
    text = (ROOT / "LICENSE.md").read_text()
    changes = date.fromisoformat(re.search(r"^Change Date: (.+)$", text, re.MULTILINE)[1])
    published = int(re.search(r"\(c\) (\d{4}) Doorito", text)[1])
    assert changes.year == published + 4  # as README says
