"""Bytes to text where nobody says in which encoding."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import BinaryIO

from charset_normalizer import from_bytes

# As much is looked at before reading; what does not decode further on becomes U+FFFD.
_SAMPLE_BYTES = 1024 * 1024
_GUESS_BYTES = 32 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_USUAL = "cp1252"
_SHIFT = b"\x1b$"  # of ISO-2022, whose bytes are all ASCII's


def encoding_of(source: BinaryIO, *, declares_charset: bool = False) -> str:
    """A codec that reads the source, to be left at its beginning."""
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
    """The source as text, from its beginning; it stays open."""
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
    """A part of the sample with characters beyond ASCII: only they tell encodings apart."""
    try:
        sample.decode("ascii")
    except UnicodeDecodeError as exc:
        start = max(0, exc.start - _GUESS_BYTES // 2)
        return sample[start : start + _GUESS_BYTES]
    return sample[:_GUESS_BYTES]


def _guessed(sample: bytes) -> str:
    """The likeliest encoding; of those that fit as well, the one that most such files are in."""
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
    """The codec of a name, if it makes text of bytes."""
    try:
        codec = codecs.lookup(name)
    except LookupError:
        return None
    return codec.name if codec._is_text_encoding else None
