"""tus 1.0.0: the core protocol and its extensions, rule by rule."""

import base64
import hashlib
import zlib
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import PASSWORD, make_user, principal_of
from uploads import selectors, tasks
from uploads.files import batches
from uploads.files.usage import usage_of
from uploads.models import FileStatus, IngestFile, UploadSession
from uploads.receiving import abandoned, finalizing, reading_queue
from uploads.tests.factories import (
    Api,
    events,
    make_grant,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)
from uploads.tests.tus_calls import TUS, Tus, metadata

pytestmark = pytest.mark.django_db
DATA = some_bytes(300)


@pytest.fixture
def tus() -> Tus:
    return Tus()


def the_file() -> IngestFile:
    return IngestFile.objects.get(status=FileStatus.STORED)


def refusal(response, status: int, code: str) -> None:
    assert response.status_code == status, (response.status_code, response.content)
    assert response["Content-Type"].startswith("text/plain")
    assert response.content.decode().startswith(f"{code}: ")


# --- Core ----------------------------------------------------------------------------------------


def test_a_file_is_sent_in_pieces_and_stored_with_the_last_byte(tus, each_store):
    path = tus.begin(300, Upload_Metadata=metadata(filename="słońce.bin"))
    for offset, end in ((0, 100), (100, 250), (250, 300)):
        assert events() == []
        response = tus.patch(path, offset, DATA[offset:end])
        assert (response.status_code, response["Upload-Offset"]) == (204, str(end))
        assert tus.offset(path) == end
    file = the_file()
    assert (file.original_filename, file.sha256, file.size_bytes) == (
        "słońce.bin",
        sha256(DATA),
        300,
    )
    assert stored_bytes(file) == DATA
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_options_tell_what_there_is_to_anybody(settings):
    settings.PORTAL_MAX_FILE_SIZE = 5000
    for path in (TUS, f"{TUS}x"):
        response = Client().options(path)
        assert response.status_code == 204
        assert response["Tus-Version"] == response["Tus-Resumable"] == "1.0.0"
        assert response["Tus-Max-Size"] == "5000"
        assert response["Tus-Checksum-Algorithm"] == "sha1,sha256,crc32"
        assert set(response["Tus-Extension"].split(",")) == {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "checksum",
            "expiration",
            "termination",
            "concatenation",
        }


@pytest.mark.parametrize("version", ["0.2.2", ""])
def test_another_version_is_refused_before_anything_happens(tus, version):
    response = tus.create(300, Tus_Resumable=version)
    refusal(response, 412, "version_unsupported")
    assert response["Tus-Version"] == "1.0.0"
    assert not UploadSession.objects.exists()


def test_head_tells_offset_length_and_metadata_as_it_was_given(tus):
    told = metadata(filename="a.bin", own=b"\xff\x00") + ",flag"
    path = tus.begin(300, Upload_Metadata=told)
    tus.patch(path, 0, DATA[:120])
    response = tus.head(path)
    assert response.status_code == 200
    assert response["Upload-Offset"] == "120"
    assert response["Upload-Length"] == "300"
    assert response["Upload-Metadata"] == told
    assert response["Cache-Control"] == "no-store"
    assert response.content == b""


@pytest.mark.parametrize("path", [f"{TUS}0199f1b2-0000-7000-8000-000000000000", f"{TUS}what"])
def test_an_unknown_upload_is_404_whatever_is_asked(tus, path):
    for response in (tus.head(path), tus.patch(path, 0, DATA), tus.delete(path)):
        assert response.status_code == 404
        assert "Upload-Offset" not in response


def test_another_persons_upload_does_not_exist(tus):
    path = tus.begin(300)
    other = Tus()
    assert other.head(path).status_code == 404
    assert other.patch(path, 0, DATA).status_code == 404
    assert other.delete(path).status_code == 404
    assert tus.offset(path) == 0


def test_bytes_come_with_their_content_type(tus):
    path = tus.begin(300)
    for kind in ("application/octet-stream", "text/plain", ""):
        refusal(tus.patch(path, 0, DATA, Content_Type=kind), 415, "content_type_wrong")
    refusal(tus.create(300, DATA, Content_Type="text/plain"), 415, "content_type_wrong")
    assert tus.offset(path) == 0


@pytest.mark.parametrize("offset", [0, 99, 101, 300])
def test_another_offset_than_the_end_is_409_and_changes_nothing(tus, offset):
    path = tus.begin(300, DATA[:100])
    refusal(tus.patch(path, offset, DATA[100:], Upload_Length=300), 409, "offset_mismatch")
    assert tus.offset(path) == 100


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "٣", "9" * 30])
def test_an_offset_that_is_no_number_is_refused(tus, value):
    path = tus.begin(300)
    refusal(tus.patch(path, value, DATA), 400, "upload_offset_invalid")


def test_what_arrived_of_a_broken_body_is_kept(tus):
    path = tus.begin(300)
    refusal(tus.cut("PATCH", path, DATA[:130], length=300, Upload_Offset=0), 408, "body_stalled")
    assert tus.offset(path) == 130
    assert tus.patch(path, 130, DATA[130:]).status_code == 204
    assert stored_bytes(the_file()) == DATA


def test_more_than_the_length_is_refused(tus):
    path = tus.begin(100)
    refusal(tus.patch(path, 0, DATA), 400, "beyond_length")


def test_the_method_can_be_overridden(tus):
    path = tus.begin(300)
    response = tus.call("POST", path, DATA, Upload_Offset=0, X_HTTP_Method_Override="PATCH")
    assert (response.status_code, response["Upload-Offset"]) == (204, "300")


def test_a_call_that_tus_does_not_know_is_405_with_the_others(tus):
    for method, path in (("GET", TUS), ("PUT", f"{TUS}x"), ("DELETE", TUS)):
        response = tus.call(method, path)
        refusal(response, 405, "method_not_allowed")
        assert "PATCH" in response["Allow"]


def test_a_stored_upload_takes_the_same_end_again_and_nothing_else(tus):
    """Whose last answer was lost may ask again."""
    path = tus.begin(300, DATA)
    assert tus.patch(path, 300, b"").status_code == 204
    refusal(tus.patch(path, 100, DATA[100:]), 409, "offset_mismatch")
    refusal(tus.patch(path, 300, b"x"), 400, "beyond_length")
    assert len(events()) == 1


def test_an_upload_whose_last_byte_came_before_a_kill_is_stored_when_it_is_looked_at(
    tus, monkeypatch
):
    path = tus.begin(300)
    with monkeypatch.context() as patch:
        patch.setattr("uploads.receiving.continuing._stored_if_whole", _killed)
        with pytest.raises(KeyboardInterrupt):
            tus.patch(path, 0, DATA)
    assert events() == []
    assert tus.offset(path) == 300
    assert stored_bytes(the_file()) == DATA


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


# --- Creation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "https://files.example.com/api/tus/",
        "https://example.com/portal/api/tus/",
        "http://10.0.0.1:81/api/tus",
    ],
)
def test_the_location_leads_to_the_upload_through_any_proxy(tus, address):
    path = "/api/tus" + ("/" if address.endswith("/") else "")
    location = tus.call("POST", path, Upload_Length=5)["Location"]
    session = UploadSession.objects.get()
    assert urljoin(address, location) == f"{address.rstrip('/')}/{session.id}"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload_Length": "-5"},
        {"Upload_Length": "1e3"},
        {"Upload_Length": "5", "Upload_Defer_Length": "1"},
        {"Upload_Defer_Length": "0"},
    ],
)
def test_a_new_upload_needs_one_length(tus, headers):
    assert tus.create(**headers).status_code == 400
    assert not UploadSession.objects.exists()


def test_a_file_that_is_too_large_is_413(tus, settings):
    settings.PORTAL_MAX_FILE_SIZE = 299
    refusal(tus.create(300), 413, "file_too_large")
    path = tus.begin(Upload_Defer_Length=1)
    refusal(tus.patch(path, 0, DATA), 413, "file_too_large")


def test_an_empty_file_is_stored_at_once(tus):
    path = tus.begin(0)
    assert the_file().size_bytes == 0
    assert tus.offset(path) == 0


def test_a_file_can_come_with_its_creation(tus):
    response = tus.create(300, DATA)
    assert (response.status_code, response["Upload-Offset"]) == (201, "300")
    assert stored_bytes(the_file()) == DATA


def test_what_arrived_with_a_creation_that_broke_off_is_kept(tus):
    response = tus.cut("POST", TUS, DATA[:130], length=300, Upload_Length=300)
    assert (response.status_code, response["Upload-Offset"]) == (201, "130")
    assert tus.offset(TUS + response["Location"]) == 130


def test_a_creation_whose_bytes_are_refused_leaves_nothing_behind(tus):
    wrong = base64.b64encode(bytes(20)).decode()
    refusal(tus.create(300, DATA, Upload_Checksum=f"sha1 {wrong}"), 460, "digest_mismatch")
    assert on_disk() == set()
    assert not UploadSession.objects.filter(status__in=UploadSession.OPEN).exists()


def test_a_length_can_be_told_late_and_never_changes(tus):
    path = tus.begin(Upload_Defer_Length=1)
    tus.patch(path, 0, DATA[:100])
    response = tus.head(path)
    assert (response["Upload-Defer-Length"], response["Upload-Offset"]) == ("1", "100")
    assert "Upload-Length" not in response
    refusal(tus.patch(path, 100, b"", Upload_Length=99), 400, "length_too_small")
    assert tus.patch(path, 100, DATA[100:200], Upload_Length=300).status_code == 204
    refusal(tus.patch(path, 200, b"", Upload_Length=301), 400, "length_known")
    assert tus.head(path)["Upload-Length"] == "300"
    assert tus.patch(path, 200, DATA[200:], Upload_Length=300).status_code == 204
    assert stored_bytes(the_file()) == DATA


def test_a_length_that_is_told_at_the_end_completes_the_upload(tus):
    path = tus.begin(Upload_Defer_Length=1)
    tus.patch(path, 0, DATA)
    assert tus.patch(path, 300, b"", Upload_Length=300).status_code == 204
    assert stored_bytes(the_file()) == DATA


# --- Metadata ------------------------------------------------------------------------------------


def test_metadata_says_what_the_file_is(tus):
    batch = batches.create_batch(principal=tus.principal)
    told = metadata(
        filename="C:\\fakepath\\a b.txt",
        filetype="text/plain",
        relativePath="folder/a b.txt",
        batch=str(batch.id),
        sha256=sha256(DATA),
        colour="röd",
    )
    tus.begin(300, DATA, Upload_Metadata=told + ",flag")
    file = the_file()
    assert file.original_filename == "a b.txt"
    assert (file.content_type, file.relative_path) == ("text/plain", "folder/a b.txt")
    assert file.metadata == {"colour": "röd", "flag": ""}
    assert file.batch_id == batch.id


def test_what_uppy_sends_is_understood(tus):
    tus.begin(
        300, DATA, Upload_Metadata=metadata(relativePath="null", name="a.txt", type="text/plain")
    )
    file = the_file()
    assert (file.original_filename, file.relative_path) == ("a.txt", "")
    assert (file.content_type, file.metadata) == ("text/plain", {})


def test_a_file_without_a_name_gets_one(tus):
    tus.begin(300, DATA)
    assert the_file().original_filename == "unnamed"


@pytest.mark.parametrize(
    "told",
    ["filename !!!", "a QQ==,a QQ==", "a QQ== QQ==", ",", "ключ QQ==", "batch QQ=="],
)
def test_metadata_that_is_none_is_refused(tus, told):
    assert tus.create(300, Upload_Metadata=told.encode().decode("latin-1")).status_code == 400
    assert not UploadSession.objects.exists()


def test_a_file_with_another_digest_than_was_told_is_not_stored(tus):
    path = tus.begin(300, Upload_Metadata=metadata(sha256=sha256(b"other")))
    refusal(tus.patch(path, 0, DATA), 422, "sha256_mismatch")
    assert tus.head(path).status_code == 410
    assert [event.event_type for event in events()] == ["file.failed"]


# --- Checksum ------------------------------------------------------------------------------------

CHECKSUMS = {
    "sha1": hashlib.sha1(DATA).digest(),  # noqa: S324
    "sha256": hashlib.sha256(DATA).digest(),
    "crc32": zlib.crc32(DATA).to_bytes(4),
}


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_only_bytes_with_their_checksum_are_taken(tus, algorithm, each_store):
    path = tus.begin(300)
    value = f"{algorithm} {base64.b64encode(CHECKSUMS[algorithm]).decode()}"
    refusal(tus.patch(path, 0, DATA[::-1], Upload_Checksum=value), 460, "digest_mismatch")
    assert tus.offset(path) == 0
    assert tus.patch(path, 0, DATA, Upload_Checksum=value).status_code == 204
    assert stored_bytes(the_file()) == DATA


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", "checksum_unsupported"),
        ("SHA1 1B2M2Y8AsgTpgAmY7PhCfg==", "checksum_unsupported"),
        ("sha1 AAAA", "checksum_invalid"),
        ("sha1 %%%", "checksum_invalid"),
        ("sha1", "checksum_invalid"),
    ],
)
def test_a_checksum_that_is_none_is_refused(tus, value, code):
    path = tus.begin(300)
    refusal(tus.patch(path, 0, DATA, Upload_Checksum=value), 400, code)
    assert tus.offset(path) == 0


# --- Expiration and termination ------------------------------------------------------------------


def test_every_answer_says_when_the_upload_expires(tus, settings):
    settings.PORTAL_SESSION_TTL_HOURS = 2
    created = tus.create(300)
    path = TUS + created["Location"]
    for response in (created, tus.patch(path, 0, DATA[:100]), tus.head(path)):
        left = parsedate_to_datetime(response["Upload-Expires"]) - timezone.now()
        assert timedelta(hours=1) < left < timedelta(hours=3)
    assert "Upload-Expires" not in tus.patch(path, 100, DATA[100:])


def test_an_upload_that_expired_is_gone(tus):
    path = tus.begin(300, DATA[:100])
    UploadSession.objects.update(last_activity_at=timezone.now() - timedelta(days=2))
    assert abandoned.abort_idle_sessions() == 1
    assert tus.head(path).status_code == 404
    assert tus.patch(path, 100, DATA[100:]).status_code == 404


def test_an_upload_is_given_up(tus):
    path = tus.begin(300, DATA[:100])
    assert tus.delete(path).status_code == 204
    assert on_disk() == set()
    for response in (tus.head(path), tus.patch(path, 100, DATA[100:]), tus.delete(path)):
        assert response.status_code == 404


def test_a_stored_file_is_deleted_by_who_may_delete(tus):
    path = tus.begin(300, DATA)
    sender = Tus(tus.user, scopes=("upload",))
    refusal(sender.delete(path), 403, "scope_missing")
    assert tus.delete(path).status_code == 204
    assert tus.head(path).status_code == 410
    assert IngestFile.objects.get().status == FileStatus.DELETED


# --- Concatenation -------------------------------------------------------------------------------


def test_partial_uploads_make_a_file(tus, each_store):
    first, second = tus.partial(DATA[:100]), tus.partial(DATA[100:])
    assert events() == []
    assert selectors.files_page(principal=tus.principal).items == []
    told = f"final;{first} https://elsewhere.example{second}"
    path = tus.begin(Upload_Concat=told, Upload_Metadata=metadata(filename="whole.bin"))
    file = the_file()
    assert (file.original_filename, stored_bytes(file)) == ("whole.bin", DATA)
    assert [event.event_type for event in events()] == ["file.uploaded"]
    response = tus.head(path)
    assert (response["Upload-Concat"], response["Upload-Length"]) == (told, "300")
    assert response["Upload-Offset"] == "300"
    assert tus.head(first)["Upload-Concat"] == "partial"
    refusal(tus.patch(path, 300, b""), 403, "upload_is_final")
    refusal(tus.patch(path, 0, DATA), 403, "upload_is_final")


def test_partial_uploads_can_be_used_again_in_another_order(tus):
    first, second = tus.partial(DATA[:100]), tus.partial(DATA[100:])
    tus.begin(Upload_Concat=f"final;{second} {first} {second}")
    assert stored_bytes(the_file()) == DATA[100:] + DATA[:100] + DATA[100:]


def test_a_partial_upload_goes_soon_after_it_was_used_and_nobody_hears_of_it(tus):
    first = tus.partial(DATA)
    tus.begin(Upload_Concat=f"final;{first}")
    left = parsedate_to_datetime(tus.head(first)["Upload-Expires"]) - timezone.now()
    assert left <= timedelta(hours=1)
    tus.delete(first)
    assert [event.event_type for event in events()] == ["file.uploaded"]
    assert usage_of(tus.user.id).files == 1


def test_a_partial_upload_never_becomes_a_file_by_itself(tus):
    path = tus.partial(DATA)
    assert tus.offset(path) == 300
    api = Api(tus.user)
    assert api.finalize(path.removeprefix(TUS)).json()["code"] == "is_piece"
    assert not IngestFile.objects.filter(status=FileStatus.STORED).exists()


@pytest.mark.parametrize(
    "concat", ["final", "final;", "partly", "final;/api/tus/x", "final;{unfinished}", "final;{own}"]
)
def test_only_whole_partial_uploads_of_ones_own_are_put_together(tus, concat):
    told = concat.format(
        unfinished=tus.begin(300, DATA[:5], Upload_Concat="partial"),
        own=Tus().partial(DATA),
    )
    assert tus.create(Upload_Concat=told).status_code == 400
    assert not IngestFile.objects.filter(status=FileStatus.STORED).exists()


def test_a_grant_that_counts_takes_no_partial_uploads():
    counting, free = (Tus(token=make_grant(**limit)[1]) for limit in ({"max_files": 5}, {}))
    refusal(counting.create(300, Upload_Concat="partial"), 403, "pieces_not_granted")
    free.begin(Upload_Concat=f"final;{free.partial(DATA)}")
    assert stored_bytes(the_file()) == DATA


# --- Who may, and from where ---------------------------------------------------------------------


def test_nobody_in_particular_is_asked_for_a_token():
    response = Client().post(TUS, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
    refusal(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_token_needs_the_scope():
    refusal(Tus(scopes=("read",)).create(300), 403, "scope_missing")


def test_a_session_needs_the_csrf_token():
    user = make_user()
    client = Client(enforce_csrf_checks=True, headers={"Tus-Resumable": "1.0.0"})
    assert client.login(email=user.email, password=PASSWORD)
    refusal(client.generic("POST", TUS, headers={"Upload-Length": "5"}), 403, "csrf_failed")
    override = {"Upload-Length": "5", "X-HTTP-Method-Override": "POST"}
    refusal(client.get(TUS, headers=override), 403, "csrf_failed")
    client.get("/app/upload/")
    token = client.cookies["csrftoken"].value
    headers = {"Upload-Length": "5", "X-CSRFToken": token}
    assert client.generic("POST", TUS, headers=headers).status_code == 201


def test_a_guest_uploads_within_the_grant():
    owner = make_user()
    guest = Tus(token=make_grant(user=owner, max_file_size=300)[1])
    refusal(guest.create(301), 413, "file_too_large")
    refusal(guest.create(Upload_Defer_Length=1), 400, "size_missing")
    guest.begin(300, DATA)
    assert the_file().uploaded_by == owner
    assert selectors.files_page(principal=principal_of(owner)).items == [the_file()]


def test_quotas_hold(tus, settings):
    settings.PORTAL_QUOTA_UPLOADS = 1
    tus.begin(300)
    response = tus.create(300)
    refusal(response, 429, "quota_uploads")
    assert response["Retry-After"]


def test_a_page_of_another_origin_may_only_where_it_is_named(tus, settings):
    page = {"Origin": "https://app.example.com"}
    assert "Access-Control-Allow-Origin" not in Client().options(TUS, headers=page)
    settings.PORTAL_CORS_ORIGINS = ["https://app.example.com"]
    preflight = Client().options(TUS, headers=page)
    assert preflight["Access-Control-Allow-Origin"] == page["Origin"]
    assert "PATCH" in preflight["Access-Control-Allow-Methods"]
    assert "Upload-Offset" in preflight["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in preflight
    answer = tus.create(300, **page)
    assert "Location" in answer["Access-Control-Expose-Headers"]
    assert "Origin" in answer["Vary"]
    other = tus.create(300, Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in other
    settings.PORTAL_CORS_ORIGINS = ["*"]
    assert tus.create(300, Origin="https://evil.example")["Access-Control-Allow-Origin"] == "*"


def test_a_door_that_is_switched_off_is_not_there(settings):
    settings.PORTAL_DOORS = ["none"]
    for method in ("options", "post", "head"):
        response = getattr(Client(), method)(TUS)
        assert response.status_code == 404
        assert "Tus-Resumable" not in response


@pytest.mark.parametrize("header", [{"Content_Encoding": "gzip"}])
def test_what_is_refused_for_all_doors_has_this_ones_form(tus, header):
    refusal(tus.create(300, DATA, **header), 415, "encoding_unsupported")


def test_an_error_nobody_expected_has_its_form(tus, monkeypatch):
    monkeypatch.setattr("uploads.tus.views.continuing.begin", lambda **_: 1 / 0)
    refusal(tus.create(300), 500, "internal_error")


def test_what_a_worker_reads_through_is_whole_once_it_is_stored(
    tus, multipart, settings, monkeypatch
):
    settings.PORTAL_STORAGE = multipart.name
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(finalizing, "bytes_to_read", lambda *_, **__: 1)
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    path = tus.begin(300)
    refusal(tus.patch(path, 0, DATA), 423, "finalize_in_progress")
    assert tus.call("HEAD", path).status_code == 423

    assert tasks.finalize_uploads() == 1

    assert (tus.offset(path), the_file().sha256) == (300, sha256(DATA))

    pieces = [tus.begin(150, DATA[at : at + 150], Upload_Concat="partial") for at in (0, 150)]
    whole = tus.begin(Upload_Concat=f"final;{' '.join(pieces)}")
    assert tus.call("HEAD", whole).status_code == 423
    assert tasks.finalize_uploads() == 1
    assert tus.offset(whole) == 300
    assert {file.sha256 for file in IngestFile.objects.filter(status="stored")} == {sha256(DATA)}
