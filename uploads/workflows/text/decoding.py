"""Detects the encoding of text files and decodes them."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import BinaryIO

from charset_normalizer import from_bytes

# Bytes that are used for detection; later bytes that do not decode become U+FFFD.
_SAMPLE_BYTES = 1024 * 1024
_GUESS_BYTES = 32 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it starts with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_USUAL = "cp1252"
_SHIFT = b"\x1b$"  # of ISO-2022, which uses ASCII bytes only


def encoding_of(source: BinaryIO, *, declares_charset: bool = False) -> str:
    """The name of the source's codec. Rewinds the source to its beginning."""
    source.seek(0)
    sample = source.read(_SAMPLE_BYTES)
    source.seek(0)
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return name
    if _SHIFT not in sample and _is_utf8(sample, whole=len(sample) < _SAMPLE_BYTES):
        return "utf-8"
    declared = _META_CHARSET.search(sample, 0, 4096) if declares_charset else None
    if declared and (known := _known(declared[1].decode("ascii"))):
        return known
    return _guessed(_telling(sample))


@contextmanager
def decoded(source: BinaryIO, *, declares_charset: bool = False) -> Iterator[TextIOWrapper]:
    """The source as text, from its beginning. The source stays open."""
    encoding = encoding_of(source, declares_charset=declares_charset)
    text = TextIOWrapper(source, encoding=encoding, errors="replace", newline="")
    try:
        yield text
    finally:
        text.detach()


def _is_utf8(sample: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _telling(sample: bytes) -> bytes:
    """A part of the sample with bytes beyond ASCII: only these distinguish encodings."""
    try:
        sample.decode("ascii")
    except UnicodeDecodeError as exc:
        start = max(0, exc.start - _GUESS_BYTES // 2)
        return sample[start : start + _GUESS_BYTES]
    return sample[:_GUESS_BYTES]


def _guessed(sample: bytes) -> str:
    """The most likely encoding; among equals, the most common one."""
    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return _USUAL
    for match in matches:
        fits = match.chaos <= best.chaos and match.coherence >= best.coherence
        if fits and _USUAL in match.could_be_from_charset:
            return _USUAL
    return best.encoding


def _known(name: str) -> str | None:
    """The codec with this name, or None if it does not decode bytes to text."""
    try:
        codec = codecs.lookup(name)
    except LookupError:
        return None
    return codec.name if codec._is_text_encoding else None
