"""Nothing is stored, told of or given out before it has passed every check, through any door."""

import errno
import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO

import pytest
from django.utils import timezone

from common.errors import Conflict, ServiceUnavailable, UnprocessableContent
from common.models import OutboxEvent
from common.tests.threads import at_once
from uploads import tasks
from uploads.files import retention, usage
from uploads.files.acceptance import archives, checks, viruses
from uploads.files.acceptance.base import Candidate, Check, LeftToWorker, Patience
from uploads.models import FileStatus, IngestFile, UploadPart, UploadSession
from uploads.receiving import (
    abandoned,
    accepting,
    one_request,
    reading,
    reading_queue,
    slots,
)
from uploads.tests.factories import (
    FILES,
    Api,
    Guest,
    assert_problem,
    body,
    events,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)
from uploads.tests.s3_servers import names_in
from uploads.tests.scanner import EICAR, SIGNATURE, Scanner, running
from uploads.tests.test_openai import OpenAI
from uploads.tests.tus_calls import Tus
from uploads.tests.workflow_factories import make_handed_over
from uploads.workflows.results import StoredResult, store_result

pytestmark = pytest.mark.django_db
CLEAN = some_bytes(300)
DIRTY = CLEAN[:150] + EICAR + CLEAN[150:]


@pytest.fixture
def scanner(settings) -> Iterator[Scanner]:
    with running() as scanner:
        settings.PORTAL_SCANNER = scanner.address
        yield scanner


@pytest.fixture
def down(settings, monkeypatch) -> Iterator[str]:
    """The address of a scanner that is not there; it can be started there."""
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    monkeypatch.setattr(viruses, "_REST_SECONDS", 0)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings.PORTAL_SCANNER = f"clamd://127.0.0.1:{port}"
    yield port


def make_due() -> None:
    UploadSession.objects.filter(finalizing_at__isnull=False).update(finalizing_until=None)


def the_file() -> IngestFile:
    return IngestFile.objects.get()


# --- Every door -----------------------------------------------------------------------------------


def by_session(data: bytes) -> None:
    api = Api()
    session = api.session_of(data, chunk=100)  # parts that cut the signature in two
    api.put_all(session, data)
    api.finalize(session["session_id"])


def by_one_request(data: bytes) -> None:
    Api().post_raw(data, filename="a.bin")


def by_form(data: bytes) -> None:
    upload = io.BytesIO(data)
    upload.name = "a.bin"
    Api().post_form({"file": upload})


def by_guest(data: bytes) -> None:
    Guest().post_raw(data, filename="a.bin")


def by_tus(data: bytes) -> None:
    tus = Tus()
    tus.patch(tus.begin(len(data)), 0, data)


def by_tus_pieces(data: bytes) -> None:
    tus = Tus()
    pieces = [
        tus.begin(len(piece), piece, Upload_Concat="partial") for piece in (data[:170], data[170:])
    ]
    tus.create(Upload_Concat=f"final;{' '.join(pieces)}")
    for piece in pieces:
        tus.call("DELETE", piece)
    IngestFile.objects.filter(is_piece=True).delete()


def by_openai_file(data: bytes) -> None:
    OpenAI().send("files", "file", data, purpose="user_data")


def by_openai_upload(data: bytes) -> None:
    openai = OpenAI()
    upload = openai.begin(len(data))
    late, early = openai.part(upload, data[170:]), openai.part(upload, data[:170])
    openai.complete(upload, [early, late])


DOORS: list[Callable[[bytes], None]] = [
    by_session,
    by_one_request,
    by_form,
    by_guest,
    by_tus,
    by_tus_pieces,
    by_openai_file,
    by_openai_upload,
]


@pytest.mark.parametrize("send", DOORS)
def test_every_door_stores_what_is_clean_and_fails_what_is_not(scanner, send):
    send(CLEAN)
    assert (the_file().status, the_file().sha256) == (FileStatus.STORED, sha256(CLEAN))
    assert [event.event_type for event in events()] == ["file.uploaded"]
    IngestFile.objects.all().delete()
    OutboxEvent.objects.all().delete()

    send(DIRTY)

    assert (the_file().status, the_file().error_code) == (FileStatus.FAILED, "infected")
    assert SIGNATURE in the_file().error_message
    assert scanner.scanned == [CLEAN, DIRTY]
    assert [event.event_type for event in events()] == ["file.failed"]
    assert not [name for name in on_disk() if the_file().id.hex in name]


@pytest.mark.parametrize("send", DOORS)
def test_no_door_stores_or_tells_of_anything_while_the_scanner_is_down(down, send):
    send(DIRTY)
    file = the_file()
    assert (file.status, file.error_code) == (FileStatus.CHECKING, "scanner_unavailable")
    assert events() == []
    owner = Api(file.uploaded_by)
    assert_problem(owner.get(f"{FILES}/{file.id}/content"), 409, "file_not_stored")
    assert_problem(owner.post(f"{FILES}/{file.id}/consume"), 409, "file_not_stored")
    make_due()
    assert tasks.finalize_uploads() == 0
    assert the_file().status == FileStatus.CHECKING

    with running(down):
        make_due()
        tasks.finalize_uploads()

    assert (the_file().status, the_file().error_code) == (FileStatus.FAILED, "infected")
    assert [event.event_type for event in events()] == ["file.failed"]
    assert usage.usage_of(file.uploaded_by_id) == usage.recount(file.uploaded_by_id)


# --- Every store ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_store")
def test_what_waited_is_stored_as_it_was_sent_on_every_store(api, down):
    session = api.session_of(CLEAN, chunk=100)
    for number in (3, 1, 2):
        api.put_part(session["session_id"], number, CLEAN[(number - 1) * 100 : number * 100])
    assert api.finalize(session["session_id"]).status_code == 202
    assert api.post_raw(CLEAN[::-1], filename="b.bin").status_code == 202
    with running(down):
        make_due()
        assert tasks.finalize_uploads() == 2
    for file in IngestFile.objects.all():
        assert file.status == FileStatus.STORED
        assert sha256(stored_bytes(file)) == file.sha256
    assert [event.event_type for event in events()] == ["file.uploaded"] * 2


def test_what_is_infected_leaves_no_object_in_s3(api, s3, scanner, settings):
    api.post_raw(DIRTY, filename="a.bin")
    session = api.session_of(DIRTY, chunk=100)
    api.put_all(session, DIRTY)
    assert_problem(api.finalize(session["session_id"]), 422, "infected")
    assert names_in(s3) == []


# --- What is answered -----------------------------------------------------------------------------


def test_an_infected_file_is_refused_the_same_whenever_it_is_asked_for(api, scanner):
    replies = [api.post_raw(DIRTY, filename="a.bin", idempotency_key="k") for _ in range(2)]
    for reply in replies:
        assert_problem(reply, 422, "infected")
    assert replies[0].json()["detail"] == replies[1].json()["detail"]
    told = api.get(f"{FILES}/{the_file().id}").json()
    assert (told["status"], told["error"]["code"]) == ("failed", "infected")


def test_a_file_that_waits_says_so_and_why(api, down):
    reply = api.post_raw(CLEAN, filename="a.bin", idempotency_key="k")
    assert reply.status_code == 202
    session = reply.json()
    assert reply["Location"] == f"/api/v1/uploads/sessions/{session['session_id']}"
    assert (session["status"], api.get(reply["Location"]).json()) == ("finalizing", session)
    told = api.get(f"{FILES}/{session['file_id']}").json()
    assert (told["status"], told["error"]) == ("checking", None)
    for answer in (session, told):
        assert answer["checking"]["waits_for"]["code"] == "scanner_unavailable"
    assert api.get(FILES, status="checking").json()["items"] == [told]
    again = api.post_raw(CLEAN, filename="a.bin", idempotency_key="k")
    assert (again.status_code, again.json()) == (202, session)
    other = api.post_raw(CLEAN[::-1], filename="a.bin", idempotency_key="k")
    assert_problem(other, 409, "idempotency_key_reused")
    with running(down):
        make_due()
        tasks.finalize_uploads()
    assert api.finalize(session["session_id"]).json()["status"] == "stored"
    stored = api.post_raw(CLEAN, filename="a.bin", idempotency_key="k")
    assert (stored.status_code, stored.json()["status"]) == (201, "stored")
    assert stored.json()["checking"] is None


@pytest.mark.parametrize(("data", "status"), [(CLEAN, 201), (DIRTY, 422)])
def test_a_repeat_that_takes_its_time_tells_what_came_of_the_file(
    api, down, monkeypatch, data, status
):
    send = partial(api.post_raw, data, filename="a.bin", idempotency_key="k")
    assert send().status_code == 202
    compare = one_request._require_same

    def compare_slowly(*arguments: Any, **options: Any) -> None:
        compare(*arguments, **options)
        with running(down):
            make_due()
            tasks.finalize_uploads()

    monkeypatch.setattr(one_request, "_require_same", compare_slowly)
    reply = send()
    assert reply.status_code == status
    assert reply.json()["status"] == ("stored" if status == 201 else 422)


def test_a_session_that_waits_says_so_and_takes_nothing_more(api, down):
    session = api.session_of(CLEAN, chunk=100)
    api.put_all(session, CLEAN)
    session_id = session["session_id"]
    for reply in (api.finalize(session_id), api.finalize(session_id)):
        assert (reply.status_code, reply.json()["status"]) == (202, "finalizing")
        assert reply.json()["checking"]["waits_for"]["code"] == "scanner_unavailable"
    assert api.put_part(session_id, 1, CLEAN[:100]).status_code == 200
    assert_problem(api.put_part(session_id, 1, b"x" * 100), 409, "part_differs")
    assert api.get("/api/v1/uploads/sessions").json()["items"] == []
    with running(down):
        make_due()
        tasks.finalize_uploads()
    assert api.finalize(session_id).json()["sha256"] == sha256(CLEAN)


def test_what_came_in_one_request_can_not_be_written_over_while_it_waits(api, down):
    api.post_raw(CLEAN, filename="a.bin")
    session_id = UploadSession.objects.get().id
    assert_problem(api.put_part(session_id, 1, DIRTY[: len(CLEAN)]), 409, "part_differs")
    UploadPart.objects.all().delete()
    assert_problem(api.put_part(session_id, 1, CLEAN), 409, "finalize_in_progress")


@pytest.mark.usefixtures("each_store")
def test_tus_says_that_all_is_there_and_being_checked(down):
    tus = Tus()
    path = tus.begin(len(CLEAN))
    sent = tus.patch(path, 0, CLEAN)
    refused = tus.patch(path, len(CLEAN), b"x")
    assert (refused.status_code, b"beyond_length" in refused.content) == (400, True)
    for reply in (sent, tus.call("HEAD", path), tus.patch(path, len(CLEAN), b"")):
        assert (reply["Upload-Offset"], reply["Upload-State"]) == (str(len(CLEAN)), "checking")
    with running(down):
        make_due()
        tasks.finalize_uploads()
    assert "Upload-State" not in tus.call("HEAD", path)
    assert the_file().status == FileStatus.STORED


def test_openai_says_uploaded_until_it_is_processed_and_error_where_it_is_refused(down):
    openai = OpenAI()
    keep = {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(5 * 86_400)}
    good, bad = openai.file(CLEAN, **keep), openai.file(DIRTY)
    expiry = {"anchor": "created_at", "seconds": 6 * 86_400}
    upload = openai.begin(len(CLEAN), expires_after=expiry)
    parts = [openai.part(upload, CLEAN)]
    assert openai.complete(upload, parts)[0] == 409
    assert {good["status"], bad["status"]} == {"uploaded"}
    assert openai.get(f"files/{good['id']}/content")[0] == 400
    with running(down):
        make_due()
        tasks.finalize_uploads()
    good = openai.get(f"files/{good['id']}")[1]
    assert good["status"] == "processed"
    assert good["expires_at"] >= good["created_at"] + 5 * 86_400
    late = openai.complete(upload, parts)[1]["file"]
    assert late["expires_at"] >= late["created_at"] + 6 * 86_400
    refused = openai.get(f"files/{bad['id']}")[1]
    assert (refused["status"], SIGNATURE in refused["status_details"]) == ("error", True)


def test_what_is_larger_than_the_scanner_takes_is_refused_before_it_is_sent(api, scanner, settings):
    settings.PORTAL_SCANNER_MAX_SIZE = 1000
    reply = api.create_session(size_bytes=1001)
    assert_problem(reply, 413, "too_large_to_check")
    assert reply.json()["max_bytes"] == 1000
    tus = Tus()
    assert tus.create(1001).status_code == 413
    path = tus.begin(Upload_Defer_Length=1)
    assert tus.patch(path, 0, b"x" * 1001).status_code in {204, 413}
    assert (
        tus.call(
            "PATCH",
            path,
            b"",
            Upload_Offset=1001,
            Upload_Length=1001,
            Content_Type="application/offset+octet-stream",
        ).status_code
        == 413
    )
    assert scanner.scanned == []


def test_the_scanners_own_limit_is_told(api, scanner):
    scanner.most_bytes = 100
    reply = api.post_raw(CLEAN, filename="a.bin")
    assert_problem(reply, 413, "too_large_to_check")
    assert "StreamMaxLength" in reply.json()["detail"]


def test_what_the_scanner_did_not_look_through_is_not_accepted(api, scanner):
    scanner.reply = b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND"
    assert_problem(api.post_raw(CLEAN, filename="a.bin"), 422, "not_scannable")


@pytest.mark.parametrize("fault", ["cut", "error", "garbage"])
def test_nothing_that_a_scanner_does_wrong_lets_a_file_through(api, scanner, fault):
    scanner.fault = fault
    assert api.post_raw(DIRTY * 20_000, filename="a.bin").status_code == 202
    make_due()
    reading.finalize_next()
    assert (the_file().status, events()) == (FileStatus.CHECKING, [])
    scanner.fault = ""
    make_due()
    tasks.finalize_uploads()
    assert the_file().error_code == "infected"


def test_a_scanner_that_is_switched_off_lets_what_waits_go(api, down, settings):
    api.post_raw(CLEAN, filename="a.bin")
    settings.PORTAL_SCANNER = ""
    make_due()
    tasks.finalize_uploads()
    assert the_file().status == FileStatus.STORED


# --- Kills, repeats, waits ------------------------------------------------------------------------


class Killed(BaseException):
    """What a kill -9 is to the code: nothing after it happens."""


# ... and whether the scanner is there, so that it comes to the step.
STEPS = [
    ("accept_at_once", True),
    ("hold", False),
    ("mark_stored", True),
    ("refuse", True),
    ("check_held", False),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("data", [CLEAN, DIRTY])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("step", "is_up"), STEPS)
def test_a_kill_in_any_step_leads_to_the_same_end(  # noqa: PLR0917
    scanner, monkeypatch, step, when, data, is_up
):
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    api = Api()
    scanner.fault = "" if is_up else "cut"
    session = api.session_of(data, chunk=100)
    api.put_all(session, data)
    call = getattr(accepting, step)

    def killed(*args: Any, **named: Any) -> Any:
        if when == "after":
            call(*args, **named)
        raise Killed

    def attempt(work: Callable[[], object]) -> None:
        with suppress(Killed):
            work()

    with monkeypatch.context() as broken:
        broken.setattr(accepting, step, killed)
        attempt(partial(api.finalize, session["session_id"]))
        make_due()
        attempt(tasks.finalize_uploads)
    if the_file().status in IngestFile.UNDER_WAY:
        assert events() == []
    scanner.fault = ""
    api.finalize(session["session_id"])
    make_due()
    tasks.finalize_uploads()
    api.finalize(session["session_id"])

    file = the_file()
    assert file.status == (FileStatus.STORED if data is CLEAN else FileStatus.FAILED)
    told = ["file.uploaded" if data is CLEAN else "file.failed"]
    assert [event.event_type for event in events()] == told
    UploadSession.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    abandoned.remove_leftover_spools()
    assert on_disk() == ({f"files/{file.storage_key}"} if data is CLEAN else set())
    assert usage.usage_of(api.user.id) == usage.recount(api.user.id)


@pytest.mark.django_db(transaction=True)
def test_two_workers_and_a_client_at_once_store_it_once(scanner, monkeypatch):
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    api = Api()
    scanner.fault = "cut"
    session = api.session_of(CLEAN, chunk=100)
    api.put_all(session, CLEAN)
    api.finalize(session["session_id"])
    scanner.fault = ""
    held = UploadSession.objects.select_related("file").get()
    make_due()
    at_once([partial(accepting.check_held, held)] * 3 + [partial(api.finalize, held.id)])
    assert the_file().status == FileStatus.STORED
    assert [event.event_type for event in events()] == ["file.uploaded"]


def test_a_file_that_is_given_up_while_it_waits_frees_all_of_it(api, down):
    batch = api.create_batch()
    api.post_raw(CLEAN, filename="a.bin", batch_id=batch["id"])
    assert usage.usage_of(api.user.id).files == 1
    assert api.delete(f"{FILES}/{the_file().id}").status_code == 204
    assert (the_file().status, on_disk()) == (FileStatus.FAILED, set())
    assert usage.usage_of(api.user.id) == usage.recount(api.user.id) == usage.NOTHING
    api.close_batch(batch["id"])
    assert api.get(f"/api/v1/batches/{batch['id']}").json()["failed_count"] == 1


def test_a_batch_is_complete_only_once_its_files_are_checked(api, down):
    batch = api.create_batch()["id"]
    api.post_raw(CLEAN, filename="a.bin", batch_id=batch)
    assert api.close_batch(batch).json()["status"] == "in_progress"
    with running(down):
        make_due()
        tasks.finalize_uploads()
    assert api.get(f"/api/v1/batches/{batch}").json()["status"] == "complete"
    assert {event.event_type for event in events()} == {"file.uploaded", "batch.completed"}


def test_what_waits_is_not_idle_and_not_kept_for_ever(api, down, settings):
    api.post_raw(CLEAN, filename="a.bin", idempotency_key="k")
    UploadSession.objects.update(last_activity_at=timezone.now() - timedelta(days=2))
    assert abandoned.abort_idle_sessions() == 0
    UploadSession.objects.update(finalizing_at=timezone.now() - timedelta(hours=71))
    make_due()
    reading.finalize_next()
    wait = UploadSession.objects.get().finalizing_until - timezone.now()
    assert timedelta(seconds=200) < wait <= timedelta(seconds=300)
    UploadSession.objects.update(finalizing_at=timezone.now() - timedelta(hours=73))
    make_due()
    reading.finalize_next()
    assert (the_file().status, the_file().error_code) == (FileStatus.FAILED, "not_checked")
    assert on_disk() == set()
    assert_problem(api.finalize(UploadSession.objects.get().id), 410, "not_checked")
    with running(down):
        again = api.post_raw(CLEAN, filename="a.bin", idempotency_key="k")
    assert again.status_code == 201


def test_a_scanner_that_is_down_is_asked_once_not_for_every_file(api, scanner, monkeypatch):
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    scanner.fault = "cut"
    for number in range(5):
        api.post_raw(CLEAN * 10_000, filename=f"{number}.bin")
    scanner.connections = 0
    make_due()
    tasks.finalize_uploads()
    assert scanner.connections == 1


def test_requests_do_not_wait_one_after_the_other_for_a_scanner_that_is_down(
    api, scanner, monkeypatch
):
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    data = CLEAN * 10_000
    scanner.fault = "cut"
    for number in range(3):
        reply = api.post_raw(data, filename=f"{number}.bin")
        assert reply.json()["checking"]["waits_for"]["code"] == "scanner_unavailable"
    assert scanner.connections == 1
    monkeypatch.setitem(viruses._troubles, scanner.address, viruses._Trouble(0, ""))
    scanner.fault = ""
    for number in range(2):
        assert api.post_raw(data, filename=f"late {number}.bin").status_code == 201


def test_workers_that_check_leave_one_to_other_work(api, down, settings):
    api.post_raw(CLEAN, filename="a.bin")
    make_due()
    settings.WORKER_CONCURRENCY = 3
    with running(down), ExitStack() as busy:
        assert [busy.enter_context(slots.slot()) for _ in range(3)] == [True, True, False]
        assert tasks.finalize_uploads() == 0
        assert the_file().status == FileStatus.CHECKING
        busy.close()
        assert tasks.finalize_uploads() == 1
    assert the_file().status == FileStatus.STORED


def test_quarantine_keeps_what_is_infected_out_of_reach_for_a_time(api, scanner, settings):
    settings.PORTAL_QUARANTINE_HOURS = 24
    session = api.session_of(DIRTY, chunk=100)
    api.put_all(session, DIRTY)
    assert_problem(api.finalize(session["session_id"]), 422, "infected")
    file = the_file()
    UploadSession.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    abandoned.remove_leftover_spools()
    retention.purge_files()
    assert on_disk() == {f"files/{file.storage_key}"}
    assert_problem(api.get(f"{FILES}/{file.id}/content"), 410, "file_failed")
    IngestFile.objects.update(purge_at=timezone.now() - timedelta(seconds=1))
    retention.purge_files()
    assert on_disk() == set()


# --- The list -------------------------------------------------------------------------------------


@pytest.fixture
def further() -> Iterator[list[str]]:
    """A check of somebody else's, and what it was asked."""
    asked: list[str] = []
    mistakes = {
        "broken.bin": KeyError("a mistake"),
        "unreadable.bin": OSError(errno.EIO, "Input/output error"),
        "odd.bin": Conflict("odd", "What says nothing of the file."),
    }

    def content(candidate: Any, opened: Any, _patience: Any) -> None:
        with opened.open() as stream:
            stream.read(1)
        asked.append(candidate.filename)
        if error := mistakes.get(candidate.filename):
            raise error

    checks.register(Check("further", content=content), before="viruses")
    yield asked
    checks.unregister("further")


def test_a_check_can_be_added_and_its_mistakes_let_nothing_through(api, further, scanner):
    assert api.post_raw(CLEAN, filename="fine.bin").status_code == 201
    reply = api.post_raw(CLEAN, filename="broken.bin")
    assert reply.status_code == 202
    assert reply.json()["checking"]["waits_for"]["code"] == "check_failed"
    assert further == ["fine.bin", "broken.bin"]
    assert len(scanner.scanned) == 1  # in order: the later one is not asked
    with pytest.raises(ValueError, match="already"):
        checks.register(Check("further"))


@pytest.mark.parametrize("name", ["broken.bin", "unreadable.bin", "odd.bin"])
def test_what_keeps_a_check_from_judging_is_not_waited_for_for_ever(
    api, further, monkeypatch, name
):
    monkeypatch.setattr(reading_queue, "_senders", [lambda: None])
    assert api.post_raw(CLEAN, filename=name).status_code == 202
    make_due()
    assert tasks.finalize_uploads() == 1
    assert (the_file().status, the_file().error_code) == (FileStatus.CHECKING, "check_failed")
    UploadSession.objects.update(finalizing_at=timezone.now() - timedelta(hours=73))
    make_due()
    tasks.finalize_uploads()
    assert (the_file().status, the_file().error_code) == (FileStatus.FAILED, "not_checked")


# --- Archives -------------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


BOMB = zipped(**{str(number): b"\0" * 100_000 for number in range(10)})


@pytest.mark.parametrize(
    ("name", "most", "told"),
    [
        ("PORTAL_ARCHIVE_MAX_BYTES", 999_999, "bytes when it is unpacked"),
        ("PORTAL_ARCHIVE_MAX_RATIO", 50, "times its own size"),
        ("PORTAL_ARCHIVE_MAX_ENTRIES", 9, "10 entries"),
    ],
)
def test_an_archive_that_declares_too_much_is_refused(api, settings, name, most, told):
    assert api.post_raw(BOMB, filename="a.zip").status_code == 201
    setattr(settings, name, most)
    reply = api.post_raw(BOMB, filename="a.zip")
    assert_problem(reply, 422, "archive_too_large")
    assert told in reply.json()["detail"]
    assert api.post_raw(zipped(a=b"hello"), filename="a.zip").status_code == 201
    assert api.post_raw(CLEAN, filename="a.bin").status_code == 201


def hidden(data: bytes) -> Iterator[bytes]:
    """The same archive as others would still unpack it."""
    yield data + b"trailing"  # behind its end
    yield b"#!/bin/sh\n" + data  # behind a program
    end = data.rindex(b"PK\x05\x06")
    empty = b"PK\x05\x06" + b"\0" * 18
    yield data[:-2] + len(empty).to_bytes(2, "little") + empty  # its comment says that it is empty
    yield data[:end]  # without its end, as a stream can be unpacked
    yield data[: end + 8] + b"\1\0\1\0" + data[end + 12 :]  # its end tells of one entry


@pytest.mark.parametrize("number", range(5))
def test_an_archive_that_hides_is_found(api, settings, number):
    settings.PORTAL_ARCHIVE_MAX_ENTRIES = 9
    reply = api.post_raw(list(hidden(BOMB))[number], filename="a.zip")
    assert (reply.status_code, reply.json()["code"][:8]) == (422, "archive_")


def test_a_large_directory_is_read_in_blocks_and_large_sizes_are_understood(
    api, settings, monkeypatch
):
    settings.PORTAL_ARCHIVE_MAX_BYTES = 2**40
    monkeypatch.setattr("uploads.files.acceptance.archives._BLOCK_BYTES", 100)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(50):
            with archive.open(f"{number}.txt", "w", force_zip64=True) as member:
                member.write(b"x" * 20)
    assert api.post_raw(made.getvalue(), filename="a.zip").status_code == 201
    settings.PORTAL_ARCHIVE_MAX_BYTES = 999
    assert_problem(api.post_raw(made.getvalue(), filename="a.zip"), 422, "archive_too_large")


def looked_at(data: bytes, patience: Patience, *, opened: list[int] | None = None) -> None:
    class Content:
        def open(self, *, start: int = 0, end: int | None = None) -> BinaryIO:
            if opened is not None:
                opened.append(start)
            return io.BytesIO(data[start:end])

    candidate = Candidate("a.zip", len(data), "application/zip", "application/zip")
    archives.examine(candidate, Content(), patience)


def test_a_large_directory_is_read_with_patience_only(settings, monkeypatch):
    settings.PORTAL_ARCHIVE_MAX_ENTRIES = 10_000
    large = zipped(**{f"{number:0>100}": b"" for number in range(1000)})
    beats: list[int] = []
    monkeypatch.setattr(archives, "_BEAT_SECONDS", 0)
    looked_at(large, Patience(10, 10, on_beat=lambda: beats.append(1)))
    assert beats
    for patience in (Patience(10, 10, most_bytes=100_000), Patience(10, 0, most_bytes=2**30)):
        with pytest.raises(LeftToWorker):
            looked_at(large, patience)
    with pytest.raises(ServiceUnavailable, match="too slowly"):
        looked_at(large, Patience(10, 0))


def test_only_so_many_ends_are_looked_behind(settings):
    settings.PORTAL_ARCHIVE_MAX_ENTRIES = 10
    opened: list[int] = []
    end = b"PK\x05\x06" + b"\0" * 8 + b"\1\0\0\0" * 2 + b"\0" * 2  # of one byte, at byte 1
    looked_at(b"x" * 100_000 + end * 64, Patience(10, 10), opened=opened)
    assert len(opened) <= 2 + 64
    with pytest.raises(UnprocessableContent):
        looked_at(b"x" * 100_000 + end * 65, Patience(10, 10))


def test_an_empty_archive_and_a_large_one_of_no_entries_are_fine(api, settings):
    settings.PORTAL_ARCHIVE_MAX_ENTRIES = 1
    assert api.post_raw(zipped(), filename="a.zip").status_code == 201
    assert body(api.get(f"{FILES}/{the_file().id}/content")) == zipped()


# --- Results of workflows -------------------------------------------------------------------------


def test_a_workflows_result_is_checked_as_well(scanner):
    runs = iter([make_handed_over() for _ in range(3)])
    before = on_disk()

    def stored(data: bytes) -> StoredResult:
        blocks = iter([memoryview(data)])
        return store_result(next(runs), filename="a.bin", size_bytes=len(data), blocks=blocks)

    result = stored(CLEAN)
    with pytest.raises(UnprocessableContent, match=SIGNATURE):
        stored(DIRTY)
    scanner.fault = "error"
    with pytest.raises(ServiceUnavailable):
        stored(CLEAN)
    assert on_disk() - before == {f"files/{result.stored.key}"}
