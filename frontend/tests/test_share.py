"""Share links: made on the page of a file, and what a stranger finds."""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from accounts.models import User
from frontend.tests.conftest import main_of
from uploads.models import ShareLink
from uploads.tests.factories import body, make_share, make_stored

pytestmark = pytest.mark.django_db
HTML = b"<!doctype html><script>alert(1)</script>"


def page_of(token: str) -> str:
    return f"/share/{token}/"


def content_of(token: str) -> str:
    return f"/share/{token}/content"


def used(share: ShareLink) -> int:
    share.refresh_from_db()
    return share.downloads


def test_a_link_is_made_on_the_page_of_a_file_and_shown_once(ada: Client, user: User):
    file = make_stored(user=user, filename="plan.bin")
    page = f"/app/uploads/{file.id}/"

    assert ada.post(f"{page}shares/", {"days": "7"}).headers["Location"] == page
    address = re.search(r"http://[^/\s]+(/share/drs_\w{33}/)", main_of(ada.get(page)))[1]

    assert "/share/" not in main_of(ada.get(page))
    found = Client().get(address)
    assert (found.status_code, b"plan.bin" in found.content) == (200, True)
    assert file.sha256.encode() in found.content
    body(Client().get(f"{address}content"))
    assert "1 download, the last" in main_of(ada.get(page))
    share = ShareLink.objects.get()
    assert share.expires_at is not None
    revoked = ada.post(f"{page}shares/{share.id}/revoke/", follow=True)
    assert "no longer works" in main_of(revoked)
    assert Client().get(address).status_code == 410


def test_what_is_wrong_with_a_new_link_is_told(ada: Client, user: User):
    file = make_stored(user=user)
    page = f"/app/uploads/{file.id}/shares/"
    assert "at least 6" in main_of(ada.post(page, {"days": "7", "password": "a"}, follow=True))
    others = make_stored()
    assert ada.post(f"/app/uploads/{others.id}/shares/", {"days": "7"}).status_code == 404
    assert not ShareLink.objects.exists()


def test_the_bytes_are_sent_whole_or_in_ranges_and_each_download_counts_once():
    file = make_stored(b"0123456789")
    share, token = make_share(file)

    whole = Client().get(content_of(token))
    assert body(whole) == b"0123456789"
    assert used(share) == 1
    assert share.last_used_at is not None
    begun = Client().get(content_of(token), headers={"range": "bytes=0-3"})
    assert (begun.status_code, body(begun), used(share)) == (206, b"0123", 2)
    rest = Client().get(content_of(token), headers={"range": "bytes=4-"})
    assert (body(rest), used(share)) == (b"456789", 2)
    Client().head(content_of(token))
    known = Client().get(content_of(token), headers={"if-none-match": whole.headers["ETag"]})
    assert (known.status_code, used(share)) == (304, 2)


def test_no_browser_runs_what_is_shared():
    file = make_stored(HTML, filename="page.html")
    _, token = make_share(file)
    for query in ("", "?inline=1"):
        reply = Client().get(content_of(token) + query)
        assert body(reply) == HTML
        assert reply.headers["Content-Disposition"].startswith("attachment;")
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert reply.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert reply.headers["Referrer-Policy"] == "strict-origin"


def test_a_password_guards_page_and_bytes():
    file = make_stored(filename="secret plan.bin")
    share, token = make_share(file, password="let me in")
    stranger = Client()

    assert b"secret plan" not in stranger.get(page_of(token)).content
    assert stranger.get(content_of(token)).headers["Location"] == page_of(token)
    assert stranger.post(page_of(token), {"password": "wrong one"}).status_code == 403
    assert stranger.post(page_of(token), {"password": "let me in"}).status_code == 302

    assert b"secret plan" in stranger.get(page_of(token)).content
    assert body(stranger.get(content_of(token))) == b"0123456789ABCDE"
    assert used(share) == 1


def test_what_is_over_is_told_in_words(ada: Client, user: User):
    file = make_stored(user=user, filename="plan.bin")
    _, token = make_share(file)
    for address in (page_of("nonsense"), content_of("nonsense")):
        assert Client().get(address).status_code == 404
    ShareLink.objects.update(expires_at=Now() - timedelta(seconds=1))
    expired = Client().get(page_of(token))
    assert (expired.status_code, b"has expired" in expired.content) == (410, True)
    ShareLink.objects.update(expires_at=None)
    ada.post(f"/app/uploads/{file.id}/delete/")
    for address in (page_of(token), content_of(token)):
        gone = Client().get(address)
        assert (gone.status_code, b"no longer here" in gone.content) == (410, True)
        assert b"plan.bin" not in gone.content
