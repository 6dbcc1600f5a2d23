"""/f/<token> and /c/<token>: signed links to a file's bytes."""

import logging
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import principal_of
from boot.logs import LineFormatter
from uploads.files.lifecycle import delete_file
from uploads.files.links import LinkKind, link
from uploads.models import IngestFile
from uploads.tests.factories import (
    assert_problem,
    body,
    events,
    make_consumed,
    make_session,
    make_stored,
)

pytestmark = pytest.mark.django_db
DATA = b"0123456789ABCDE"


def path_of(url: str) -> str:
    return urlsplit(url).path


def test_the_link_of_the_event_gives_the_bytes_without_an_account():
    make_stored(DATA)
    path = path_of(events()[0].payload["file"]["url"])
    reply = Client().get(path)
    assert (reply.status_code, body(reply)) == (200, DATA)
    assert reply["Content-Disposition"].startswith("attachment;")
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"
    part = Client().get(path, headers={"range": "bytes=3-5"})
    assert (part.status_code, body(part)) == (206, DATA[3:6])


def test_a_link_is_the_same_each_time(settings):
    file = make_stored()
    assert link(LinkKind.FILE, file.id) == link(LinkKind.FILE, file.id)
    settings.PORTAL_BASE_URL = "ignored: PUBLIC_URL counts"
    assert link(LinkKind.FILE, file.id).startswith(settings.PUBLIC_URL)


@pytest.mark.parametrize("kind", list(LinkKind))
def test_a_token_that_was_changed_in_any_place_is_not_valid(kind):
    file = make_consumed().file if kind == LinkKind.CLAIM else make_stored()
    path = path_of(link(kind, file.id))
    prefix, token = path[:3], path[3:]
    for place, character in enumerate(token):
        other = "a" if character != "a" else "b"
        changed = prefix + token[:place] + other + token[place + 1 :]
        if changed.lower() != path.lower():
            assert_problem(Client().get(changed), 404, "link_invalid")


@pytest.mark.parametrize(
    "token", ["x", "x:y", ":", "%00", "ä", "a" * 5000, "01900000000070008000000000000000:"]
)
def test_what_is_no_token_is_not_valid(token):
    assert_problem(Client().get(f"/f/{token}"), 404, "link_invalid")
    assert_problem(Client().get(f"/c/{token}"), 404, "link_invalid")


def test_a_file_link_is_no_claim_link_and_the_other_way_round():
    file = make_consumed().file
    for kind, other in [("f", "c"), ("c", "f")]:
        path = path_of(link(LinkKind(kind), file.id))
        assert_problem(Client().get(f"/{other}{path[2:]}"), 404, "link_invalid")


def test_a_link_signed_with_another_key_is_not_valid(settings):
    path = path_of(link(LinkKind.FILE, make_stored().id))
    settings.SECRET_KEY = "another"
    assert_problem(Client().get(path), 404, "link_invalid")
    settings.SECRET_KEY_FALLBACKS = ["another"]


def test_a_file_link_ends_when_the_file_expires():
    file = make_stored()
    path = path_of(link(LinkKind.FILE, file.id))
    IngestFile.objects.update(expires_at=timezone.now())
    assert_problem(Client().get(path), 410, "file_deleted")


def test_a_file_link_ends_when_the_file_is_deleted():
    file = make_stored()
    delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    assert_problem(Client().get(path_of(link(LinkKind.FILE, file.id))), 410, "file_deleted")


def test_a_file_link_ends_when_the_file_is_consumed():
    taken = make_consumed()
    path = path_of(link(LinkKind.FILE, taken.file.id))
    assert_problem(Client().get(path), 410, "file_consumed")
    claimed = Client().get(path_of(taken.claim_url))
    assert (claimed.status_code, body(claimed)) == (200, DATA)


def test_a_claim_link_of_a_file_that_nobody_consumed_gives_nothing():
    file = make_stored()
    assert_problem(Client().get(path_of(link(LinkKind.CLAIM, file.id))), 410, "file_purged")


def test_a_link_to_an_upload_under_way_gives_nothing():
    session = make_session()
    path = path_of(link(LinkKind.FILE, session.file_id))
    assert_problem(Client().get(path), 409, "file_not_stored")


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_a_link_is_only_for_reading(method):
    path = path_of(link(LinkKind.FILE, make_stored().id))
    reply = getattr(Client(), method)(path)
    assert_problem(reply, 405, "method_not_allowed")
    assert reply["Allow"] == "GET, HEAD"


def test_a_fault_does_not_bring_the_link_into_the_log(monkeypatch, caplog):
    def fail(_token):
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("uploads.api.content.selectors.get_linked_file", fail)
    path = path_of(link(LinkKind.FILE, make_stored().id))
    assert Client(raise_request_exception=False).get(path).status_code == 500
    (console,) = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, LineFormatter)
    ]
    written = "".join(console.format(record) for record in caplog.records)
    assert "Internal Server Error: /f/[hidden]" in written
    assert path not in written
