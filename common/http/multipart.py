"""Multipart forms (RFC 7578), read strictly and as a stream.

A part ends with a delimiter line (RFC 2046, 5.1.1): CRLF, `--boundary`, `--` after the last part,
optional blanks, CRLF. The same bytes inside a line belong to the part.

Nothing is skipped. A lenient parser silently drops what it cannot read (a header, the file after
it, bytes before the first or after the last part); here that is an error.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import unquote_to_bytes

from common.errors import InvalidInput
from common.http.headers import check_content_encoding

_CRLF = b"\r\n"
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_MAX_PADDING = 64  # blanks after a boundary; no client is known to send any
_MAX_BLANK_BYTES = 1024  # line ends before the first boundary and after the last
_MAX_HEAD_BYTES = 8 * 1024  # the headers of one part
_MAX_PARTS = 100
_PLAIN_ENCODINGS = {"", "binary", "8bit", "7bit"}

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  (RFC 9110, 5.6.2)
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\x00\r\n]*)")
_FORM_DATA = re.compile(r"form-data[ \t]*(?=;|$)", re.IGNORECASE)
_PARAMETER = rf"[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|{{quoted}})"
# Browsers write a quotation mark as %22 and a backslash as itself (HTML, "Multipart form data");
# other clients write \" and \\ (RFC 9110, 5.6.4).
_AS_BROWSERS = _PARAMETER.format(quoted=r'"([^"]*)"')
_AS_OTHERS = _PARAMETER.format(quoted=r'"((?:[^"\\]|\\.)*)"')
_BROWSER_ESCAPE = re.compile("%(22|0D|0A)", re.IGNORECASE)
_OTHER_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Part:
    """One part. Read its `blocks` before the next part is requested.

    `filename` is None for a field; for a file it is the client's, including folders.
    """

    name: str
    filename: str | None
    content_type: str
    blocks: Iterator[bytes] = field(repr=False)


def read_parts(blocks: Iterable[bytes | memoryview], *, boundary: bytes) -> Iterator[Part]:
    """The parts of a form in order, read from the body as it arrives.

    Memory holds little more than one block, whatever the size of the parts. Raises InvalidInput
    `form_invalid`, possibly after the last part, or UnsupportedType `encoding_unsupported`.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise invalid_form("its boundary is missing, or not one that RFC 2046 allows")
    body = _Body(blocks, boundary=boundary)
    if not _is_blank(body.until_delimiter()):
        raise invalid_form("it does not begin with its boundary")
    number = 0
    while not body.is_over:
        number += 1
        if number > _MAX_PARTS:
            raise invalid_form(f"it has more than {_MAX_PARTS} parts")
        headers = _headers(body.head(), number=number)
        part = _part(headers, number=number, blocks=body.until_delimiter())
        yield part
        for _unread in part.blocks:
            pass
    if not _is_blank(body.rest()):
        raise invalid_form("it goes on after its last boundary")


def _is_blank(pieces: Iterator[bytes]) -> bool:
    size = 0
    for piece in pieces:
        size += len(piece)
        if piece.strip() or size > _MAX_BLANK_BYTES:
            return False
    return True


def invalid_form(reason: str) -> InvalidInput:
    return InvalidInput("form_invalid", f"The form cannot be read: {reason}.")


class _Body:
    """The body, with a line end added before and after it, so that all delimiters look alike.

    The buffer starts with the line end before the next content, which may belong to a delimiter.
    """

    def __init__(self, blocks: Iterable[bytes | memoryview], *, boundary: bytes) -> None:
        self.is_over = False  # the last delimiter was read
        self._blocks = chain([_CRLF], blocks, [_CRLF])
        self._buffer = bytearray()
        delimiter = _CRLF + b"--" + boundary
        self._delimiter = re.compile(
            re.escape(delimiter) + rb"(--)?[ \t]{0,%d}(?=\r\n)" % _MAX_PADDING
        )
        self._longest = len(delimiter) + len(b"--") + _MAX_PADDING + len(_CRLF)

    def until_delimiter(self) -> Iterator[bytes]:
        """The content before the next delimiter. The delimiter is consumed too."""
        begin = len(_CRLF)
        while not (match := self._delimiter.search(self._buffer)):
            certain = len(self._buffer) - self._longest + 1  # a delimiter may begin further on
            if certain > begin:
                yield self._bytes(begin, certain)
                del self._buffer[:certain]
                begin = 0
            self._read_on()
        start, end = match.span()
        if start > begin:
            yield self._bytes(begin, start)
        del self._buffer[:end]
        self.is_over = match[1] is not None

    def head(self) -> bytes:
        """The headers of a part, without the empty line after them."""
        while (end := self._buffer.find(_CRLF * 2)) < 0 and len(self._buffer) <= _MAX_HEAD_BYTES:
            self._read_on()
        if not 0 <= end <= _MAX_HEAD_BYTES:
            raise invalid_form(f"a part has more than {_MAX_HEAD_BYTES} bytes of headers")
        head = self._bytes(len(_CRLF), end)
        del self._buffer[: end + len(_CRLF)]
        return head

    def rest(self) -> Iterator[bytes]:
        yield bytes(self._buffer)
        yield from map(bytes, self._blocks)

    def _read_on(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            raise invalid_form("it ends without its last boundary")
        self._buffer += block

    def _bytes(self, start: int, end: int) -> bytes:
        with memoryview(self._buffer) as buffer:
            return bytes(buffer[start:end])


def _part(headers: dict[str, str], *, number: int, blocks: Iterator[bytes]) -> Part:
    parameters = _parameters(headers.get("content-disposition", ""), number=number)
    if "name" not in parameters:
        raise invalid_form(f"part {number} has no name")
    if headers.get("content-transfer-encoding", "").lower() not in _PLAIN_ENCODINGS:
        raise invalid_form(f"part {number} has a Content-Transfer-Encoding; send plain bytes")
    check_content_encoding(headers.get("content-encoding"))
    filename = parameters.get("filename")
    if "filename*" in parameters:
        filename = _extended_value(parameters["filename*"], number=number)
    return Part(
        name=parameters["name"],
        filename=filename,
        content_type=headers.get("content-type", ""),
        blocks=blocks,
    )


def _headers(head: bytes, *, number: int) -> dict[str, str]:
    """A part's headers, by lower-case name."""
    try:
        lines = head.decode().split("\r\n") if head else []
    except UnicodeDecodeError as exc:
        raise invalid_form(f"the headers of part {number} are not UTF-8") from exc
    headers: dict[str, str] = {}
    for line in lines:
        if line.startswith((" ", "\t")):
            raise invalid_form(f"part {number} has a header that goes on in a second line")
        match = _HEADER.fullmatch(line)
        if not match:
            raise invalid_form(f"part {number} has a line that is not a header")
        name = match[1].lower()
        if name in headers:
            raise invalid_form(f"part {number} has the header {name} twice")
        headers[name] = match[2].rstrip(" \t")
    return headers


def _parameters(disposition: str, *, number: int) -> dict[str, str]:
    """The unescaped parameters of a part's Content-Disposition, by lower-case name."""
    kind = _FORM_DATA.match(disposition)
    if not kind:
        raise invalid_form(f"part {number} has no Content-Disposition that says form-data")
    text = disposition[kind.end() :]
    if re.fullmatch(rf"(?:{_AS_BROWSERS})*[ \t]*;?", text):
        found = [
            (name, token or _BROWSER_ESCAPE.sub(_unescaped, quoted))
            for name, token, quoted in re.findall(_AS_BROWSERS, text)
        ]
    elif re.fullmatch(rf"(?:{_AS_OTHERS})*[ \t]*;?", text):
        found = [
            (name, token or _OTHER_ESCAPE.sub(r"\1", quoted))
            for name, token, quoted in re.findall(_AS_OTHERS, text)
        ]
    else:
        raise invalid_form(f"the Content-Disposition of part {number} is not valid")
    parameters = {name.lower(): value for name, value in found}
    if len(parameters) < len(found):
        raise invalid_form(f"the Content-Disposition of part {number} says something twice")
    return parameters


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _extended_value(value: str, *, number: int) -> str:
    """Decodes `filename*=UTF-8''…` (RFC 8187). Browsers never send it, some clients do."""
    charset, _, rest = value.partition("'")
    _, separator, encoded = rest.partition("'")
    if not separator or charset.lower() != "utf-8":
        raise invalid_form(f"filename* of part {number} does not begin with UTF-8''")
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError as exc:
        raise invalid_form(f"filename* of part {number} is not UTF-8") from exc
