"""OpenAI's files and uploads, call by call."""

import hashlib
from functools import partial
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import make_token, make_user
from common.tests.threads import at_once
from uploads import tasks
from uploads.models import FileStatus, IngestFile, UploadSession
from uploads.receiving import abandoned, finalizing, reading_queue
from uploads.tests.factories import body, events, make_grant, sha256, some_bytes, stored_bytes

pytestmark = pytest.mark.django_db
DATA = some_bytes(300)
DAY = 86_400


class OpenAI:
    """One user's calls. An answer is its status and its JSON."""

    def __init__(self, user: Any = None, *, token: str = "", **token_values: Any) -> None:
        self.user = user or make_user()
        text = token or make_token(user=self.user, **token_values)[1]
        self.http = Client(headers={"Authorization": f"Bearer {text}"})

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        return _told(self.http.get(f"/v1/{path}", query))

    def post(self, path: str, **values: Any) -> tuple[int, Any]:
        return _told(self.http.post(f"/v1/{path}", values, content_type="application/json"))

    def delete(self, path: str) -> tuple[int, Any]:
        return _told(self.http.delete(f"/v1/{path}"))

    def send(self, path: str, field: str, data: bytes, **fields: str) -> tuple[int, Any]:
        file = SimpleUploadedFile("ä.bin", data)
        return _told(self.http.post(f"/v1/{path}", {field: file} | fields))

    def file(self, data: bytes = DATA, **fields: str) -> dict[str, Any]:
        status, file = self.send("files", "file", data, **{"purpose": "user_data"} | fields)
        assert status == 200, file
        return file

    def begin(self, size: int = len(DATA), **values: Any) -> str:
        wanted = {"bytes": size, "filename": "a.bin", "mime_type": "text/plain"}
        status, upload = self.post("uploads", **wanted | {"purpose": "batch"} | values)
        assert (status, upload.get("status")) == (200, "pending"), upload
        return upload["id"]

    def part(self, upload: str, data: bytes) -> str:
        status, part = self.send(f"uploads/{upload}/parts", "data", data)
        assert (status, part.get("upload_id")) == (200, upload), part
        return part["id"]

    def complete(self, upload: str, parts: list[str], **values: Any) -> tuple[int, Any]:
        return self.post(f"uploads/{upload}/complete", part_ids=parts, **values)


def _told(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json()


@pytest.fixture
def openai() -> OpenAI:
    return OpenAI()


def refusal(told: tuple[int, Any], status: int, code: str) -> None:
    assert told[0] == status, told
    assert set(told[1]) == {"error"}
    error = told[1]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code, error


# --- Files ---------------------------------------------------------------------------------------


def test_a_file_is_stored_told_listed_read_and_deleted(openai):
    file = openai.file(purpose="fine-tune")
    row = IngestFile.objects.get()
    assert file == {
        "id": f"file-{row.id.hex}",
        "object": "file",
        "bytes": 300,
        "created_at": int(row.created_at.timestamp()),
        "expires_at": int(row.expires_at.timestamp()),
        "filename": "ä.bin",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
        "sha256": sha256(DATA),
    }
    assert row.metadata == {"purpose": "fine-tune"}
    assert [event.event_type for event in events()] == ["file.uploaded"]
    assert openai.get(f"files/{file['id']}") == (200, file)
    content = openai.http.get(f"/v1/files/{file['id']}/content", headers={"Accept": "a/b"})
    assert body(content) == DATA
    deleted = {"id": file["id"], "object": "file", "deleted": True}
    assert openai.delete(f"files/{file['id']}") == (200, deleted)
    refusal(openai.get(f"files/{file['id']}"), 404, "file_not_found")
    refusal(openai.delete(f"files/{file['id']}"), 404, "file_not_found")


def test_a_list_goes_on_after_its_last_file_also_when_that_is_deleted(openai):
    ids = [openai.file(bytes([n]), purpose="evals" if n % 2 else "batch")["id"] for n in range(5)]
    OpenAI().file()
    first = openai.get("files", limit=2)[1]
    assert [file["id"] for file in first["data"]] == [ids[4], ids[3]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[4], ids[3], True)
    openai.delete(f"files/{ids[3]}")
    rest = openai.get("files", after=ids[3])[1]
    assert [file["id"] for file in rest["data"]] == [ids[2], ids[1], ids[0]]
    assert not rest["has_more"]
    ascending = openai.get("files", order="asc", after=ids[0], limit=1)[1]
    assert [file["id"] for file in ascending["data"]] == [ids[1]]
    chosen = openai.get("files", purpose="evals")[1]
    assert [file["id"] for file in chosen["data"]] == [ids[1]]
    empty = openai.get("files", purpose="vision")[1]
    assert empty == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("seconds", "hours"), [(48 * 3600, 48), (30 * DAY, 72), (3600, 24), (None, 24)]
)
def test_a_file_is_kept_as_long_as_is_asked_within_the_portals_bounds(
    openai, settings, seconds, hours
):
    settings.PORTAL_MAX_TTL_HOURS = 72
    asked = {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(seconds)}
    file = openai.file(**asked if seconds else {})
    left = file["expires_at"] - int(timezone.now().timestamp())
    assert abs(left - hours * 3600) < 600


@pytest.mark.parametrize(
    "fields",
    [
        {"purpose": "fun"},
        {"purpose": ""},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
        {"expires_after[anchor]": "never", "expires_after[seconds]": "3600"},
    ],
)
def test_a_file_needs_a_purpose_and_a_time_that_there_are(openai, fields):
    told = openai.send("files", "file", DATA, **{"purpose": "user_data"} | fields)
    refusal(told, 400, "invalid_request")
    assert told[1]["error"]["param"]
    assert not IngestFile.objects.exists()


def test_a_file_of_another_door_has_a_purpose_and_a_consumed_one_is_still_told(openai):
    api = openai.http.post("/api/v1/files?filename=x", b"data", content_type="text/plain").json()
    name = f"file-{api['id'].replace('-', '')}"
    assert openai.get(f"files/{name}")[1]["purpose"] == "user_data"
    openai.http.post(f"/api/v1/files/{api['id']}/consume")
    assert openai.get(f"files/{name}")[0] == 200
    refusal(openai.get(f"files/{name}/content"), 404, "file_consumed")
    assert openai.get("files")[1]["data"] == []


# --- Uploads -------------------------------------------------------------------------------------


def test_parts_in_any_order_make_the_file_that_is_told_in_the_end(openai, each_store):
    upload = openai.begin(purpose="vision")
    second, unwanted = openai.part(upload, DATA[100:]), openai.part(upload, b"other" * 5)
    first = openai.part(upload, DATA[:100])
    md5 = hashlib.md5(DATA).hexdigest()  # noqa: S324
    status, done = openai.complete(upload, [first, second], md5=md5.upper())
    assert (status, done["status"], done["file"]["purpose"]) == (200, "completed", "vision")
    file = IngestFile.objects.get()
    assert done["file"]["id"] == f"file-{file.id.hex}"
    assert stored_bytes(file) == DATA
    assert openai.complete(upload, [first, second]) == (200, done)
    refusal(openai.complete(upload, [first, unwanted]), 400, "completed_otherwise")
    assert [event.event_type for event in events()] == ["file.uploaded"]
    refusal(openai.send(f"uploads/{upload}/parts", "data", b"x"), 400, "session_complete")
    refusal(openai.post(f"uploads/{upload}/cancel"), 400, "session_complete")


def test_what_does_not_make_the_file_is_refused_and_can_be_told_right(openai):
    upload, other = openai.begin(), openai.begin()
    first, second = openai.part(upload, DATA[:100]), openai.part(upload, DATA[100:])
    foreign = openai.part(other, b"x")
    for parts, code in [
        ([first], "length_differs"),
        ([first, first], "repeated_part"),
        ([first, foreign], "unknown_part"),
        ([], "length_differs"),
    ]:
        refusal(openai.complete(upload, parts), 400, code)
    refusal(openai.complete(upload, ["part_x"]), 404, "not_found")
    refusal(openai.complete(upload, [first, second], md5="x"), 400, "invalid_request")
    assert openai.complete(upload, [first, second])[0] == 200


def test_a_file_with_another_md5_is_not_stored(openai, each_store):
    upload = openai.begin()
    part = openai.part(upload, DATA)
    refusal(openai.complete(upload, [part], md5="0" * 32), 422, "md5_mismatch")
    refusal(openai.complete(upload, [part]), 400, "session_failed")
    assert [event.event_type for event in events()] == ["file.failed"]


def test_a_cancelled_upload_takes_nothing_more(openai):
    upload = openai.begin()
    part = openai.part(upload, DATA)
    for _ in range(2):
        status, told = openai.post(f"uploads/{upload}/cancel")
        assert (status, told["status"], told["file"]) == (200, "cancelled", None)
    refusal(openai.send(f"uploads/{upload}/parts", "data", b"x"), 400, "session_aborted")
    refusal(openai.complete(upload, [part]), 400, "session_aborted")


def test_an_upload_that_nothing_happens_to_expires(openai, settings):
    upload = openai.begin()
    UploadSession.objects.update(last_activity_at=timezone.now() - timezone.timedelta(days=2))
    abandoned.abort_idle_sessions()
    assert openai.post(f"uploads/{upload}/cancel")[1]["status"] == "expired"


def test_an_empty_upload_is_completed_without_parts(openai):
    status, done = openai.complete(openai.begin(0), [])
    assert (status, done["file"]["bytes"]) == (200, 0)


def test_a_part_has_a_bound(openai, monkeypatch):
    monkeypatch.setattr("uploads.openai.views.MAX_PART_BYTES", 100)
    told = openai.send(f"uploads/{openai.begin()}/parts", "data", DATA)
    refusal(told, 413, "part_too_large")


@pytest.mark.django_db(transaction=True)
def test_two_that_complete_at_once_get_the_same_file(openai):
    upload = openai.begin()
    part = openai.part(upload, DATA)
    answers = at_once([partial(openai.complete, upload, [part])] * 2)
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert len(events()) == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_orders_at_once_one_is_the_files(openai):
    upload = openai.begin()
    parts = [openai.part(upload, DATA[:150]), openai.part(upload, DATA[150:])]
    orders = [parts, parts[::-1]] * 2
    answers = at_once([partial(openai.complete, upload, order) for order in orders])
    assert {status for status, _ in answers} == {200, 400}
    won = next(order for order, (status, _) in zip(orders, answers, strict=True) if status == 200)
    assert [status == 200 for status, _ in answers] == [order == won for order in orders]
    whole = DATA if won == parts else DATA[150:] + DATA[:150]
    assert stored_bytes(IngestFile.objects.get()) == whole


# --- Who may, and what goes wrong ----------------------------------------------------------------


def test_what_is_anothers_does_not_exist(openai):
    file, upload = openai.file()["id"], openai.begin()
    other = OpenAI()
    refusal(other.get(f"files/{file}"), 404, "file_not_found")
    refusal(other.get(f"files/{file}/content"), 404, "file_not_found")
    refusal(other.delete(f"files/{file}"), 404, "file_not_found")
    refusal(other.send(f"uploads/{upload}/parts", "data", b"x"), 404, "session_not_found")
    refusal(other.complete(upload, []), 404, "session_not_found")
    refusal(other.post(f"uploads/{upload}/cancel"), 404, "session_not_found")


@pytest.mark.parametrize("path", ["files/x", "files/file-x", "models", "", "files/file-1/content"])
def test_what_there_is_not_is_404(openai, path):
    refusal(openai.get(path), 404, "not_found")


def test_every_refusal_has_the_protocols_form(openai, settings):
    anybody = Client().get("/v1/files")
    refusal(_told(anybody), 401, "not_authenticated")
    refusal(OpenAI(scopes=("read",)).post("uploads"), 403, "scope_missing")
    refusal(openai.post("uploads", bytes="1"), 400, "invalid_request")
    refusal(openai.get("uploads"), 405, "method_not_allowed")
    refusal(openai.get("files", limit=0), 400, "invalid_request")
    no_json = openai.http.post("/v1/uploads", b"{", content_type="application/json")
    refusal(_told(no_json), 400, "invalid_request")
    settings.PORTAL_QUOTA_FILES = 1
    openai.file()
    full = openai.http.post(
        "/v1/files", {"file": SimpleUploadedFile("a", b"x"), "purpose": "batch"}
    )
    refusal(_told(full), 507, "quota_files")
    assert full["x-should-retry"] == "false"


def test_a_guest_sends_within_the_grant():
    owner = make_user()
    guest = OpenAI(token=make_grant(user=owner, max_files=1)[1])
    guest.file()
    assert IngestFile.objects.get(status=FileStatus.STORED).uploaded_by == owner
    wanted = {"bytes": 1, "filename": "a", "mime_type": "", "purpose": "batch"}
    refusal(guest.post("uploads", **wanted), 400, "grant_files_used_up")


def test_the_door_can_be_switched_off(openai, settings):
    settings.PORTAL_DOORS = ["tus"]
    assert openai.http.get("/v1/files").status_code == 404
    assert "error" not in openai.http.get("/v1/files").json()


def test_what_a_worker_reads_through_can_be_completed_again_in_the_same_order_only(
    openai, multipart, settings, monkeypatch
):
    settings.PORTAL_STORAGE = multipart.name
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    upload = openai.begin(20)
    order = [openai.part(upload, DATA[at : at + 10]) for at in (0, 10)]
    for told in (order, order, order[::-1]):
        refusal(openai.complete(upload, told), 409, "finalize_in_progress")
    refusal(openai.send(f"uploads/{upload}/parts", "data", b"x"), 409, "finalize_in_progress")
    assert IngestFile.objects.get().status == FileStatus.UPLOADING

    assert tasks.finalize_uploads() == 1

    status, done = openai.complete(upload, order)
    assert (status, done["status"], done["file"]["bytes"]) == (200, "completed", 20)
    assert IngestFile.objects.get().sha256 == sha256(DATA[:20])
    refusal(openai.complete(upload, order[::-1]), 400, "completed_otherwise")


@pytest.mark.parametrize(("right", "status"), [(True, 200), (False, 422)])
def test_an_md5_is_compared_on_every_store(openai, multipart, settings, monkeypatch, right, status):  # noqa: PLR0917
    settings.PORTAL_STORAGE = multipart.name
    monkeypatch.setattr(finalizing, "AT_ONCE_BYTES", 0)
    upload = openai.begin()
    md5 = hashlib.md5(DATA if right else b"", usedforsecurity=False).hexdigest()
    assert openai.complete(upload, [openai.part(upload, DATA)], md5=md5)[0] == status
