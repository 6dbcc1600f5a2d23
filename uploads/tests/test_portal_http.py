"""Bodies as the network brings them, over real connections to the running portal."""

import http.client
import json
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from uploads.tests.factories import FILES, SESSIONS, sha256, some_bytes
from uploads.tests.wire import until

DATA = some_bytes(250_000)
PART = DATA[:100_000]


@pytest.fixture(scope="module", autouse=True)
def _no_request_ends_in_a_500(door):
    before = len(door.portal.logs())
    yield
    assert "Traceback" not in door.portal.logs()[before:]


@pytest.fixture
def session(door) -> str:
    """Three parts: 100,000, 100,000 and 50,000 bytes."""
    return door.session_of(DATA, chunk=100_000)


def finish(door, session: str) -> None:
    """Send what is missing; the file must be whole."""
    for number in (1, 2, 3):
        part = DATA[(number - 1) * 100_000 : number * 100_000]
        until(lambda number=number, part=part: door.put(session, number, part).status_code == 200)
    reply = door.finalize(session)
    assert (reply.status_code, reply.json()["sha256"]) == (200, sha256(DATA))


def test_a_connection_cut_in_the_middle_of_a_part_leaves_it_unreceived(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, f"Content-Length: {len(PART)}") + PART[:60_000])
    assert door.received(session) == ""
    finish(door, session)


def test_a_client_that_stops_sending_is_told_after_the_broken_part(door, session):
    """Half-closed: the body ends early, and the answer still arrives."""
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, f"Content-Length: {len(PART)}") + PART[:60_000])
        wire.socket.shutdown(1)
        status, problem = wire.answer()
    assert (status, problem["code"]) == (400, "body_incomplete")
    finish(door, session)


@pytest.mark.parametrize("pause", [0, 0.2], ids=["at-once", "after-a-pause"])
def test_requests_on_one_connection_are_answered_in_their_order(door, session, pause):
    """Several in one piece, twice: the second time after the server has put the connection by."""
    parts = {number: DATA[(number - 1) * 100_000 : number * 100_000] for number in (1, 2, 3)}
    in_one_piece = b"".join(
        door.head_of_part(session, number, f"Content-Length: {len(part)}") + part
        for number, part in parts.items()
    )
    with door.connect() as wire:
        for _ in range(2):
            wire.send(in_one_piece)
            answers = [wire.answer() for _ in parts]
            assert [(status, body["part_number"]) for status, body in answers] == [
                (200, 1),
                (200, 2),
                (200, 3),
            ]
            time.sleep(pause)
    finish(door, session)


def test_a_part_without_a_body_is_refused(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1))
        status, problem = wire.answer()
    assert (status, problem["code"]) == (411, "length_required")
    finish(door, session)


def test_bytes_after_the_body_do_not_get_into_the_file(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, f"Content-Length: {len(PART)}") + PART)
        wire.send(b"garbage that belongs to no request\r\n\r\n")
        status, _ = wire.answer()
    assert status == 200
    finish(door, session)


def test_requests_may_follow_one_another_on_a_connection(door, session):
    with door.connect() as wire:
        for number in (1, 2, 3):
            part = DATA[(number - 1) * 100_000 : number * 100_000]
            wire.send(door.head_of_part(session, number, f"Content-Length: {len(part)}") + part)
        for number in (1, 2, 3):
            status, receipt = wire.answer()
            assert (status, receipt["part_number"]) == (200, number)
    finish(door, session)


def test_a_body_that_is_refused_unread_still_gets_its_answer(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 99, f"Content-Length: {len(PART)}") + PART)
        status, problem = wire.answer()
        assert (status, problem["code"]) == (400, "part_number_invalid")
    finish(door, session)


def test_who_sends_all_before_reading_gets_the_answer_that_ends_the_connection(door, session):
    connection = http.client.HTTPConnection("127.0.0.1", door.portal.port, timeout=30)
    connection.request(
        "PUT",
        f"{SESSIONS}/{session}/parts/1",
        bytes(16 * 2**20),
        {"Authorization": f"Bearer {door.token}"},
    )
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (400, "close")
    assert json.loads(answer.read())["code"] == "part_size_wrong"
    finish(door, session)


def test_a_body_that_stalls_ends_and_frees_its_part(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, f"Content-Length: {len(PART)}") + PART[:60_000])
        until(lambda: door.is_taken(session, 1))
        status, problem = wire.answer()
        assert (status, problem["code"]) == (408, "body_stalled")
        assert door.put(session, 1, PART).status_code == 200
        assert wire.is_closed_by_the_server()
    finish(door, session)


def test_a_stalled_writer_cannot_overwrite_what_another_finished(door, session):
    """It wakes up when its part is long received: its bytes go nowhere."""
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 1, f"Content-Length: {len(PART)}") + b"\xff" * 60_000)
        until(lambda: door.put(session, 1, PART).status_code == 200)
        wire.send(b"\xff" * 40_000)
    finish(door, session)


def test_a_slow_body_is_no_stalled_one(door, session):
    with door.connect() as wire:
        wire.send(door.head_of_part(session, 3, "Content-Length: 50000"))
        for start in range(0, 50_000, 5_000):
            wire.send(DATA[200_000 + start : 205_000 + start])
            time.sleep(0.15)  # 1.5 s in all: longer than the limit, but never silent for so long
        assert wire.answer()[0] == 200
    finish(door, session)


def test_a_slow_form_is_no_stalled_one_either(door):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="slow"\r\n\r\n'
    with door.connect() as wire:
        wire.send(
            f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {len(head) + 200_000 + 9}\r\n\r\n".encode()
            + head
        )
        for start in range(0, 200_000, 20_000):
            wire.send(DATA[start : start + 20_000])
            time.sleep(0.15)
        wire.send(b"\r\n--x--\r\n")
        status, file = wire.answer()
    assert (status, file["size_bytes"]) == (201, 200_000)


def test_a_form_is_put_aside_in_the_data_directory_where_a_kill_leaves_nothing(door):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="aside"\r\n\r\n'
    workers = door.portal.processes["web"].children()
    with door.connect() as wire:
        wire.send(
            f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            "Content-Length: 300000\r\n\r\n".encode()
            + head
            + DATA[:200_000]
        )
        until(lambda: any(is_aside(opened, door.portal.data_dir) for opened in files_of(workers)))


def files_of(processes):
    """What the open descriptors of processes lead to."""
    for process in processes:
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                yield str(link.readlink())


def is_aside(opened, data_dir):
    return opened.startswith(f"{data_dir}/") and opened.endswith(" (deleted)")


@pytest.mark.parametrize(
    ("length", "part"),
    [
        (200_000_000, b"abc"),
        (300_000, b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + DATA),
    ],
    ids=["too large", "with a file"],
)
def test_a_page_takes_no_files(door, length, part):
    before = len(door.portal.logs())
    with door.connect() as wire:
        wire.send(
            f"POST /app/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken={32 * 'a'}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
            + part
        )
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 400 ")
    assert "ERROR" not in door.portal.logs()[before:]


def test_a_document_must_arrive_within_the_limit(door):
    with door.connect() as wire:
        wire.send(
            f"POST {SESSIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            f"Authorization: Bearer {door.token}\r\n\r\n".encode()
        )
        for _ in range(9):
            wire.send(b" ")
            time.sleep(0.15)
        wire.socket.settimeout(0.5)  # it is there already
        status, problem = wire.answer()
    assert (status, problem["code"]) == (408, "body_stalled")


def test_a_raw_body_that_stalls_leaves_nothing(door):
    before = door.call("GET", FILES, params={"status": "stored", "limit": 200}).json()["items"]
    with door.connect() as wire:
        wire.send(
            f"POST {FILES}?filename=stalled HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {door.token}\r\nContent-Length: 100\r\n\r\nhalf".encode()
        )
        status, problem = wire.answer()
    assert (status, problem["code"]) == (408, "body_stalled")
    after = door.call("GET", FILES, params={"status": "stored", "limit": 200}).json()["items"]
    assert after == before


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_form_or_a_document_that_stalls_ends_too(door, kind):
    path, media_type, start = {
        "form": (
            FILES,
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data",
        ),
        "json": (SESSIONS, "application/json", b'{"filename": '),
    }[kind]
    with door.connect() as wire:
        wire.send(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
            f"Authorization: Bearer {door.token}\r\nContent-Length: 1000\r\n\r\n".encode()
            + start
        )
        status, problem = wire.answer()
    assert (status, problem["code"]) == (408, "body_stalled")


def test_the_content_comes_back_whole_in_ranges_and_not_at_all_for_head(door):
    url = door.upload(DATA)["content_url"]
    whole = door.call("GET", url)
    assert (whole.content, whole.headers["content-length"]) == (DATA, "250000")
    part = door.call("GET", url, headers={"Range": "bytes=99990-100009"})
    assert (part.status_code, part.content) == (206, DATA[99_990:100_010])
    head = door.call("HEAD", url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "250000"
    assert head.headers["etag"] == f'"{sha256(DATA)}"'


def test_a_reader_that_goes_away_harms_nobody(door):
    url = door.upload(some_bytes(3_000_000))["content_url"]
    with door.connect() as wire:
        wire.send(
            f"GET {url} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {door.token}\r\n\r\n".encode()
        )
        wire.socket.recv(1000)
    assert door.call("GET", url).status_code == 200


def head_of_form(door, length: int) -> bytes:
    return (
        f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.token}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("size", [10, 2**20 - 80, 3 * 2**20])
def test_a_form_is_taken_whole_and_what_follows_it_is_the_next_request(door, size):
    """Its boundary stands in the middle of lines, and wherever blocks of the body meet."""
    line = b"some --x-- text --x\r\n"
    data = (line * (size // len(line) + 1))[:size]
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + data
        + b"\r\n--x--\r\n"
    )
    with door.connect() as wire:
        for _ in range(2):
            wire.send(head_of_form(door, len(form)) + form)
        answers = [wire.answer(), wire.answer()]
    assert [(status, file["sha256"]) for status, file in answers] == [(201, sha256(data))] * 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("name", "saved"), [("report 2026.pdf", "report 2026.pdf"), ("słońce.txt", "s_once.txt")]
)
def test_curl_sends_a_form_and_saves_a_download_under_its_name(door, tmp_path, name, saved):
    (tmp_path / "sent").write_bytes(PART)
    bearer = f"Authorization: Bearer {door.token}"
    sent = subprocess.run(
        ["curl", "-sS", "-H", bearer, "-F", f"file=@sent;filename={name}", door.portal.url + FILES],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    file = json.loads(sent.stdout)
    assert (file["original_filename"], file["sha256"]) == (name, sha256(PART))
    url = door.portal.url + file["content_url"]
    subprocess.run(["curl", "-sSOJ", "-H", bearer, url], cwd=tmp_path, check=True)
    assert (tmp_path / saved).read_bytes() == PART
