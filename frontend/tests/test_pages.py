"""What holds for every page."""

import re

import pytest
from django.test import Client

from accounts.models import User
from common.models import DeliveryStatus
from common.tests.factories import make_attempt, make_delivery, make_endpoint
from uploads.tests.factories import make_stored

OPEN_PAGES = ["/app/login/", "/app/register/", "/app/password/reset/", "/app/password/reset/sent/"]
PAGES = [
    *("/app/", "/app/upload/", "/app/uploads/", "/app/batches/", "/app/help/"),
    *("/app/tokens/", "/app/password/change/"),
]
STAFF_PAGES = ["/app/webhooks/", "/app/webhooks/new/", "/app/events/"]

# An inline script has no src; htmx's configuration is a meta tag.
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:")


@pytest.fixture
def pages(ada: Client, client: Client, grace: Client, user: User) -> dict[str, str]:
    """What each page holds, by its address, with something of everything on it."""
    file = make_stored(user=user)
    endpoint = make_endpoint(headers={"X-Team": "ears"}, failing_since=file.created_at)
    delivery = make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED)
    make_attempt(delivery=delivery, error="The receiver answered 500.")
    staff_pages = [
        *STAFF_PAGES,
        f"/app/webhooks/{endpoint.id}/",
        f"/app/webhooks/{endpoint.id}/?since=2026-01-01T00:00:00Z",
        f"/app/webhooks/{endpoint.id}/edit/",
        f"/app/webhooks/deliveries/{delivery.id}/",
        f"/app/events/{delivery.event_id}/",
    ]
    visitors = {
        client: OPEN_PAGES,
        ada: [*PAGES, f"/app/uploads/{file.id}/"],
        grace: staff_pages,
    }
    responses = {
        address: visitor.get(address)
        for visitor, addresses in visitors.items()
        for address in addresses
    }
    for address, response in responses.items():
        assert response.status_code == 200, address
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
    return {address: response.content.decode() for address, response in responses.items()}


def test_nothing_on_a_page_needs_a_laxer_content_security_policy(pages: dict[str, str]):
    for address, content in pages.items():
        assert not INLINE.search(content), address


def test_every_page_can_be_used_without_seeing_it(pages: dict[str, str]):
    for address, content in pages.items():
        assert content.count("<h1") == 1, address
        assert 'class="skip-link" href="#main"' in content
        assert 'id="main"' in content
        labelled = set(re.findall(r'<label[^>]*\sfor="([^"]+)"', content))
        wrapping = re.findall(r"<label[^>]*>.*?</label>", content, re.DOTALL)
        for tag in re.findall(r"<(?:input|select|textarea)[^>]*>", content):
            if 'type="hidden"' in tag or any(tag in label for label in wrapping):
                continue
            assert re.search(r'id="([^"]+)"', tag)[1] in labelled, (address, tag)


def test_ids_are_unique_and_what_names_one_finds_it(pages: dict[str, str]):
    for address, content in pages.items():
        found = re.findall(r'\sid="([^"]+)"', content)
        assert len(found) == len(set(found)), address
        named = re.findall(r'\s(?:data-dialog|aria-labelledby|aria-describedby)="([^"]+)"', content)
        assert {name for names in named for name in names.split()} <= set(found), address
