"""POST /api/v1/files with a form: read as it was sent, or refused."""

import errno
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.http import aside
from uploads.models import IngestFile
from uploads.tests.factories import (
    FILES,
    CutStream,
    assert_nothing_is_left,
    assert_problem,
    content_digest,
    events,
    sha256,
    some_bytes,
    stored_bytes,
)

TEXT = b"Some plain text.\n"


def form_file(name: str = "note.txt", data: bytes = TEXT, content_type: str = "text/markdown"):
    return SimpleUploadedFile(name, data, content_type)


def form_of(name: str, *, data: bytes = b"data", further: bytes = b"") -> bytes:
    """A form with a file of this name, and further parts as they are sent."""
    return (
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        + further
        + b"--x--\r\n"
    )


def field(name: str, value: str) -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def post_form_bytes(
    api, body: bytes | io.BytesIO, *, length: int | None = None, boundary: str = "x", **headers: str
):
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    return api.http.generic(
        "POST",
        FILES,
        headers=headers,
        CONTENT_TYPE=f"multipart/form-data; boundary={boundary}",
        CONTENT_LENGTH=str(len(stream.getvalue()) if length is None else length),
        **{"wsgi.input": stream},
    )


class Pieces(io.BytesIO):
    """A body that comes in pieces of these sizes, and then in one."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self._sizes = iter(sizes)

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(next(self._sizes, size))


def test_a_form_stores_its_file(api):
    reply = api.post_form({"file": form_file("słońce.txt")})
    assert reply.status_code == 201
    file = reply.json()
    assert (file["status"], file["sha256"], file["size_bytes"]) == (
        "stored",
        sha256(TEXT),
        len(TEXT),
    )
    assert (file["original_filename"], file["content_type"]) == ("słońce.txt", "text/markdown")
    assert stored_bytes(IngestFile.objects.get()) == TEXT
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_a_form_may_say_what_a_query_may(api):
    batch = api.create_batch()
    fields = {"batch_id": batch["id"], "filename": "b.txt", "sha256": sha256(TEXT)}
    reply = api.post_form({"file": form_file("a.txt"), "csrfmiddlewaretoken": "x"} | fields)
    assert reply.status_code == 201
    assert (reply.json()["batch_id"], reply.json()["original_filename"]) == (batch["id"], "b.txt")


@pytest.mark.parametrize(
    ("field", "code"), [({"batch": "x"}, "unknown_field"), ({"batch_id": "x"}, "invalid_request")]
)
def test_a_field_that_means_nothing_is_refused(api, field, code):
    problem = assert_problem(api.post_form({"file": form_file()} | field), 400, code)
    assert next(iter(field)) in problem["detail"]
    assert_nothing_is_left()


def test_a_form_without_a_file_is_refused(api):
    assert_problem(api.post_form({"note": "text only"}), 400, "file_missing")
    assert_problem(api.post_form({"other": form_file()}), 400, "unknown_field")
    assert_problem(api.post_form({"file": "not a file"}), 400, "file_missing")
    assert_nothing_is_left()


FOLDED = field("sha256", "0" * 64).replace(b"form-data; ", b"form-data;\r\n ")
SECOND = form_of("b").removesuffix(b"--x--\r\n")


@pytest.mark.parametrize(
    ("body", "boundary", "code"),
    [
        (b"", "x", "form_invalid"),
        (b"no form at all", "x", "form_invalid"),
        (form_of("a").removesuffix(b"\r\n--x--\r\n"), "x", "form_invalid"),
        (form_of("?").replace(b"?", b"\xff"), "x", "form_invalid"),
        (form_of("a", further=FOLDED), "x", "form_invalid"),
        (form_of("a", further=SECOND), "x", "several_files"),
        (form_of("a", further=SECOND.replace(b":", b"")), "x", "form_invalid"),
        (form_of("a", further=SECOND.replace(b"--x", b"--x--")), "x", "form_invalid"),
        (form_of("a", further=field("sha256", "\0")), "x", "invalid_sha256"),
        (form_of("a", further=field("sha256", "?").replace(b"?", b"\xff")), "x", "form_invalid"),
        (b"--x\r\n\r\n\r\n--x--\r\n", "", "form_invalid"),
        (b"--x--\r\n", "é", "form_invalid"),
        (b"--x--\r\n", "x", "file_missing"),
        (form_of("", data=b""), "x", "file_missing"),
        (form_of(""), "x", "invalid_filename"),
    ],
)
def test_a_broken_form_is_refused(api, body, boundary, code):
    assert_problem(post_form_bytes(api, body, boundary=boundary), 400, code)
    assert_nothing_is_left()


def test_a_boundary_within_a_line_does_not_end_the_file(api):
    data = b"* sending --x\r\n\r\n" + some_bytes(60_000) + b"\n--x--\n\r\n--xy\r\n"
    reply = post_form_bytes(api, form_of("log.txt", data=data))
    assert (reply.status_code, reply.json()["sha256"]) == (201, sha256(data))
    assert stored_bytes(IngestFile.objects.get()) == data


_LOOKALIKES = [
    *(b"\r\n", b"--x", b"--", b"--x--", b"\r", b"\n", b" ", b"\r\n--x\r\n", b'"', b";", b"\\"),
]
_over_http = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_over_http
@given(
    data=st.lists(st.sampled_from(_LOOKALIKES) | st.binary(max_size=4), max_size=9).map(b"".join),
    inserted=st.sampled_from(_LOOKALIKES),
    place=st.integers(0, 300),
    sizes=st.lists(st.integers(1, 50), max_size=8),
)
def test_a_form_is_never_stored_as_other_bytes_than_were_sent(api, data, inserted, place, sizes):
    """Whatever stands between its bytes: the declared digest is neither wrong nor skipped."""
    form = form_of("a", data=data, further=field("sha256", sha256(data)))
    end = form.index(b"\r\n\r\n") + 4 + len(data)
    # Within the delimiter after the file, it makes all that follows a part of the file.
    assume(not end < place < end + len(b"\r\n--x\r\n"))
    form = form[:place] + inserted + form[place:]
    reply = post_form_bytes(api, Pieces(form, sizes))
    assert reply.status_code in {201, 400, 422}
    if reply.status_code == 201:
        assert reply.json()["sha256"] == sha256(data)


@_over_http
@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(1, 50), max_size=8))
def test_a_form_is_stored_however_its_bytes_come(api, data, sizes):
    boundary = "a-boundary-that-is-not-in-the-data"
    form = form_of("a", data=data).replace(b"--x", b"--" + boundary.encode())
    reply = post_form_bytes(api, Pieces(form, sizes), boundary=boundary)
    assert (reply.status_code, reply.json()["sha256"]) == (201, sha256(data))


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("say %22hi%22.txt", 'say "hi".txt'),
        ('say \\"hi\\".txt', 'say "hi".txt'),
        ("100%25.txt", "100%25.txt"),
        ("a\\b.txt", "b.txt"),
    ],
)
def test_a_name_is_decoded_as_its_client_encodes_it(api, sent, name):
    reply = post_form_bytes(api, form_of(sent))
    assert (reply.status_code, reply.json()["original_filename"]) == (201, name)


def test_compressed_parts_are_refused(api):
    form = form_of("a").replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)
    assert_problem(post_form_bytes(api, form), 415, "encoding_unsupported")
    assert_nothing_is_left()


def test_the_fields_of_a_form_are_few(api):
    body = form_of("a", further=field("relative_path", "a" * 70_000))
    assert_problem(post_form_bytes(api, body), 413, "body_too_large")
    assert_nothing_is_left()


def test_a_form_whose_connection_breaks_leaves_nothing(api):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "1000",
            "wsgi.input": CutStream(head + TEXT, ConnectionResetError("reset")),
        },
    )
    assert_problem(reply, 400, "body_incomplete")
    assert_nothing_is_left()


def test_a_form_that_is_too_large_is_refused_before_it_is_read(api, settings):
    settings.FILE_UPLOAD_MAX_SIZE = 100
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "100000",
            "wsgi.input": CutStream(b"", OSError("it was read")),
        },
    )
    assert_problem(reply, 413, "file_too_large")


def test_a_form_that_the_disk_has_no_room_for_is_refused_before_it_is_read(api, settings):
    settings.PORTAL_DISK_RESERVE = 2**62
    reply = api.http.generic(
        "POST",
        FILES,
        **{
            "CONTENT_TYPE": "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "100000",
            "wsgi.input": CutStream(b"", OSError("it was read")),
        },
    )
    assert_problem(reply, 507, "no_room")


def test_a_folder_in_a_forms_file_name_is_dropped(api):
    reply = api.post_form({"file": form_file("../../etc/passwd")})
    assert reply.json()["original_filename"] == "passwd"


@pytest.mark.parametrize("kept", range(10, 150, 7))
def test_a_form_that_is_cut_off_anywhere_is_not_taken_for_whole(api, kept):
    whole = form_of("a.txt", further=field("relative_path", "a/report"))
    assert kept < len(whole)
    reply = post_form_bytes(api, whole[:kept], length=len(whole))
    assert_problem(reply, 400, "body_incomplete")
    assert_nothing_is_left()


@pytest.mark.parametrize(
    "name", ["\U0001f469\u200d\U0001f469.txt", "a\u200cb.txt", "a&amp;b&lt;.txt", "C:\\fakepath\\x"]
)
def test_a_forms_file_keeps_the_name_that_it_was_sent_with(api, name):
    reply = post_form_bytes(api, form_of(name))
    assert reply.status_code == 201, reply.content
    assert reply.json()["original_filename"] == name.rsplit("\\", 1)[-1]


@pytest.mark.parametrize("name", ["a" * 300, "a\x07b", ".."])
def test_a_name_that_is_none_is_refused_and_not_mended(api, name):
    assert_problem(post_form_bytes(api, form_of(name)), 400, "invalid_filename")
    assert_nothing_is_left()


def test_nothing_that_a_form_says_is_lost(api):
    assert_problem(api.post_form({"file": form_file(), "other": form_file()}), 400, "unknown_field")
    assert_problem(
        api.post_form({"file": form_file(), "relative_path": ["a/b", "c/d"]}), 400, "repeated_field"
    )
    reply = post_form_bytes(api, form_of("a"), **{"Content-Digest": content_digest(b"data")})
    assert_problem(reply, 400, "digest_unsupported")
    assert_nothing_is_left()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(errno.ENOSPC, 507, "no_room"), (errno.EROFS, 503, "storage_failed")],
)
def test_a_disk_that_cannot_be_written_to_is_told_as_one(api, monkeypatch, error, status, code):
    def fail(*_args, **_kwargs):
        raise OSError(error, "It cannot")

    monkeypatch.setattr(aside, "TemporaryFile", fail)
    reply = api.post_form({"file": form_file()})
    assert_problem(reply, status, code)
    assert int(reply["Retry-After"]) > 0
    assert_nothing_is_left()
