"""GET and HEAD /api/v1/files/{id}/content"""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from django.utils import timezone

from uploads.api import content
from uploads.models import IngestFile
from uploads.storage import object_of, storage_for
from uploads.tests.factories import FILES, assert_problem, body, sha256, some_bytes

DATA = some_bytes(1000)
ETAG = f'"{sha256(DATA)}"'


@pytest.fixture
def url(api) -> str:
    return api.upload(DATA, chunk=1000)["content_url"]


def fetch(api, url: str, **headers: str):
    return api.http.get(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_the_bytes_come_back_with_headers_that_keep_browsers_from_running_them(api, url):
    reply = fetch(api, url)
    assert reply.status_code == 200
    assert body(reply) == DATA
    assert reply["Content-Length"] == "1000"
    assert_safe(reply)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 1000),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, 1000),
        ("bytes=990-5000", 990, 1000),
        ("bytes=999-999", 999, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-1000", 0, 1000),
        ("bytes=-5000", 0, 1000),
        ("bytes= 10-19", 10, 20),
    ],
)
def test_a_range_is_served_as_206(api, url, asked, start, end):
    reply = fetch(api, url, Range=asked)
    assert reply.status_code == 206
    assert body(reply) == DATA[start:end]
    assert reply["Content-Range"] == f"bytes {start}-{end - 1}/1000"
    assert reply["Content-Length"] == str(end - start)
    assert_safe(reply)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=20-10",
        "bytes=-",
        "bytes=",
        "bytes=a-b",
        "items=0-9",
        "bytes=0-9,20-29",
        "0-9",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 5000 + "-",
        "bytes=-" + "9" * 5000,
        "bytes=0-" + "9" * 5000,
    ],
)
def test_a_range_that_is_none_is_ignored(api, url, asked):
    reply = fetch(api, url, Range=asked)
    assert reply.status_code == 200
    assert body(reply) == DATA


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", f"bytes={2**63}-"])
def test_a_range_outside_the_file_cannot_be_satisfied(api, url, asked):
    reply = fetch(api, url, Range=asked)
    problem = assert_problem(reply, 416, "range_not_satisfiable")
    assert problem["size_bytes"] == 1000
    assert reply["Content-Range"] == "bytes */1000"


def test_a_range_is_honoured_only_while_if_range_agrees(api, url):
    same = fetch(api, url, Range="bytes=0-9", If_Range=ETAG)
    assert (same.status_code, body(same)) == (206, DATA[:10])
    dated = fetch(api, url, Range="bytes=0-9", If_Range=same["Last-Modified"])
    assert (dated.status_code, body(dated)) == (206, DATA[:10])
    for validator in ('"other"', f"W/{ETAG}", "Wed, 21 Oct 2026 07:28:00 GMT", ""):
        reply = fetch(api, url, Range="bytes=0-9", If_Range=validator)
        assert (reply.status_code, body(reply)) == (200, DATA), validator


@pytest.mark.parametrize("header", [ETAG, f"W/{ETAG}", f'"a", {ETAG}', "*"])
def test_a_client_that_has_the_bytes_gets_304(api, url, header):
    reply = fetch(api, url, If_None_Match=header)
    assert (reply.status_code, reply.content) == (304, b"")
    assert (reply["ETag"], reply["Content-Length"]) == (ETAG, "1000")


def test_a_client_that_has_other_bytes_gets_these(api, url):
    reply = fetch(api, url, If_None_Match='"other"')
    assert (reply.status_code, body(reply)) == (200, DATA)


STORED_AT = datetime(2026, 5, 4, 12, 30, 59, 900_000, tzinfo=UTC)
LAST_MODIFIED = "Mon, 04 May 2026 12:30:59 GMT"
EARLIER, LATER = "Mon, 04 May 2026 12:30:58 GMT", "Mon, 04 May 2026 12:31:00 GMT"


@pytest.fixture
def dated(url) -> str:
    IngestFile.objects.update(stored_at=STORED_AT)
    return url


def test_content_tells_when_it_was_stored(api, dated):
    for reply in (fetch(api, dated), api.head(dated), fetch(api, dated, Range="bytes=0-9")):
        body(reply)
        assert reply["Last-Modified"] == LAST_MODIFIED


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": ETAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f'"a", {ETAG}'}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),  # RFC 9110, 13.1.1: strong comparison
        ({"If-Match": '"other"', "Range": "bytes=0-9"}, 412),
        ({"If-Unmodified-Since": LAST_MODIFIED}, 200),
        ({"If-Unmodified-Since": LATER}, 200),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Unmodified-Since": EARLIER, "If-Match": ETAG}, 200),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": LAST_MODIFIED}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": LATER, "If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": EARLIER, "If-None-Match": ETAG}, 304),
        ({"If-None-Match": ETAG, "If-Match": '"other"'}, 412),
    ],
)
def test_preconditions_are_judged_in_the_order_of_the_specification(api, dated, headers, status):
    """RFC 9110, 13.2.2."""
    for method in (api.http.get, api.http.head):
        reply = method(dated, headers=headers)
        assert reply.status_code == status
        if status == 412:
            assert reply["Content-Type"] == "application/problem+json"
        else:
            assert (reply["ETag"], reply["Last-Modified"]) == (ETAG, LAST_MODIFIED)
            body(reply)
    if status == 412:
        assert_problem(api.http.get(dated, headers=headers), 412, "precondition_failed")


def test_head_says_the_same_without_the_bytes(api, url):
    reply = api.head(url)
    assert (reply.status_code, body(reply)) == (200, b"")
    assert reply["Content-Length"] == "1000"
    assert_safe(reply)


def test_head_of_a_range_reads_none_of_it(api, url, monkeypatch):
    monkeypatch.setattr(content, "_limited", None)
    reply = api.http.head(url, headers={"Range": "bytes=10-19"})
    assert (reply.status_code, body(reply)) == (206, b"")
    assert (reply["Content-Length"], reply["Content-Range"]) == ("10", "bytes 10-19/1000")


def test_an_empty_file_is_empty(api):
    url = api.upload(b"")["content_url"]
    reply = fetch(api, url)
    assert (reply.status_code, body(reply), reply["Content-Length"]) == (200, b"", "0")
    assert fetch(api, url, Range="bytes=0-").status_code == 416


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("report.pdf", "report.pdf"),
        ("a b;c=d.txt", "a b;c=d.txt"),
        (".profile", ".profile"),
        ("résumé.txt", "resume.txt"),
        ('słońce "quoted".txt', "s_once _quoted_.txt"),
        ("x\u202ey", "x_y"),
        ("a;filename=b.exe", "a;filename=b.exe"),
        ('a"; filename="b.exe', "a_; filename=_b.exe"),
        ("100%' 100%41.txt", "100%' 100_41.txt"),
        ("名", "_"),
        ("\u0301\u0301", "file"),
        (".\u0301.", "file"),
    ],
)
def test_the_name_is_told_to_old_clients_in_ascii_and_to_others_as_it_is(api, name, plain):
    reply = fetch(api, api.upload(b"text\n", filename=name)["content_url"])
    body(reply)
    match = re.fullmatch(
        r"""attachment; filename="([ !#-\[\]-~]*)"; filename\*=UTF-8''([\w.~%-]+)""",
        reply["Content-Disposition"],
        re.ASCII,
    )
    assert match, reply["Content-Disposition"]
    assert (match[1], unquote(match[2])) == (plain, name)


@pytest.mark.parametrize(
    "detected",
    ["text/plain", "image/png", "image/jpeg", "image/webp", "audio/mpeg", "video/mp4"],
)
def test_a_passive_type_may_be_shown_in_the_browser(api, url, detected):
    IngestFile.objects.update(detected_type=detected)
    reply = fetch(api, f"{url}?inline=1")
    body(reply)
    assert reply["Content-Disposition"].startswith("inline;")
    assert reply["Content-Type"].split(";")[0] == detected
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    "detected",
    [
        "image/svg+xml",
        "text/html",
        "application/pdf",
        "application/xhtml+xml",
        "text/xml",
        "text/javascript",
        "application/octet-stream",
        "image/bmp; x=text/html",
        "",
    ],
)
def test_any_other_type_is_never_shown(api, url, detected):
    IngestFile.objects.update(detected_type=detected)
    reply = fetch(api, f"{url}?inline=1")
    body(reply)
    assert_safe(reply)


def test_a_declared_type_decides_nothing(api):
    url = api.upload(b"<html><script>alert(1)</script></html>", content_type="image/png")
    reply = fetch(api, f"{url['content_url']}?inline=1")
    body(reply)
    assert_safe(reply)


def test_a_file_under_way_has_no_content(api):
    session = api.create_session().json()
    reply = fetch(api, f"{FILES}/{session['file_id']}/content")
    assert_problem(reply, 409, "file_not_stored")


def test_a_failed_file_has_no_content(api):
    session = api.create_session().json()
    api.abort(session["session_id"])
    assert_problem(fetch(api, f"{FILES}/{session['file_id']}/content"), 410, "file_failed")


def test_a_consumed_file_is_only_its_consumers(api, url):
    api.post(url.replace("content", "consume"))
    assert_problem(fetch(api, url), 410, "file_consumed")


def test_a_deleted_file_has_no_content(api, url):
    api.delete(url.removesuffix("/content"))
    assert_problem(fetch(api, url), 410, "file_deleted")


def test_an_expired_file_has_no_content_even_before_the_sweep(api, url):
    IngestFile.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_problem(fetch(api, url), 410, "file_deleted")


def test_bytes_that_are_not_there_are_gone(api, url):
    file = IngestFile.objects.get()
    storage_for(file).objects.delete(object_of(file))
    assert_problem(fetch(api, url), 410, "file_purged")


def test_another_users_file_does_not_exist(other, url):
    assert_problem(fetch(other, url), 404, "file_not_found")


def assert_safe(reply) -> None:
    assert reply["Content-Type"] == "application/octet-stream"
    assert reply["Content-Disposition"].startswith("attachment;")
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert reply["Accept-Ranges"] == "bytes"
    assert reply["ETag"].startswith('"')
    assert "private" in reply["Cache-Control"]
