"""Outlook messages: a property is a stream, an attachment a folder ([MS-OXMSG])."""

import re
from collections import defaultdict
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
_HEAD, _HEAD_INSIDE, _HEAD_OF_ATTACHMENT = 32, 24, 8  # bytes before the fixed properties
_TAG = re.compile(r"__substg1\.0_([0-9A-F]{4})([0-9A-F]{4})", re.IGNORECASE)
Folder = tuple[str, ...]


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "An Outlook message")
    with reading(_LABEL, OSError), OleFileIO(source) as ole:
        yield from pieces_of(_Message(ole).letter(()), job)


class _Message:
    """A container, read folder by folder."""

    def __init__(self, ole: OleFileIO) -> None:
        self._ole = ole
        self._streams: dict[Folder, list[str]] = defaultdict(list)
        self._folders: dict[Folder, list[str]] = defaultdict(list)
        for *folder, name in ole.listdir(streams=True, storages=False):
            self._streams[tuple(folder)].append(name)
        for *folder, name in ole.listdir(streams=False, storages=True):
            self._folders[tuple(folder)].append(name)

    def letter(self, folder: Folder) -> Letter:
        letter = Letter(self._values(folder))
        if len(folder) < _DEPTH_MAX * 2:
            letter.attached = [
                self._attached((*folder, name))
                for name in self._folders[folder]
                if name.startswith(_ATTACHMENT)
            ]
        return letter

    def _attached(self, folder: Folder) -> Attached:
        inside = f"{_STREAM}{DATA:04X}{_OBJECT:04X}"
        part = Letter(self._values(folder))
        is_message = _FIXED in self._streams[(*folder, inside)]
        return Attached(
            name=part.text(LONG_NAME) or part.text(SHORT_NAME),
            media_type="message/rfc822" if is_message else part.text(MEDIA_TYPE),
            content=part.content(DATA),
            message=self.letter((*folder, inside)) if is_message else None,
        )

    def _values(self, folder: Folder) -> dict[int, Value]:
        values: dict[int, Value] = {}
        for name in self._streams[folder]:
            if name == _FIXED:
                values.update(_fixed_values(self._read((*folder, name)), folder))
            elif tag := _TAG.fullmatch(name):
                content = self._read((*folder, name))
                is_text = int(tag[2], 16) == _UNICODE
                values[int(tag[1], 16)] = (
                    content.decode("utf-16-le", "replace") if is_text else content
                )
        return values

    def _read(self, path: Folder) -> bytes:
        with self._ole.openstream(list(path)) as stream:
            return bytes(stream.read())


def _fixed_values(content: bytes, folder: Folder) -> Iterator[tuple[int, int]]:
    """Numbers and times, which have no streams of their own (section 2.4)."""
    is_attachment = bool(folder) and folder[-1].startswith(_ATTACHMENT)
    start = _HEAD_OF_ATTACHMENT if is_attachment else _HEAD_INSIDE if folder else _HEAD
    for at in range(start, len(content) - 15, 16):
        kind, number, _flags, value = unpack_from("<HHIQ", content, at)
        if kind in {_INT, _TIME}:
            yield number, value & 0xFFFFFFFF if kind == _INT else value
