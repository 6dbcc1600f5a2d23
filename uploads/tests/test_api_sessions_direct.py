"""Uploads whose parts go to the store itself."""

import httpx
import pytest

from uploads.models import UploadPart
from uploads.receiving import accepting, reading_queue
from uploads.tests.factories import Api, assert_problem, body, sha256, some_bytes

pytestmark = pytest.mark.django_db
DATA = some_bytes(95)


def begin(api: Api, **values):
    return api.session_of(DATA, chunk=30, transfer="direct", **values)


def urls(api: Api, session, **query):
    reply = api.get(f"/api/v1/uploads/sessions/{session['session_id']}/part-urls", **query)
    assert reply.status_code == 200, reply.content
    return reply.json()


def send(part, data: bytes = DATA) -> httpx.Response:
    offset = part["offset_bytes"]
    piece = data[offset : offset + part["size_bytes"]]
    return httpx.put(part["url"], content=piece, headers=part["headers"])


@pytest.mark.usefixtures("s3")
def test_parts_go_to_the_store_and_the_portal_believes_what_it_lists(api):
    session = begin(api)
    assert session["transfer"] == "direct"
    page = urls(api, session, limit=3)
    assert ([part["part_number"] for part in page["items"]], page["next_part"]) == ([1, 2, 3], 4)
    for part in [*page["items"][1:], *urls(api, session, first=4)["items"]]:
        assert send(part).status_code == 200
    assert [part["received"] for part in urls(api, session)["items"]] == [False, True, True, True]
    missing = api.finalize(session["session_id"])
    assert_problem(missing, 400, "parts_missing")
    assert missing.json()["missing_parts"] == "1"
    send(urls(api, session)["items"][0])
    file = api.finalize(session["session_id"]).json()
    assert (file["sha256"], file["status"]) == (sha256(DATA), "stored")
    assert body(api.get(f"/api/v1/files/{file['id']}/content")) == DATA


@pytest.mark.usefixtures("s3")
def test_a_part_that_is_sent_again_counts_as_it_is_in_the_end(api):
    session = begin(api, sha256=sha256(DATA))
    parts = urls(api, session)["items"]
    for part in parts:
        send(part, b"x" * 95)
    for part in parts:
        send(part)
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)


@pytest.mark.usefixtures("s3")
def test_what_was_declared_is_checked(api):
    session = begin(api, sha256=sha256(DATA))
    for part in urls(api, session)["items"]:
        send(part, b"x" * 95)
    assert_problem(api.finalize(session["session_id"]), 422, "sha256_mismatch")


@pytest.mark.usefixtures("s3")
def test_what_the_portal_received_itself_counts_too(api):
    session = begin(api)
    api.put_part(session["session_id"], 1, DATA[:30])
    for part in urls(api, session)["items"][1:]:
        send(part)
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)
    assert reading_queue.take() is None


class Killed(BaseException):
    """What a kill -9 is to the code: nothing after it happens."""


@pytest.mark.usefixtures("s3")
def test_a_kill_after_the_store_has_made_the_object_loses_nothing(api, monkeypatch):
    session = begin(api)
    for part in urls(api, session)["items"]:
        send(part)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(accepting, "accept_at_once", killed)
        api.finalize(session["session_id"])
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)


def test_a_store_that_takes_no_parts_has_them_sent_to_the_portal(api):
    session = begin(api)
    assert session["transfer"] == "portal"
    reply = api.get(f"/api/v1/uploads/sessions/{session['session_id']}/part-urls")
    assert_problem(reply, 409, "not_direct")


@pytest.mark.usefixtures("s3")
def test_direct_uploads_can_be_switched_off(api, settings):
    settings.PORTAL_DIRECT_UPLOADS = False
    assert begin(api)["transfer"] == "portal"


@pytest.mark.usefixtures("s3")
def test_nobody_else_is_given_addresses(api, other):
    session = begin(api)
    reply = other.get(f"/api/v1/uploads/sessions/{session['session_id']}/part-urls")
    assert_problem(reply, 404, "session_not_found")
    assert UploadPart.objects.count() == 0
