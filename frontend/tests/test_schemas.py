"""The public page that describes the events."""

import json
from html.parser import HTMLParser

import pytest
from django.test import Client

from common.outbox import schemas as event_schemas
from common.outbox.types import event_types


class Examples(HTMLParser):
    """The texts of the page's <pre> elements."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.is_inside = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag == "pre":
            self.is_inside = True
            self.found.append("")

    def handle_endtag(self, tag):
        self.is_inside = self.is_inside and tag != "pre"

    def handle_data(self, data):
        if self.is_inside:
            self.found[-1] += data


@pytest.fixture
def page():
    response = Client().get("/schemas/")
    assert response.status_code == 200
    assert "public" in response["Cache-Control"]
    return response.content.decode()


def test_every_event_is_described_with_a_link_to_its_schema(page):
    for event_type in event_types:
        path = event_schemas.path(event_type)
        assert f'href="{path}"' in page
        assert Client().get(path).status_code == 200
        assert event_type in page


def test_every_example_is_shown_whole(page):
    shown = [json.loads(text) for text in Examples(page).found]

    assert shown == [event_schemas.example(event_type) for event_type in event_types]


def test_the_fields_are_listed_with_their_meaning(page):
    assert "file.storage.key" in page
    assert "A signed link to the bytes, good while the file is stored." in page
