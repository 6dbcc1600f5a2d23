"""Outlook messages: a property is a stream, an attachment a folder ([MS-OXMSG])."""

from collections.abc import Iterator
from struct import unpack_from
from typing import BinaryIO

from olefile import OleFileIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.mapi import (
    DATA,
    LONG_NAME,
    MEDIA_TYPE,
    SHORT_NAME,
    Attached,
    Letter,
    Value,
    pieces_of,
)

_LABEL = "an Outlook message"
_STREAM = "__substg1.0_"  # and number and type of the property, in hex
_FIXED = "__properties_version1.0"
_ATTACHMENT = "__attach_version1.0_"
_UNICODE, _OBJECT, _INT, _TIME = 0x001F, 0x000D, 0x0003, 0x0040
_DEPTH_MAX = 8
_HEADS = {True: 32, False: 8}  # bytes before the properties of the top, and of others


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "An Outlook message")
    with reading(_LABEL, OSError), OleFileIO(source) as ole:
        yield from pieces_of(_letter(ole, []), job)


def _letter(ole: OleFileIO, folder: list[str]) -> Letter:
    letter = Letter(_values(ole, folder))
    if len(folder) < _DEPTH_MAX * 2:
        for name in _children(ole, folder):
            if name.startswith(_ATTACHMENT):
                letter.attached.append(_attached(ole, [*folder, name]))
    return letter


def _attached(ole: OleFileIO, folder: list[str]) -> Attached:
    inside = [*folder, f"{_STREAM}{DATA:04X}{_OBJECT:04X}"]
    part = Letter(_values(ole, folder))
    is_message = ole.exists([*inside, _FIXED])
    message = _letter(ole, inside) if is_message else None
    return Attached(
        name=part.text(LONG_NAME) or part.text(SHORT_NAME),
        media_type="message/rfc822" if is_message else part.text(MEDIA_TYPE),
        content=part.content(DATA),
        message=message,
    )


def _values(ole: OleFileIO, folder: list[str]) -> dict[int, Value]:
    values: dict[int, Value] = dict(_fixed_values(ole, folder))
    for name in _children(ole, folder):
        if not name.startswith(_STREAM) or ole.get_type([*folder, name]) != 2:
            continue
        tag = name.removeprefix(_STREAM)
        try:
            number, kind = int(tag[:4], 16), int(tag[4:8], 16)
        except ValueError:
            continue
        with ole.openstream([*folder, name]) as stream:
            content = stream.read()
        values[number] = content.decode("utf-16-le", "replace") if kind == _UNICODE else content
    return values


def _fixed_values(ole: OleFileIO, folder: list[str]) -> Iterator[tuple[int, int]]:
    """Numbers and times, which have no streams of their own (section 2.4)."""
    path = [*folder, _FIXED]
    if not ole.exists(path):
        return
    with ole.openstream(path) as stream:
        content = stream.read()
    is_inner = bool(folder) and not folder[-1].startswith(_ATTACHMENT)
    start = 24 if is_inner else _HEADS[not folder]
    for at in range(start, len(content) - 15, 16):
        kind, number, _flags, value = unpack_from("<HHIQ", content, at)
        if kind in {_INT, _TIME}:
            yield number, value & 0xFFFFFFFF if kind == _INT else value


def _children(ole: OleFileIO, folder: list[str]) -> list[str]:
    """Names of what is directly in a folder."""
    depth = len(folder)
    paths = ole.listdir(streams=True, storages=True)
    return [path[-1] for path in paths if len(path) == depth + 1 and path[:depth] == folder]
