"""The head of a request (RFC 9112, 2.1), as far as it has come: whether it is all there."""

import re

MAX_BYTES = 32 * 2**10
PROMPT_BODY_BYTES = 64 * 2**10  # a body so small is waited for together with its head

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,19})[ \t]*\r\n", re.IGNORECASE)
# What sends a body only when it is asked to, or does not say how long it is.
_OPEN_END = re.compile(rb"\r\n(?:expect|transfer-encoding):", re.IGNORECASE)


class Head:
    """Collects bytes until a request can be parsed without waiting for more.

    It does not parse: what is wrong with a head is found by those who do. One that is wrong before
    its end (too large, or with lines that end in LF alone) counts as whole, to be refused at once.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._end = -1  # where the body begins; -1: further on

    @property
    def is_begun(self) -> bool:
        return bool(self._data)

    @property
    def is_whole(self) -> bool:
        return self._end >= 0

    @property
    def is_too_large(self) -> bool:
        return self._end > MAX_BYTES

    def add(self, data: bytes) -> None:
        if not data:
            return
        searched = max(len(self._data) - len(_END) + 1, 0)
        self._data += data
        if self.is_whole:
            return
        found = self._data.find(_END, searched)
        if found >= 0:
            self._end = found + len(_END)
        elif len(self._data) > MAX_BYTES or _has_bare_newline(self._data):
            self._end = len(self._data)

    def missing_body_bytes(self) -> int:
        """How much of a small body is still to come; 0 for every other one."""
        match = _LENGTH.search(self._data, 0, self._end)
        if not match or _OPEN_END.search(self._data, 0, self._end):
            return 0
        length = int(match[1])
        if length > PROMPT_BODY_BYTES:
            return 0
        return max(self._end + length - len(self._data), 0)

    def take(self) -> bytes:
        """All that was collected, which begins with the head; begins anew."""
        data = bytes(self._data)
        self._data.clear()
        self._end = -1
        return data


def _has_bare_newline(data: bytearray) -> bool:
    return data.count(b"\n") != data.count(b"\r\n")
