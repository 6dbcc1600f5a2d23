"""`winmail.dat`: a message and its attachments in one stream ([MS-OXTNEF])."""

from collections.abc import Iterator
from struct import unpack_from
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.kinds import TNEF_HEAD
from uploads.workflows.text.mapi import (
    BODY,
    DATA,
    LONG_NAME,
    MEDIA_TYPE,
    SUBJECT,
    Attached,
    Letter,
    Value,
    pieces_of,
)

_LABEL = "a winmail.dat"
_SUBJECT, _BODY, _PROPERTIES = 0x8004, 0x800C, 0x9003
_BEGIN, _TITLE, _DATA, _MORE = 0x9002, 0x8010, 0x800F, 0x9005  # of an attachment
# Bytes of values of fixed length; others tell theirs (section 2.1.3.4).
_SIZES = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_ANSI, _UNICODE, _OBJECT, _BINARY, _MANY = 0x1E, 0x1F, 0xD, 0x102, 0x1000
_NUMBERS = {3: "<I", 0x40: "<Q"}
_NAMED = 0x8000  # properties from here on have names
_COUNT_MAX = 100_000


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "A winmail.dat")
    with reading(_LABEL):
        yield from pieces_of(_letter(source.read()), job)


def _letter(content: bytes) -> Letter:
    letter = Letter()
    for number, data in _attributes(content):
        if number == _BEGIN:
            letter.attached.append(Attached("", "", b""))
        elif number == _PROPERTIES:
            letter.values |= _properties(data)
        elif number in {_SUBJECT, _BODY}:
            letter.values.setdefault(SUBJECT if number == _SUBJECT else BODY, data)
        elif letter.attached:
            _add(letter.attached[-1], number, data)
    return letter


def _add(part: Attached, number: int, data: bytes) -> None:
    if number == _TITLE:
        part.name = part.name or Letter({LONG_NAME: data}).text(LONG_NAME)
    elif number == _DATA:
        part.content = data
    elif number == _MORE:
        more = Letter(_properties(data))
        part.name = more.text(LONG_NAME) or part.name
        part.media_type = more.text(MEDIA_TYPE)
        inner = more.content(DATA)
        if inner[16:20] == TNEF_HEAD:  # behind the id of its interface
            part.message = _letter(inner[16:])


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Raises struct.error where the stream was cut off."""
    at = 6
    while at < len(content):
        _level, number, _kind, size = unpack_from("<BHHI", content, at)
        at += 9
        yield number, content[at : at + size]
        at += size + 2  # and a check sum


def _properties(data: bytes) -> dict[int, Value]:
    values: dict[int, Value] = {}
    (count,) = unpack_from("<I", data)
    at = 4
    for _ in range(min(count, _COUNT_MAX)):
        kind, number = unpack_from("<HH", data, at)
        at += 4
        if number >= _NAMED:
            at = _after_name(data, at)
        found, at = _read(data, at, kind)
        if found is not None:
            values[number] = found
    return values


def _after_name(data: bytes, at: int) -> int:
    """Behind the id of a set, and a number or a name in it."""
    is_text, size = unpack_from("<II", data, at + 16)
    return at + 24 + (_padded(size) if is_text else 0)


def _read(data: bytes, at: int, kind: int) -> tuple[Value | None, int]:
    """The first value of a property, and where the next property begins."""
    single = kind & ~_MANY
    if single in _SIZES:
        count = 1
        if kind & _MANY:
            (count,) = unpack_from("<I", data, at)
            at += 4
        found = unpack_from(_NUMBERS[single], data, at)[0] if single in _NUMBERS else None
        return found, at + count * _SIZES[single]
    if single not in {_ANSI, _UNICODE, _OBJECT, _BINARY}:
        raise ValueError("a property is of a kind that is not known")
    (count,) = unpack_from("<I", data, at)
    at += 4
    values: list[bytes] = []
    for _ in range(min(count, _COUNT_MAX)):
        (size,) = unpack_from("<I", data, at)
        values.append(data[at + 4 : at + 4 + size])
        at += 4 + _padded(size)
    first = values[0] if values else None
    is_text = first is not None and single == _UNICODE
    return (first.decode("utf-16-le", "replace") if is_text and first else first), at


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4
