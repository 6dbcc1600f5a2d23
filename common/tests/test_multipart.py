"""Multipart forms are read as they were sent, however the body was cut on its way."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import DooritoError, InvalidInput, UnsupportedType
from common.http.multipart import read_parts

BOUNDARY = b"MyBoundary"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"'

type Parts = list[tuple[str, str | None, bytes]]


def read(*blocks: bytes) -> Parts:
    """The parts of a form whose body comes in these blocks."""
    return [
        (part.name, part.filename, b"".join(part.blocks))
        for part in read_parts(blocks, boundary=BOUNDARY)
    ]


def outcome(*blocks: bytes) -> Parts | str:
    """The parts, or the reason why there are none."""
    try:
        return read(*blocks)
    except DooritoError as error:
        return error.message


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """A form of parts, each a head (lines with CRLF between them) and its content."""
    body = b"".join(b"--MyBoundary\r\n%b\r\n\r\n%b\r\n" % part for part in parts)
    return body + b"--MyBoundary--\r\n"


def cut(body: bytes, places: list[int]) -> Iterator[bytes]:
    for start, end in pairwise([0, *sorted(places), len(body)]):
        yield body[start:end]


def places(body: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(body)), max_size=10)


# --- What is sent -----------------------------------------------------------------------------

# Pieces from which content is made that looks like the end of its part, and from which whole
# bodies are made that are almost forms.
LOOKALIKES = [
    *(b"\r\n", b"\r", b"\n", b"-", b"--", b" ", b"\t", b"--MyBoundary", b"--MyBoundary--"),
    *(b"MyBoundary", b"\r\n--MyBoundary", b"\r\n--MyBoundar", b"x", b"\x00", b"\xff"),
]
HEADERS = [
    FILE,
    b'Content-Disposition: form-data; name="sha256"',
    b"Content-Type: text/plain",
    b"content-length:3",
    b"no header",
]
content = st.lists(st.sampled_from(LOOKALIKES) | st.binary(max_size=5), max_size=12).map(b"".join)
almost_forms = st.lists(
    st.sampled_from([*LOOKALIKES, *HEADERS, form((FILE, b"data"))])
    | st.sampled_from(HEADERS).map(lambda header: b"\r\n--MyBoundary\r\n%b\r\n\r\n" % header),
    max_size=12,
).map(b"".join)

_DELIMITER = re.compile(rb"--MyBoundary(--)?[ \t]{0,64}")


def has_delimiter(data: bytes) -> bool:
    return any(_DELIMITER.fullmatch(line) for line in data.split(b"\r\n"))


def contents_by_lines(body: bytes) -> list[bytes] | None:
    """What the parts of a whole body hold, told by its lines; None if it is not a form."""
    contents: list[bytes] = []
    lines = body.split(b"\r\n")
    numbers = [number for number, line in enumerate(lines) if _DELIMITER.fullmatch(line)]
    for here, following in pairwise(numbers):
        if lines[here].rstrip().endswith(b"--"):
            return None
        part = lines[here + 1 : following]
        contents.append(b"\r\n".join(part[part.index(b"") + 1 :]))
    return contents if numbers and lines[numbers[-1]].rstrip().endswith(b"--") else None


@given(almost_forms.flatmap(lambda body: st.tuples(st.just(body), places(body))))
@example((form((FILE, b"data")), []))
def test_how_a_body_is_cut_changes_nothing(case: tuple[bytes, list[int]]):
    body, where = case
    assert outcome(*cut(body, where)) == outcome(body)


@given(almost_forms)
@example(form((FILE, b"data")))
def test_what_is_read_of_a_body_is_what_its_lines_say(body: bytes):
    parts = outcome(body)
    if not isinstance(parts, str):
        assert [data for _, _, data in parts] == contents_by_lines(body)


@given(st.lists(content, max_size=4), st.data())
def test_content_comes_back_whole_whatever_is_in_it(contents: list[bytes], data: st.DataObject):
    contents = [
        each for each in contents if not any(map(_DELIMITER.fullmatch, each.split(b"\r\n")))
    ]
    body = form(*((FILE, each) for each in contents))
    parts = read(*cut(body, data.draw(places(body))))
    assert parts == [("file", "a.txt", each) for each in contents]


@pytest.mark.parametrize(
    "text",
    [
        b"* sending --MyBoundary\r\n\r\n" + b"z" * 60_000,
        b"--MyBoundar\r\n--MyBoundary2\r\n--MyBoundary--2\r\n --MyBoundary\r\n--MyBoundary- \r\n",
        b"a\n--MyBoundary\nb\r--MyBoundary\rc\r\n--MyBoundary\nd",
        b"\r\n",
        b"\r\n\r\n\r",
    ],
)
def test_only_a_line_of_its_own_ends_a_part(text: bytes):
    assert read(form((FILE, text))) == [("file", "a.txt", text)]


def test_blanks_after_a_boundary_are_padding():
    body = form((FILE, b"one"), (FILE, b"two")).replace(b"Boundary\r\n", b"Boundary \t\r\n")
    body = body.replace(b"Boundary--", b"Boundary--  ")
    assert read(body) == [("file", "a.txt", b"one"), ("file", "a.txt", b"two")]


@pytest.mark.parametrize(
    "body", [b"--MyBoundary--", b"\r\n--MyBoundary--\r\n", b"--MyBoundary--\r\n"]
)
def test_a_form_may_have_no_parts_at_all(body: bytes):
    assert read(body) == []


def test_the_last_line_end_may_be_missing():
    assert read(form((FILE, b"data")).removesuffix(b"\r\n")) == [("file", "a.txt", b"data")]


def test_a_part_that_ends_with_its_headers_is_empty():
    body = b"--MyBoundary\r\n" + FILE + b"\r\n\r\n--MyBoundary--\r\n"
    assert read(body) == [("file", "a.txt", b"")]


def test_memory_holds_no_more_than_a_block():
    def body() -> Iterator[bytes]:
        yield b"--MyBoundary\r\n" + FILE + b"\r\n\r\n"
        yield from (bytes(2**16) for _ in range(256))
        yield b"\r\n--MyBoundary--"

    (part,) = read_parts(body(), boundary=BOUNDARY)
    del part
    for part in read_parts(body(), boundary=BOUNDARY):
        sizes = [len(block) for block in part.blocks]
        assert max(sizes) <= 2**16 + 256
        assert sum(sizes) == 256 * 2**16


# --- What cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "ends without"),
        (b"--MyBoundary", "ends without"),
        (b"no form", "ends without"),
        (b"text\r\n" + form((FILE, b"data")), "does not begin"),
        (b"--MyBoundary\nX: y\r\n" + form((FILE, b"data")), "does not begin"),
        (form((FILE, b"data")).removesuffix(b"--\r\n"), "ends without"),
        (b"\r\n" * 1000 + form((FILE, b"data")), "does not begin"),
        (form((FILE, b"data")) + b"\r\n" * 1000, "goes on"),
        (form((FILE, b"data")) + b"more", "goes on"),
        (form((FILE, b"data")) + form((FILE, b"second")), "goes on"),
        (b"--MyBoundary\r\n" * 2 + FILE + b"\r\n\r\n\r\n--MyBoundary--", "not a header"),
        (form(*[(FILE, b"")] * 101), "more than 100 parts"),
    ],
)
def test_what_is_no_form_is_refused_with_a_reason(body: bytes, reason: str):
    with pytest.raises(InvalidInput, match=reason) as refused:
        read(body)
    assert refused.value.code == "form_invalid"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "no Content-Disposition"),
        (b"Content-Type: text/plain", "no Content-Disposition"),
        (b'Content-Disposition: attachment; name="file"', "no Content-Disposition"),
        (b"Content-Disposition: form-data", "no name"),
        (b'Content-Disposition: form-data; filename="a"', "no name"),
        (b'Content-Disposition: form-data; name="file"; filename="\xff"', "not UTF-8"),
        (b"Content-Disposition: form-data; name=file; filename*=UTF-8''%FF", "not UTF-8"),
        (b"Content-Disposition: form-data; name=file; filename*=latin1''a", "UTF-8''"),
        (b"Content-Disposition: form-data; name=file; filename*=a", "UTF-8''"),
        (b'Content-Disposition: form-data;\r\n name="sha256"', "second line"),
        (b'Content-Disposition form-data; name="file"', "not a header"),
        (b'Content-Disposition : form-data; name="file"', "not a header"),
        (FILE + b"\rX: y", "not a header"),
        (FILE + b"\nX: y", "not a header"),
        (FILE + b"\x00", "not a header"),
        (FILE + b"\r\n" + FILE, "twice"),
        (FILE + b'; filename="b"', "twice"),
        (b'Content-Disposition: form-data; name="a"b"', "not valid"),
        (b'Content-Disposition: form-data; name="a', "not valid"),
        (b"Content-Disposition: form-data; name=a b", "not valid"),
        (FILE + b"\r\nContent-Transfer-Encoding: base64", "plain bytes"),
        (FILE + b"\r\nX: " + b"y" * 9000, "bytes of headers"),
        (FILE + b"\r\nX: y" * 2000, "bytes of headers"),
    ],
)
def test_a_part_that_cannot_be_read_is_refused_and_not_skipped(head: bytes, reason: str):
    for body in (form((head, b"data")), form((FILE, b"first"), (head, b"data"))):
        with pytest.raises(InvalidInput, match=reason) as refused:
            read(body)
        assert refused.value.code == "form_invalid"


def test_compressed_content_is_refused():
    with pytest.raises(UnsupportedType) as refused:
        read(form((FILE + b"\r\nContent-Encoding: gzip", b"data")))
    assert refused.value.code == "encoding_unsupported"
    assert read(form((FILE + b"\r\nContent-Encoding: identity", b"data")))


@pytest.mark.parametrize("boundary", [b"", b"a\r\nb", b"x" * 71, b"ends with blank ", "é".encode()])
def test_a_boundary_that_is_none_is_refused(boundary: bytes):
    with pytest.raises(InvalidInput, match="boundary"):
        list(read_parts([b"--" + boundary + b"--"], boundary=boundary))


# --- Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('"a.txt"', "a.txt"),
        ("a.txt", "a.txt"),
        ('""', ""),
        ('"słońce.txt"', "słońce.txt"),
        ('"a;b=c.txt"', "a;b=c.txt"),
        # as browsers and new versions of curl and urllib3 do
        ('"say %22hi%22.txt"', 'say "hi".txt'),
        ('"two%0D%0Alines"', "two\r\nlines"),
        ('"100%25 a%20b.txt"', "100%25 a%20b.txt"),
        ('"back\\slash.txt"', "back\\slash.txt"),
        ('"ends with \\"', "ends with \\"),
        ('"C:\\new\\a.txt"', "C:\\new\\a.txt"),
        # as others do
        ('"say \\"hi\\".txt"', 'say "hi".txt'),
        ('"\\"\\\\.txt"', '"\\.txt'),
    ],
)
def test_a_name_is_read_as_its_sender_wrote_it(sent: str, name: str):
    head = f'Content-Disposition: form-data; name="file"; filename={sent}'.encode()
    assert read(form((head, b"data"))) == [("file", name, b"data")]


def test_the_order_and_case_of_parameters_and_blanks_between_them_mean_nothing():
    head = b'content-disposition:form-DATA ;FileName="a.txt";  name = "file" ;'
    assert read(form((head, b"data"))) == [("file", "a.txt", b"data")]


def test_an_extended_file_name_counts_more_than_the_plain_one():
    head = FILE + b"; filename*=utf-8''s%C5%82o%C5%84ce%20100%25.txt"
    assert read(form((head, b"data"))) == [("file", "słońce 100%.txt", b"data")]


def test_a_field_has_no_file_name():
    assert read(form((b'Content-Disposition: form-data; name="a%22b"', b"1"))) == [
        ('a"b', None, b"1")
    ]
