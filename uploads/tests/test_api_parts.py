"""PUT /api/v1/uploads/sessions/{id}/parts/{n}"""

import io

import pytest
from blake3 import blake3
from django.conf import settings as django_settings

from uploads.models import UploadPart, UploadSession
from uploads.tests.factories import (
    CutStream,
    assert_problem,
    content_digest,
    finish,
    held,
    sha256,
    some_bytes,
    spool_path,
    written,
)

DATA = some_bytes(25)


@pytest.fixture
def session(api) -> str:
    """Three parts of 10, 10 and 5 bytes."""
    return api.session_of(DATA)["session_id"]


def test_a_part_is_stored_at_its_place(api, session):
    reply = api.put_part(session, 2, DATA[10:20])
    assert reply.status_code == 200
    assert reply.json() == {
        "part_number": 2,
        "offset_bytes": 10,
        "size_bytes": 10,
        "digest": f"blake3:{blake3(DATA[10:20]).hexdigest()}",
        "received_parts_count": 1,
        "total_parts": 3,
    }
    assert spool() == b"\0" * 10 + DATA[10:20] + b"\0" * 5


def test_parts_may_come_in_any_order(api, session):
    for number in (3, 1, 2):
        part = DATA[(number - 1) * 10 : number * 10]
        assert api.put_part(session, number, part).status_code == 200
    assert spool() == DATA
    assert api.finalize(session).json()["sha256"] == sha256(DATA)


@pytest.mark.parametrize("number", [0, 4, 10_001, 2**31, 2**63, 10**100])
def test_a_number_that_is_no_part_is_refused(api, session, number):
    assert_problem(api.put_part(session, number, DATA[:10]), 400, "part_number_invalid")
    assert_unreceived(session)


@pytest.mark.parametrize("number", ["-1", "1.5", "one", "1" * 5000, "1/2"])
def test_what_is_no_number_is_no_address(api, session, number):
    assert_problem(api.put_part(session, number, DATA[:10]), 404, "endpoint_not_found")


def test_an_empty_file_has_no_part(api):
    session = api.session_of(b"")["session_id"]
    problem = assert_problem(
        api.put_stream(session, 1, io.BytesIO(), length=0), 400, "part_number_invalid"
    )
    assert "finalize" in problem["detail"]


@pytest.mark.parametrize("size", [0, 1, 9, 11, 25])
def test_a_body_of_another_length_is_refused(api, session, size):
    problem = assert_problem(api.put_part(session, 1, DATA[:size]), *wrong_length(size))
    assert size == 0 or problem["expected_bytes"] == 10
    assert_unreceived(session)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


def wrong_length(size: int) -> tuple[int, str]:
    # The test client leaves the header out for an empty body.
    return (400, "part_size_wrong") if size else (411, "length_required")


@pytest.mark.parametrize(
    "place", ["bytes 10-19/25", "bytes 10-19/*", "Bytes 10-19/25", " bytes 10-19/25 "]
)
def test_a_content_range_that_says_the_parts_place_is_taken(api, session, place):
    assert api.put_part(session, 2, DATA[10:20], Content_Range=place).status_code == 200
    again = api.put_part(session, 2, DATA[10:20], Content_Range=place)
    assert again.status_code == 200


@pytest.mark.parametrize(
    "place",
    ["bytes 0-9/25", "bytes 10-18/25", "bytes 11-19/25", "bytes 10-19/26", "bytes 20-10/25"],
)
def test_a_content_range_that_says_another_place_is_refused(api, session, place):
    problem = assert_problem(
        api.put_part(session, 2, DATA[10:20], Content_Range=place), 400, "part_range_wrong"
    )
    assert problem["expected_range"] == "bytes 10-19/25"
    assert_unreceived(session)
    assert api.put_part(session, 2, DATA[10:20]).status_code == 200
    refused = api.put_part(session, 2, DATA[10:20], Content_Range=place)
    assert_problem(refused, 400, "part_range_wrong")


@pytest.mark.parametrize(
    "place", ["", "bytes */25", "bytes 10-/25", "bytes=10-19", "lines 10-19/25", "bytes 10-19/²5"]
)
def test_a_content_range_that_cannot_be_read_is_refused(api, session, place):
    reply = api.put_part(session, 2, DATA[10:20], Content_Range=place)
    assert_problem(reply, 400, "content_range_invalid")
    assert_unreceived(session)


def test_of_a_session_that_is_over_a_content_range_says_nothing_more(api, session):
    api.abort(session)
    reply = api.put_part(session, 2, DATA[10:20], Content_Range="bytes 0-9/25")
    assert_problem(reply, 410, "session_aborted")


def test_the_last_part_has_its_own_size(api, session):
    problem = assert_problem(api.put_part(session, 3, DATA[:10]), 400, "part_size_wrong")
    assert problem["expected_bytes"] == 5
    assert api.put_part(session, 3, DATA[20:]).status_code == 200


def test_a_body_without_a_length_is_refused(api, session):
    reply = api.put_stream(session, 1, io.BytesIO(DATA[:10]), length="")
    assert_problem(reply, 411, "length_required")
    assert_unreceived(session)


def test_a_chunked_body_is_refused_even_with_a_length(api, session):
    reply = api.put_stream(
        session, 1, io.BytesIO(DATA[:10]), length=10, HTTP_TRANSFER_ENCODING="chunked"
    )
    assert_problem(reply, 411, "length_required")


@pytest.mark.parametrize("length", ["-1", "ten", "1e1", "+10", "\u0661\u0660", "0x0a"])
def test_a_length_that_is_no_number_is_refused(api, session, length):
    reply = api.put_stream(session, 1, io.BytesIO(DATA[:10]), length=length)
    assert_problem(reply, 400, "invalid_length")


def test_a_body_that_ends_early_leaves_the_part_unreceived(api, session):
    reply = api.put_stream(session, 1, io.BytesIO(DATA[:7]), length=10)
    assert_problem(reply, 400, "body_incomplete")
    assert_unreceived(session)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


def test_a_connection_that_breaks_leaves_the_part_unreceived(api, session):
    stream = CutStream(DATA[:7], ConnectionResetError("reset"))
    assert_problem(api.put_stream(session, 1, stream, length=10), 400, "body_incomplete")
    assert_unreceived(session)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


def test_a_connection_that_stalls_leaves_the_part_unreceived(api, session):
    stream = CutStream(DATA[:7], TimeoutError("timed out"))
    assert_problem(api.put_stream(session, 1, stream, length=10), 408, "body_stalled")
    assert_unreceived(session)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


def test_bytes_after_the_announced_length_are_not_read(api, session):
    reply = api.put_stream(session, 1, io.BytesIO(DATA), length=10)
    assert reply.status_code == 200
    assert spool() == DATA[:10] + b"\0" * 15


def test_a_failed_try_leaves_nothing_of_itself_in_the_file(api, session):
    api.put_stream(session, 1, io.BytesIO(b"wrong"), length=10)
    api.put_part(session, 1, b"x" * 10, Content_Digest=content_digest(b"y"))
    assert api.put_part(session, 2, DATA[10:20]).status_code == 200
    assert api.put_part(session, 1, DATA[:10]).status_code == 200
    assert api.put_part(session, 3, DATA[20:]).status_code == 200
    assert api.finalize(session).json()["sha256"] == sha256(DATA)


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_declared_digest_that_agrees_is_kept(api, session, algorithm):
    header = content_digest(DATA[:10], algorithm)
    reply = api.put_part(session, 1, DATA[:10], Content_Digest=header)
    assert reply.status_code == 200
    assert reply.json()["digest"].startswith(f"{algorithm}:")


def test_the_first_digest_that_can_be_checked_counts(api, session):
    header = f"md5=:YWJj:, {content_digest(DATA[:10], 'sha-512')} , {content_digest(b'other')}"
    reply = api.put_part(session, 1, DATA[:10], Content_Digest=header)
    assert reply.json()["digest"].startswith("sha-512:")


def test_a_part_whose_bytes_do_not_have_the_declared_digest_is_not_kept(api, session):
    reply = api.put_part(session, 1, DATA[:10], Content_Digest=content_digest(DATA[10:20]))
    problem = assert_problem(reply, 422, "digest_mismatch")
    assert content_digest(DATA[:10]).split(":")[1] in problem["detail"]
    assert_unreceived(session)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


@pytest.mark.parametrize("header", ["md5=:YWJj:", "crc32c=:AAAAAA==:", "blake3=:AAAA:"])
def test_a_digest_that_cannot_be_checked_is_refused(api, session, header):
    reply = api.put_part(session, 1, DATA[:10], Content_Digest=header)
    assert_problem(reply, 400, "digest_unsupported")
    assert_unreceived(session)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha-256",
        "sha-256=abc",
        "sha-256=:abc",
        "sha-256=:!!!!:",
        "sha-256=:YWJj:",
        "sha-256=::",
        "sha-256=:" + "A" * 42 + ":",
        "SHA-256=:YWJj:",
        "sha-256=:YWJj:,",
        "=:YWJj:",
        "sha-512=:" + "A" * 43 + "=:",
    ],
)
def test_a_malformed_digest_is_refused(api, session, header):
    reply = api.put_part(session, 1, DATA[:10], Content_Digest=header)
    assert_problem(reply, 400, "digest_invalid")
    assert_unreceived(session)


def test_the_same_part_again_is_confirmed_and_counted_once(api, session):
    first = api.put_part(session, 1, DATA[:10])
    again = api.put_part(session, 1, DATA[:10])
    assert again.status_code == 200
    assert again.json() == first.json()
    assert UploadSession.objects.get().received_parts_count == 1


def test_the_same_part_is_known_by_whatever_digest_it_came_with(api, session):
    header = content_digest(DATA[:10])
    api.put_part(session, 1, DATA[:10], Content_Digest=header)
    assert api.put_part(session, 1, DATA[:10]).status_code == 200
    other = content_digest(DATA[:10], "sha-512")
    assert api.put_part(session, 1, DATA[:10], Content_Digest=other).status_code == 200
    wrong = api.put_part(session, 1, DATA[:10], Content_Digest=content_digest(b"x"))
    assert_problem(wrong, 422, "digest_mismatch")


def test_other_bytes_for_a_received_part_change_nothing(api, session):
    api.put_part(session, 1, DATA[:10])
    assert_problem(api.put_part(session, 1, DATA[10:20]), 409, "part_differs")
    assert spool()[:10] == DATA[:10]
    assert UploadPart.objects.get().digest == blake3(DATA[:10]).hexdigest()


def test_a_repeat_that_ends_early_is_no_repeat(api, session):
    api.put_part(session, 1, DATA[:10])
    reply = api.put_stream(session, 1, io.BytesIO(DATA[:7]), length=10)
    assert_problem(reply, 400, "body_incomplete")
    assert api.get_session(session).json()["received_parts"] == "1"


def test_a_part_that_somebody_is_sending_is_left_to_them(api, session):
    with held(UploadSession.objects.get(), offset=0, size_bytes=10):
        reply = api.put_part(session, 1, DATA[:10])
        assert_problem(reply, 409, "part_in_progress")
        assert int(reply["Retry-After"]) >= 1
        assert api.put_part(session, 2, DATA[10:20]).status_code == 200
    assert api.put_part(session, 1, DATA[:10]).status_code == 200


def test_a_complete_session_takes_nothing_more(api, session):
    for number in (1, 2, 3):
        api.put_part(session, number, DATA[(number - 1) * 10 : number * 10])
    api.finalize(session)
    assert_problem(api.put_part(session, 1, DATA[:10]), 410, "session_complete")
    assert_problem(api.put_part(session, 99, DATA[:10]), 410, "session_complete")


def test_an_aborted_session_takes_nothing_more(api, session):
    api.abort(session)
    assert_problem(api.put_part(session, 1, DATA[:10]), 410, "session_aborted")


def test_a_failed_session_takes_nothing_more(api):
    session = api.session_of(DATA[:5], sha256="0" * 64)["session_id"]
    api.put_part(session, 1, DATA[:5])
    assert api.finalize(session).status_code == 422
    assert_problem(api.put_part(session, 1, DATA[:5]), 410, "session_failed")


def test_a_session_that_is_aborted_while_a_part_arrives_does_not_take_it(api, session):
    class AbortingStream(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                assert api.abort(session).status_code == 204
            return super().read(size)

    reply = api.put_stream(session, 1, AbortingStream(DATA[:10]), length=10)
    assert_problem(reply, 410, "session_aborted")
    assert not UploadPart.objects.exists()


def test_another_users_session_does_not_exist(other, session):
    assert_problem(other.put_part(session, 1, DATA[:10]), 404, "session_not_found")


def test_ten_thousand_parts_make_one_file(api):
    """Sent in two halves, so that the state between is one short range each."""
    data = some_bytes(10_000)
    session = api.session_of(data, chunk=1)
    assert session["total_parts"] == 10_000
    assert_problem(api.put_part(session["session_id"], 10_001, b"x"), 400, "part_number_invalid")
    assert api.put_part(session["session_id"], 10_000, data[-1:]).status_code == 200
    row = UploadSession.objects.get()
    parts = [
        UploadPart(
            session=row,
            part_number=number,
            offset_bytes=number - 1,
            size_bytes=1,
            digest_algorithm="blake3",
            digest=blake3(data[number - 1 : number]).hexdigest(),
        )
        for number in range(2, 10_000)
    ]
    UploadPart.objects.bulk_create(parts, batch_size=2000)
    UploadSession.objects.update(received_parts_count=9999, received_bytes=9999)
    with held(row, offset=1, size_bytes=9998):
        written(row, memoryview(data)[1:9999], offset=1)
    assert api.get_session(session["session_id"]).json()["received_parts"] == "2-10000"
    problem = assert_problem(api.finalize(session["session_id"]), 400, "parts_missing")
    assert problem["missing_parts"] == "1"
    assert api.put_part(session["session_id"], 1, data[:1]).status_code == 200
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(data)


def spool() -> bytes:
    key = UploadSession.objects.get().spool_key
    return (django_settings.DOORITO_DATA_DIR / "spool" / key[-2:] / key).read_bytes()


def assert_unreceived(session_id: str) -> None:
    row = UploadSession.objects.get(id=session_id)
    assert (row.received_parts_count, row.received_bytes) == (0, 0)
    assert not UploadPart.objects.exists()


def test_a_part_can_be_sent_again_while_the_upload_is_being_stored(api):
    """The bytes have moved, the row does not say so yet; a kill can make that last."""
    session = api.session_of(DATA)
    api.put_all(session, DATA)
    row = UploadSession.objects.get()
    finish(row, len(DATA))
    assert api.put_part(session["session_id"], 1, DATA[:10]).status_code == 200
    other = api.put_part(session["session_id"], 1, bytes(10))
    assert_problem(other, 409, "part_differs")
    assert api.finalize(session["session_id"]).json()["sha256"] == sha256(DATA)


def test_a_disk_that_has_become_read_only_is_told_and_when_to_try_again(api, session):
    spool = spool_path(UploadSession.objects.get(id=session))
    spool.unlink()
    spool.symlink_to("/sys/kernel/uevent_seqnum")  # what nobody can open for writing
    answer = api.put_part(session, 1, DATA[:10])
    assert_problem(answer, 503, "storage_failed")
    assert answer.headers["Retry-After"] == "60"
