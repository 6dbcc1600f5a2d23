"""What holds for every page."""

import re

import pytest
from django.test import Client

from accounts.models import User
from uploads.tests.factories import make_stored

OPEN_PAGES = ["/app/login/", "/app/register/", "/app/password/reset/", "/app/password/reset/sent/"]
PAGES = ["/app/", "/app/upload/", "/app/uploads/", "/app/tokens/", "/app/password/change/"]

# An inline script has no src; htmx's configuration is a meta tag.
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:")


@pytest.mark.parametrize("address", OPEN_PAGES + PAGES)
def test_nothing_on_a_page_needs_a_laxer_content_security_policy(
    ada: Client, client: Client, address: str
):
    response = (client if address in OPEN_PAGES else ada).get(address)
    assert response.status_code == 200
    assert not INLINE.search(response.content.decode())
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_a_files_page_has_nothing_inline_either(ada: Client, user: User):
    content = ada.get(f"/app/uploads/{make_stored(user=user).id}/").content.decode()
    assert not INLINE.search(content)


@pytest.mark.parametrize("address", OPEN_PAGES + PAGES)
def test_every_page_can_be_used_without_seeing_it(ada: Client, client: Client, address: str):
    content = (client if address in OPEN_PAGES else ada).get(address).content.decode()
    assert content.count("<h1") == 1
    assert 'class="skip-link" href="#main"' in content
    assert 'id="main"' in content
    labelled = set(re.findall(r'<label[^>]*\sfor="([^"]+)"', content))
    for tag in re.findall(r"<(?:input|select)[^>]*>", content):
        if 'type="hidden"' in tag:
            continue
        assert re.search(r'id="([^"]+)"', tag)[1] in labelled, tag


def test_ids_are_unique(ada: Client, user: User):
    for address in [*PAGES, f"/app/uploads/{make_stored(user=user).id}/"]:
        found = re.findall(r'\sid="([^"]+)"', ada.get(address).content.decode())
        assert len(found) == len(set(found)), address
