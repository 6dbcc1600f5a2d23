"""/docs/: the manual, as the repository has it in docs/."""

import re
from html.parser import HTMLParser

import pytest
from django.test import Client

from boot.tests.portal import ROOT
from frontend import manual

NAMES = [entry.name for chapter in manual.chapters() for entry in chapter.entries]


class Links(HTMLParser):
    """The addresses and anchors of a page's article."""

    def __init__(self, html):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert "style" not in found
        self.anchors.add(found.get("id"))
        if tag == "a" and "href" in found:
            self.targets.append(found["href"])


def links_of(path):
    answer = Client().get(path)
    assert answer.status_code == 200, path
    return Links(answer.content.decode())


def test_the_index_lists_every_page_once():
    files = {path.stem for path in (ROOT / "docs").glob("*.md")} - {manual.INDEX}
    assert sorted(NAMES) == sorted(files)


@pytest.mark.parametrize("name", ["", *(f"{name}/" for name in [*NAMES, manual.SETTINGS])])
def test_a_page_is_for_everybody_and_its_links_lead_somewhere(name):
    path = f"/docs/{name}"
    links = links_of(path)
    for target in links.targets:
        other, _, anchor = target.partition("#")
        if other.startswith("/docs/"):
            assert not anchor or anchor in links_of(other).anchors, target
        elif not other:
            assert anchor in links.anchors, target
        else:
            assert other.startswith(("https://", "http://", "/")), target


@pytest.mark.parametrize("name", ["nothing", "../README", "monitoring"])
def test_what_the_index_does_not_list_is_no_page(name):
    assert manual.page(name) is None
    assert Client().get("/docs/nothing/").status_code == 404


def test_every_setting_is_shown():
    html = Client().get("/docs/settings/").content.decode()
    named = re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert named
    assert [name for name in named if f"{name}=" not in html] == []
