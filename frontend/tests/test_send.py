"""The page of an upload link, as a stranger finds it."""

import json
import re
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db.models.functions import Now
from django.test import Client

from accounts.models import User
from accounts.tests.factories import principal_of
from uploads.files import grants
from uploads.models import UploadGrant
from uploads.tests.factories import SESSIONS, make_grant

pytestmark = pytest.mark.django_db


def page_of(token: str) -> str:
    return f"/send/{token}/"


def pass_in(response) -> str:
    return re.search(r'data-pass="(drv_[^"]+)"', response.content.decode())[1]


def begin(visit: str):
    headers = {"authorization": f"Bearer {visit}"}
    body = json.dumps({"filename": "a.bin", "size_bytes": 1})
    return Client().post(SESSIONS, body, content_type="application/json", headers=headers)


def test_it_says_who_asks_for_what_and_within_which_limits():
    grant, token = make_grant(
        name="Invoices",
        message="Of March,\nplease. <b>",
        max_files=3,
        max_bytes=20 * 2**20,
        max_file_size=5 * 2**20,
        allowed_types=("application/pdf", "image/*", "text/csv"),
    )
    page = Client().get(page_of(token))
    said = page.content.decode()
    for words in ("Invoices", grant.owner.email, "up to 5.0 MiB", "20.0 MiB more", "3 more"):
        assert words in said
    assert "PDF, Images, text/csv" in said
    assert "Of March,\nplease. &lt;b&gt;" in said
    assert 'accept="application/pdf,image/*,text/csv"' in said
    assert begin(pass_in(page)).status_code == 201


def test_its_secret_stays_in_its_address():
    _, token = make_grant()
    page = Client().get(page_of(token))
    assert page.headers["Referrer-Policy"] == "strict-origin"
    assert "no-store" in page.headers["Cache-Control"]
    assert "noindex" in page.headers["X-Robots-Tag"]
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert token not in page.content.decode().replace(f'data-pass-url="/send/{token}/pass/"', "")


def test_it_is_no_way_into_the_portal_and_changes_nothing_about_a_log_in(ada: Client, user: User):
    _, token = make_grant()
    session = ada.session.session_key
    told = dict(ada.session)

    page = ada.get(page_of(token))

    said = page.content.decode()
    assert user.email not in said
    assert "/app/" not in said
    assert set(page.cookies) <= {"csrftoken"}
    assert (ada.session.session_key, dict(ada.session)) == (session, told)
    assert ada.get("/app/").status_code == 200
    stranger = Client()
    opened = stranger.get(page_of(token))
    assert django_settings.SESSION_COOKIE_NAME not in stranger.cookies
    assert stranger.get("/app/").status_code == 302
    headers = {"authorization": f"Bearer {pass_in(opened)}"}
    assert stranger.get("/api/v1/files", headers=headers).status_code == 403


def test_what_is_over_is_told_in_words():
    grant, token = make_grant()
    assert Client().get(page_of("drg_" + "0" * 33)).status_code == 404
    unknown = Client().get(page_of("nonsense"))
    assert "Check that it was copied whole" in unknown.content.decode()

    UploadGrant.objects.update(expires_at=Now() - timedelta(seconds=1))
    expired = Client().get(page_of(token))
    assert (expired.status_code, b"has expired" in expired.content) == (410, True)
    grants.revoke_grant(principal=principal_of(grant.owner), grant_id=grant.id)
    revoked = Client().get(page_of(token))
    assert (revoked.status_code, b"was revoked" in revoked.content) == (410, True)
    assert grant.name.encode() not in revoked.content


def test_a_password_is_asked_for_and_opens_this_page_alone():
    grant, token = make_grant(name="Invoices", password="let me in")
    other = make_grant(password="let me in")[1]
    stranger = Client()
    asked = stranger.get(page_of(token))
    assert b"asks for a password" in asked.content
    assert b"Invoices" not in asked.content
    assert b"drv_" not in asked.content
    assert stranger.post(f"{page_of(token)}pass/").status_code == 401

    wrong = stranger.post(page_of(token), {"password": "let me out"})
    assert (wrong.status_code, b"not the password" in wrong.content) == (403, True)
    right = stranger.post(page_of(token), {"password": "let me in"})

    assert (right.status_code, right.headers["Location"]) == (302, page_of(token))
    cookie = right.cookies["doorito_link"]
    assert cookie["path"] == page_of(token)
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert begin(pass_in(stranger.get(page_of(token)))).status_code == 201
    renewed = stranger.post(f"{page_of(token)}pass/").json()["pass"]
    assert begin(renewed).status_code == 201
    stranger.cookies["doorito_link"]["path"] = page_of(other)
    assert b"asks for a password" in stranger.get(page_of(other)).content
    assert grant.owner.email.encode() not in asked.content


def test_wrong_passwords_are_few():
    _, token = make_grant(password="let me in")
    for _ in range(10):
        Client().post(page_of(token), {"password": "wrong one"})
    refused = Client().post(page_of(token), {"password": "let me in"})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert b"wrong too often" in refused.content


def test_a_form_of_another_site_is_refused():
    _, token = make_grant(password="let me in")
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(page_of(token), {"password": "let me in"}).status_code == 403


def test_guesses_at_addresses_are_counted(settings):
    settings.PORTAL_RATE_TOKEN_FAILURES = 1
    stranger = Client(REMOTE_ADDR="192.0.2.77")
    statuses = [stranger.get(page_of("nonsense")).status_code for _ in range(8)]
    assert statuses[0] == 404
    assert statuses[-1] == 429
