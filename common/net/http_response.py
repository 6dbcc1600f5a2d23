"""A parser of one HTTP response, no stricter than a delivery needs.

The status line decides the outcome. A later mistake (a wrong length, a malformed or too long
header, a body that is not allowed) is no reason to repeat a request that the receiver has accepted.
It ends the parsing, and the connection is not used again.
"""

import re
from collections.abc import Callable, Iterator

STATUS_LINE_MAX = 8 * 1024  # bytes
HEAD_MAX = 64 * 1024  # bytes of all headers; as many of trailers
CHUNK_LINE_MAX = 1024  # bytes of a line that says how long the next chunk is
INTERIM_MAX = 16  # responses with status 1xx before the final one, which cost time

_STATUS_LINE = re.compile(rb"HTTP/1\.(\d) +([1-9]\d\d)(?: .*)?", re.DOTALL)
_PREFIX = b"HTTP/1."
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class ResponseReader:
    """Takes the bytes of a connection as they arrive, until `is_complete`.

    Then either `status` is set, with the headers and body read so far, or `fault` explains to
    people why there is no response. `is_reusable` tells whether the connection can be used for
    another request. At most `body_max` bytes of the body are kept; the rest is not read.
    """

    def __init__(self, *, body_max: int, follows_another: bool) -> None:
        """`follows_another`: an earlier response came over this connection.

        Its sender may have sent invalid bytes after its end, which can still arrive.
        """
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []  # names in lower case
        self.body = bytearray()
        self.fault = ""
        self.is_complete = False
        self.is_reusable = False
        self.is_untouched = True  # nothing came yet
        self._body_max = body_max
        self._may_have_leftovers = follows_another
        self._had_leftovers = False
        self._unread = bytearray()
        self._step: Callable[[], bool] = self._read_status_line
        self._is_http_1_0 = False
        self._interim = 0
        self._line_bytes = 0  # of the headers or trailers so far
        self._left = 0  # bytes of the body, or of the chunk

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        self.is_untouched = False
        self._unread += data
        # Each step tells whether another may follow; if not, it wants more bytes.
        while not self.is_complete and self._step():
            pass

    def feed_end(self) -> None:
        """The connection has ended."""
        if self.is_complete:
            return
        if self.status is None:
            self._fail("The receiver closed the connection in the middle of its answer.")
        else:
            self._complete()

    # --- The head ----------------------------------------------------------------------------

    def _read_status_line(self) -> bool:
        self._drop_leftovers()
        line = self._line(STATUS_LINE_MAX)
        if line is None:
            begins_well = _PREFIX.startswith(self._unread[: len(_PREFIX)])
            if len(self._unread) > STATUS_LINE_MAX or not (begins_well or self._may_have_leftovers):
                self._fail(_not_http(self._unread))
            return False
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            return self._drop_line(line)
        self._is_http_1_0 = match[1] == b"0"
        self.status = int(match[2])
        self._line_bytes = 0
        self._step = self._read_header
        return True

    def _drop_leftovers(self) -> None:
        """Skip empty lines at the start, and leftovers of an earlier response."""
        while self._unread[:1] in (b"\r", b"\n"):
            del self._unread[:1]
        if self._may_have_leftovers:
            start = self._unread.find(_PREFIX)
            if start > 0:
                self._had_leftovers = True
                del self._unread[:start]

    def _drop_line(self, line: bytes) -> bool:
        """Skip a line that starts no response, if it may be a leftover of an earlier one."""
        self._had_leftovers = True
        self._line_bytes += len(line)
        if not self._may_have_leftovers or self._line_bytes > HEAD_MAX:
            self._fail(_not_http(line))
        return not self.is_complete

    def _read_header(self) -> bool:
        line = self._head_line()
        if line:
            self._note_header(line)
        elif line is not None:
            self._end_head()
        return line is not None

    def _note_header(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="surrogateescape")
        if text[0] in " \t":  # goes on from the line before (RFC 9112, 5.2)
            if self.headers:
                name, value = self.headers[-1]
                self.headers[-1] = name, f"{value} {text.strip()}"
            return
        name, colon, value = text.partition(":")
        if colon:
            self.headers.append((name.strip().lower(), value.strip()))

    def _end_head(self) -> None:
        assert self.status is not None  # noqa: S101 - the head begins with it
        if self.status == 101:  # the following protocol was not requested
            self._complete()
        elif self.status < 200:
            self._begin_anew()
        else:
            self._begin_body()

    def _begin_anew(self) -> None:
        """Prepare for the next response after an interim one."""
        self._interim += 1
        self.status = None
        self.headers.clear()
        self._step = self._read_status_line
        if self._interim > INTERIM_MAX:
            self._fail(f"The receiver sent more than {INTERIM_MAX} interim answers.")

    # --- The body (RFC 9112, 6.3) -----------------------------------------------------------

    def _begin_body(self) -> None:
        codings = list(self._listed("transfer-encoding"))
        lengths = set(self._listed("content-length"))
        if self.status in (204, 304):
            self._complete(is_whole=not codings and lengths <= {"0"})
        elif codings:
            is_chunked = codings[-1].lower() == "chunked"
            self._step = self._read_chunk_size if is_chunked else self._read_to_end
        elif not lengths:
            self._step = self._read_to_end
        elif len(lengths) == 1 and _LENGTH.fullmatch(length := lengths.pop()):
            self._left = int(length)
            self._step = self._read_to_length
        else:  # its end is unknown
            self._keep(len(self._unread))
            self._complete()

    def _listed(self, name: str) -> Iterator[str]:
        """The members of a list header, from one or several lines."""
        for key, value in self.headers:
            if key == name:
                yield from filter(None, map(str.strip, value.split(",")))

    def _read_to_length(self) -> bool:
        self._left -= self._keep(min(self._left, len(self._unread)))
        if not self._left and not self.is_complete:
            self._complete(is_whole=True)
        return False

    def _read_to_end(self) -> bool:
        self._keep(len(self._unread))
        return False

    def _read_chunk_size(self) -> bool:
        line = self._line(CHUNK_LINE_MAX)
        if line is None:
            if len(self._unread) > CHUNK_LINE_MAX:
                self._complete()
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            self._complete()
            return False
        self._left = int(match[1], 16)
        self._line_bytes = 0
        self._step = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._left -= self._keep(min(self._left, len(self._unread)))
        if self._left:
            return False
        self._step = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        line = self._line(CHUNK_LINE_MAX)
        if line == b"":
            self._step = self._read_chunk_size
            return True
        if line is not None or len(self._unread) > 1:
            self._complete()
        return False

    def _read_trailer(self) -> bool:
        line = self._head_line()
        if line == b"":
            self._complete(is_whole=True)
        return line is not None

    # --- Parts -------------------------------------------------------------------------------

    def _line(self, most: int) -> bytes | None:
        """The next line without its end; None when it is incomplete, or longer than `most`."""
        end = self._unread.find(b"\n", 0, most)
        if end < 0:
            return None
        line = bytes(self._unread[:end]).removesuffix(b"\r")
        del self._unread[: end + 1]
        return line

    def _head_line(self) -> bytes | None:
        """The next header or trailer line. Parsing ends when there are too many bytes."""
        before = len(self._unread)
        line = self._line(HEAD_MAX)
        read = before if line is None else before - len(self._unread)
        if self._line_bytes + read > HEAD_MAX:
            self._complete()
            return None
        if line is not None:
            self._line_bytes += read
        return line

    def _keep(self, count: int) -> int:
        """Move bytes to the body. Parsing ends when the body is longer than `body_max`."""
        self.body += self._unread[:count]
        del self._unread[:count]
        if len(self.body) > self._body_max:
            del self.body[self._body_max :]
            self._complete()
        return count

    def _complete(self, *, is_whole: bool = False) -> None:
        self.is_complete = True
        self.is_reusable = (
            is_whole and not self._unread and not self._had_leftovers and self._stays_open()
        )

    def _stays_open(self) -> bool:
        """Whether the receiver keeps the connection open (RFC 9112, 9.3)."""
        options = {option.lower() for option in self._listed("connection")}
        if self._is_http_1_0:
            return "keep-alive" in options
        return "close" not in options

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self.is_complete = True


def _not_http(received: bytes | bytearray) -> str:
    beginning = bytes(received[:60]).decode("ascii", errors="backslashreplace")
    return f"The answer is not valid HTTP: it begins with {beginning!r}."
