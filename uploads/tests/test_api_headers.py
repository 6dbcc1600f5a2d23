"""Headers of requests that change what their body is; headers of answers that caches heed."""

import pytest

from uploads.tests.factories import (
    FILES,
    SESSIONS,
    assert_nothing_is_left,
    assert_problem,
    body,
    on_disk,
)

TEXT = b"Some plain text.\n"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "aws-chunked"])
def test_compressed_bytes_are_not_stored_under_a_plain_name(api, coding):
    session = api.session_of(TEXT, chunk=100)
    for method, path in [
        ("POST", f"{FILES}?filename=a.txt"),
        ("PUT", f"{SESSIONS}/{session['session_id']}/parts/1"),
        ("PUT", "/api/v1/runs/callback/any?filename=a.txt"),
        ("POST", SESSIONS),
    ]:
        reply = api.http.generic(
            method, path, TEXT, "text/plain", headers={"Content-Encoding": coding}
        )
        problem = assert_problem(reply, 415, "encoding_unsupported")
        assert coding in problem["detail"]
    assert api.get_session(session["session_id"]).json()["received_parts"] == ""


def test_identity_is_no_encoding(api):
    reply = api.http.post(
        f"{FILES}?filename=a.txt", TEXT, "text/plain", headers={"Content-Encoding": "identity"}
    )
    assert reply.status_code == 201


def test_a_piece_of_a_file_is_not_stored_as_a_file(api):
    reply = api.http.post(
        f"{FILES}?filename=a.bin",
        TEXT,
        "application/octet-stream",
        headers={"Content-Range": "bytes 0-16/1000"},
    )
    problem = assert_problem(reply, 400, "content_range_unsupported")
    assert SESSIONS in problem["detail"]
    assert_nothing_is_left()
    assert on_disk() == set()


def test_no_cache_keeps_what_the_api_says(api):
    file = api.upload(TEXT)
    for path in [FILES, f"{FILES}/{file['id']}", "/api/v1/batches"]:
        reply = api.get(path)
        assert (reply.status_code, reply["Cache-Control"]) == (200, "no-store")
    assert api.create_session()["Cache-Control"] == "no-store"


def test_no_cache_keeps_an_error(api, client):
    file = api.upload(TEXT)
    api.delete(f"{FILES}/{file['id']}")
    for reply, status in [
        (api.get(f"{FILES}/{file['id']}/content"), 410),
        (api.get("/api/v1/nothing"), 404),
        (api.delete(FILES), 405),
        (client.get(FILES), 401),
        (client.get("/f/any"), 404),
    ]:
        assert (reply.status_code, reply["Cache-Control"]) == (status, "no-store")


def test_content_may_be_kept_by_who_asked_and_is_asked_for_again(api):
    file = api.upload(TEXT)
    reply = api.get(file["content_url"])
    assert (body(reply), reply["Cache-Control"]) == (TEXT, "private, no-cache")
