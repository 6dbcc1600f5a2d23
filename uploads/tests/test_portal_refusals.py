"""Answers that come before the body, or instead of it, over real connections."""

import json
import shutil
import subprocess
import time

import httpx
import pytest

from uploads.tests.factories import FILES, SESSIONS, some_bytes
from uploads.tests.test_portal_http import finish, session  # noqa: F401
from uploads.tests.wire import Wire

PART = some_bytes(250_000)[:100_000]
EXPECT = "Expect: 100-continue"
NO_SESSION = f"{SESSIONS}/01900000-0000-7000-8000-000000000000/parts/1"


@pytest.fixture(scope="module", autouse=True)
def _no_request_ends_in_a_500(door):
    before = len(door.portal.logs())
    yield
    assert "Traceback" not in door.portal.logs()[before:]


def head(door, method: str, path: str, *headers: str, token: str | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if token != "":
        lines.append(f"Authorization: Bearer {token or door.token}")
    return "\r\n".join([*lines, "", ""]).encode()


# --- Expect: 100-continue -------------------------------------------------------------------------


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(door, session):  # noqa: F811
    with door.connect() as wire:
        for _ in range(2):  # on the same connection
            length = f"Content-Length: {len(PART)}"
            wire.send(door.head_of_part(session, 1, length, EXPECT))
            assert wire.answer() == (100, None)
            wire.send(PART)
            assert wire.answer()[0] == 200


def test_so_is_one_that_sends_a_document_or_chunks(door):
    document = json.dumps({"filename": "a", "size_bytes": 1}).encode()
    json_type = "Content-Type: application/json"
    with door.connect() as wire:
        length = f"Content-Length: {len(document)}"
        wire.send(head(door, "POST", SESSIONS, json_type, length, EXPECT))
        assert wire.answer() == (100, None)
        wire.send(document)
        assert wire.answer()[0] == 201
        wire.send(head(door, "POST", SESSIONS, json_type, "Transfer-Encoding: chunked", EXPECT))
        assert wire.answer() == (100, None)
        wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(document), document))
        assert wire.answer()[0] == 201


@pytest.mark.parametrize(
    ("request_line", "token", "refusal"),
    [
        (("POST", f"{FILES}?filename=a"), "", (401, "not_authenticated")),
        (("POST", f"{FILES}?filename=a"), "wrong", (401, "token_invalid")),
        (("POST", f"{FILES}?filename=a"), None, (413, "file_too_large")),
        (("PUT", "/api/v1/nowhere"), None, (404, "endpoint_not_found")),
        (("PUT", NO_SESSION), None, (404, "session_not_found")),
    ],
)
def test_a_body_that_is_not_wanted_is_not_asked_for(door, request_line, token, refusal):
    with door.connect() as wire:
        wire.send(head(door, *request_line, "Content-Length: 90000000", EXPECT, token=token))
        status, headers, problem = wire.whole_answer()
        assert (status, problem["code"]) == refusal
        assert headers["connection"] == "close"  # nobody knows whether the body comes
        assert wire.is_closed_by_the_server()


def test_a_small_body_that_is_not_wanted_is_not_asked_for_either(door):
    with door.connect() as wire:
        wire.send(head(door, "POST", FILES, "Content-Length: 10", EXPECT, token=""))
        status, headers, _ = wire.whole_answer()
        assert (status, headers["connection"]) == (401, "close")


def test_an_old_client_is_not_asked(door, session):  # noqa: F811
    """HTTP/1.0 knows no interim answers (RFC 9110, 10.1.1)."""
    text = door.head_of_part(session, 1, f"Content-Length: {len(PART)}", EXPECT)
    with door.connect() as wire:
        wire.send(text.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        wire.send(PART)
        assert wire.answer()[0] == 200


# --- Clients that send on -------------------------------------------------------------------------


def test_who_sends_on_for_long_gets_the_answer_all_the_same(door):
    """As Java's client does: it reads no answer before everything is sent."""
    with door.connect() as wire:
        size = 4_000_000
        wire.send(head(door, "POST", FILES, f"Content-Length: {size}", token="wrong"))
        for _ in range(40):
            wire.send(bytes(size // 40))
            time.sleep(0.08)  # 3.2 s in all, after an answer that came at once
        status, problem = wire.answer()
        assert (status, problem["code"]) == (401, "token_invalid")


def test_who_goes_silent_after_a_refusal_is_not_waited_for(door):
    with door.connect() as wire:
        wire.send(head(door, "POST", FILES, "Content-Length: 4000000", token="wrong"))
        wire.send(bytes(1000))
        assert wire.answer()[0] == 401
        started = time.monotonic()
        assert wire.is_closed_by_the_server()
        time.sleep(3)
        with pytest.raises(OSError):
            for _ in range(10):
                wire.send(bytes(1000))
                time.sleep(0.1)
        assert time.monotonic() - started < 10


@pytest.mark.skipif(not shutil.which("java"), reason="needs a Java runtime with its compiler")
@pytest.mark.parametrize("publisher", ["known", "unknown"])
def test_javas_client_gets_early_answers(door, tmp_path, publisher):
    program = tmp_path / "Send.java"
    program.write_text(_JAVA)
    url = f"{door.portal.url}{FILES}?filename=java"
    sent = subprocess.run(
        ["java", str(program), url, publisher],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert sent.stdout.split() == ["401"] * 3, sent.stderr


_JAVA = """
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.*;

public class Send {
  public static void main(String[] arguments) throws Exception {
    byte[] data = new byte[60_000_000];
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    HttpRequest.BodyPublisher body = arguments[1].equals("known")
        ? HttpRequest.BodyPublishers.ofByteArray(data)
        : HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data));
    HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
        .header("Authorization", "Bearer wrong").POST(body).build();
    for (int turn = 0; turn < 3; turn++)
      System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
  }
}
"""


# --- What is no proper request --------------------------------------------------------------------


def test_a_request_without_a_host_is_refused(door):
    with door.connect() as wire:
        wire.send(b"GET /healthz/ HTTP/1.1\r\nX-Host: localhost\r\n\r\n")
        status, headers, problem = wire.whole_answer()
        assert (status, problem["code"]) == (400, "malformed_request")
        assert "Host" in problem["detail"]
        assert headers["connection"] == "close"
        assert wire.is_closed_by_the_server()


def test_an_old_client_needs_no_host(door):
    with door.connect() as wire:
        wire.send(b"GET /healthz/ HTTP/1.0\r\n\r\n")
        assert wire.socket.recv(100).startswith(b"HTTP/1.0 200 ")


def test_a_head_may_be_large_but_not_endless(door):
    for filler, status in [(b"X-A: " + b"a" * 8000 + b"\r\n", 200), (b"X-A: a\r\n" * 5000, 431)]:
        with door.connect() as wire:
            wire.send(b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n" + filler + b"\r\n")
            assert wire.socket.recv(100).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("path", ["/app/login/", "/admin/login/", "/api/v1/files"])
@pytest.mark.parametrize(
    "content", [b"&".join(b"a%d=" % n for n in range(2000)), b"a=" + b"a" * 3_000_000]
)
def test_a_form_with_too_much_in_it_is_the_clients_fault(door, path, content):
    before = len(door.portal.logs())
    answer = httpx.post(
        f"{door.portal.url}{path}",
        content=content,
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"csrftoken={32 * 'a'}",
        },
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code in {400, 401}
    assert "ERROR" not in door.portal.logs()[before:]


# --- Small bodies are waited for without a thread -------------------------------------------------


@pytest.mark.parametrize("pauses", [3, 30])
def test_a_small_body_may_come_in_pieces(door, pauses):
    document = json.dumps({"filename": "a" * 150, "size_bytes": 1}).encode()
    size = -(-len(document) // pauses)
    with Wire(door.portal.port) as wire:
        json_type = "Content-Type: application/json"
        wire.send(head(door, "POST", SESSIONS, json_type, f"Content-Length: {len(document)}"))
        for start in range(0, len(document), size):
            wire.send(document[start : start + size])
            time.sleep(0.02)
        assert wire.answer()[0] == 201


def test_a_small_body_that_is_cut_off_is_told_so(door):
    with door.connect() as wire:
        wire.send(head(door, "POST", f"{FILES}?filename=a", "Content-Length: 100") + b"half")
        wire.socket.shutdown(1)
        status, problem = wire.answer()
    assert (status, problem["code"]) == (400, "body_incomplete")


def test_a_small_body_that_does_not_come_is_refused_as_if_it_had(door):
    with door.connect() as wire:
        wire.send(head(door, "POST", FILES, "Content-Length: 100", token="wrong") + b"half")
        status, problem = wire.answer()
        assert (status, problem["code"]) == (401, "token_invalid")
