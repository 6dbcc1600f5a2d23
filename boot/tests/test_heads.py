"""Whether a request's head is all there, told from its bytes as they come."""

import pytest

from boot.heads import MAX_BYTES, PROMPT_BODY_BYTES, Head

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(*pieces):
    head = Head()
    for piece in pieces:
        head.add(piece)
    return head


def post(*headers, body=b""):
    lines = [b"POST / HTTP/1.1", b"Host: a", *headers, b"", b""]
    return b"\r\n".join(lines) + body


def test_nothing_is_no_beginning():
    assert not head_of().is_begun
    assert not head_of(b"").is_begun


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_it_is_whole_with_its_last_byte_wherever_it_is_cut(cut):
    head = head_of(GET[:cut])
    assert (head.is_begun, head.is_whole) == (True, False)
    head.add(GET[cut:])
    assert (head.is_whole, head.take()) == (True, GET)


def test_byte_by_byte_too():
    head = head_of(*(bytes([byte]) for byte in GET))
    assert head.is_whole


def test_what_follows_it_is_handed_on_and_the_next_one_begins_anew():
    head = head_of(GET + b"more")
    assert head.take() == GET + b"more"
    assert (head.is_begun, head.is_whole) == (False, False)
    head.add(GET)
    assert head.is_whole


def test_one_that_is_too_large_is_handed_on_to_be_refused():
    head = head_of(GET[:-2] + b"X: " + b"a" * MAX_BYTES)
    assert (head.is_whole, head.is_too_large) == (True, True)
    assert not head_of(GET).is_too_large


def test_a_large_body_makes_no_head_too_large():
    assert not head_of(post(b"Content-Length: 99999", body=b"a" * 99_999)).is_too_large


@pytest.mark.parametrize("lines", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n"])
def test_lines_that_end_in_a_newline_alone_are_handed_on_to_be_refused(lines):
    assert head_of(lines).is_whole


def test_a_line_cut_between_its_two_last_characters_is_no_bare_newline():
    head = head_of(b"GET / HTTP/1.1\r", b"\nHost: a\r")
    assert not head.is_whole


@pytest.mark.parametrize(
    ("headers", "body", "missing"),
    [
        ([b"Content-Length: 10"], b"", 10),
        ([b"content-length:10"], b"abc", 7),
        ([b"Content-Length: 10"], b"a" * 10, 0),
        ([b"Content-Length: 10"], b"a" * 12, 0),
        ([b"Content-Length: 0"], b"", 0),
        ([], b"", 0),
        ([b"Content-Length: %d" % PROMPT_BODY_BYTES], b"", PROMPT_BODY_BYTES),
        ([b"Content-Length: %d" % (PROMPT_BODY_BYTES + 1)], b"", 0),
        ([b"Content-Length: 10", b"Expect: 100-continue"], b"", 0),
        ([b"Transfer-Encoding: chunked"], b"", 0),
        ([b"Content-Length: ten"], b"", 0),
        ([b"X-Content-Length: 10"], b"", 0),
    ],
)
def test_only_a_small_body_that_comes_unasked_is_waited_for(headers, body, missing):
    assert head_of(post(*headers, body=body)).missing_body_bytes() == missing


def test_a_length_in_the_body_is_no_header():
    body = b"\r\nContent-Length: 50\r\n"
    assert head_of(post(body=body)).missing_body_bytes() == 0
