"""Detects the encoding of text files and decodes them."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
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
_PAGE_HEAD_BYTES = 4096
_LANGUAGE = re.compile(rb"<html[^>]{0,200}?\blang\s*=\s*[\"']?([a-z]{2})\b", re.IGNORECASE)
# What pages of a language were written in before UTF-8; any bytes are some text in each.
_OF_LANGUAGES = {
    "ar": ("cp1256",),
    "fa": ("cp1256",),
    "el": ("cp1253",),
    "he": ("cp1255",),
    "ja": ("cp932", "euc_jp"),
    "ko": ("cp949",),
    "ru": ("cp1251",),
    "th": ("cp874",),
    "tr": ("cp1254",),
    "uk": ("cp1251",),
    "zh": ("gb18030", "big5hkscs"),
}
_SOUND_FOR_EACH_WRONG = 10  # characters beyond ASCII
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
    is_whole = len(sample) < _SAMPLE_BYTES
    if _SHIFT not in sample and _decodes(sample, "utf-8", is_whole=is_whole):
        return "utf-8"
    page = sample[:_PAGE_HEAD_BYTES] if declares_charset else b""
    return _told(page, sample, is_whole=is_whole) or _guessed(sample)


def text_of(content: bytes, *, declared: str | None) -> str:
    """The bytes as text: in the declared encoding if they are that, or else as they seem to be."""
    encoding = (
        "utf-8"
        if _SHIFT not in content and _decodes(content, "utf-8", is_whole=True)
        else _believed(declared or "", content, is_whole=True) or encoding_of(BytesIO(content))
    )
    return content.decode(encoding, "replace")


@contextmanager
def decoded(source: BinaryIO, *, declares_charset: bool = False) -> Iterator[TextIOWrapper]:
    """The source as text, from its beginning. The source stays open."""
    encoding = encoding_of(source, declares_charset=declares_charset)
    text = TextIOWrapper(source, encoding=encoding, errors="replace", newline="")
    try:
        yield text
    finally:
        text.detach()


def _told(page: bytes, sample: bytes, *, is_whole: bool) -> str | None:
    """The encoding that a page declares, or that its language is mostly written in, if it fits."""
    declared = _META_CHARSET.search(page)
    name = declared[1].decode("ascii") if declared else ""
    if known := _believed(name, sample, is_whole=is_whole):
        return known
    language = _LANGUAGE.search(page)
    names = _OF_LANGUAGES.get(language[1].decode("ascii").lower(), ()) if language else ()
    return next((each for each in names if _decodes(sample, each, is_whole=is_whole)), None)


def _believed(name: str, sample: bytes, *, is_whole: bool) -> str | None:
    """The codec with this name if the sample is in it; None if not, whatever was declared."""
    known = _known(name)
    return known if known and _decodes(sample, known, is_whole=is_whole) else None


def _decodes(sample: bytes, encoding: str, *, is_whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=is_whole)
    except UnicodeDecodeError:
        return False
    return True


def _is_damaged_utf8(sample: bytes) -> bool:
    """Whether the bytes beyond ASCII are UTF-8 but for a few."""
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return wrong * _SOUND_FOR_EACH_WRONG < sum(1 for char in text if char > "\x7f") - wrong


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
    if _is_damaged_utf8(sample):
        return "utf-8"
    matches = from_bytes(_telling(sample))
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
    except (LookupError, ValueError):
        return None
    return codec.name if codec._is_text_encoding else None
