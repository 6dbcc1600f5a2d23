"""Audio and video, from their tags and headers."""

from collections.abc import Callable
from struct import unpack_from
from typing import BinaryIO

from tinytag import TinyTag, TinyTagException, UnsupportedFormatError

from uploads.workflows.facts import boxes, matroska
from uploads.workflows.facts.base import Facts, Subject, known
from uploads.workflows.text.base import reading

_TEXT_MAX = 500
_FRAMES_MAX = 2_000_000  # of AAC: half a day
_BLOCK_BYTES = 1024 * 1024
_SAMPLES = 1024  # of a frame (ISO 14496-3)
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def facts(subject: Subject) -> Facts:
    """What is known by the format itself, and what tags say beside that."""
    with reading("sound or film"):
        reader = _READERS.get(subject.content_type)
        found = reader(subject.source, subject.size_bytes) if reader else {}
        told = _tags(subject, is_needed=reader is None)
        if subject.content_type.startswith("video/") or reader is not None:
            # TinyTag's is of the sound track, or wrong.
            told.pop("bitrate_kbps", None)
        found = told | found
        seconds = found.get("duration_seconds")
        if isinstance(seconds, float) and seconds > 0 and "bitrate_kbps" not in found:
            found["bitrate_kbps"] = round(subject.size_bytes * 8 / 1000 / seconds, 2)
        return found


def _tags(subject: Subject, *, is_needed: bool) -> Facts:
    """Raises TinyTagException for a broken file, if nothing is known of it but its tags."""
    subject.source.seek(0)
    try:
        tag = TinyTag.get(filename=subject.filename, file_obj=subject.source)
    except TinyTagException as exc:
        if is_needed and not isinstance(exc, UnsupportedFormatError):
            raise
        return {}
    return known(
        duration_seconds=_rounded(tag.duration),
        bitrate_kbps=_rounded(tag.bitrate),
        sample_rate_hz=tag.samplerate,
        channels=tag.channels,
        bits_per_sample=tag.bitdepth,
        title=_short(tag.title),
        artist=_short(tag.artist),
        album=_short(tag.album),
        year=_short(tag.year),
        genre=_short(tag.genre),
        track=tag.track,
    )


def _avi(source: BinaryIO, _size_bytes: int) -> Facts:
    """The main header of the film: `avih` in `hdrl`, near the beginning."""
    source.seek(0)
    head = source.read(4096)
    at = head.find(b"avih")
    if at < 0 or at + 48 > len(head):
        return {}
    microseconds, _rate, _padding, _flags, frames = unpack_from("<5I", head, at + 8)
    width, height = unpack_from("<2I", head, at + 40)
    return known(
        duration_seconds=round(microseconds * frames / 1e6, 2) or None,
        width=width or None,
        height=height or None,
    )


def _aac(source: BinaryIO, _size_bytes: int) -> Facts:
    """The frames of a stream without index are counted (ADTS: ISO 13818-7, 6.2)."""
    source.seek(0)
    head = source.read(10)
    if head.startswith(b"ID3"):  # a tag before it; its length is in groups of seven bits
        size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
        source.seek(10 + size)
    else:
        source.seek(0)
    frames = rate = channels = 0
    buffer = b""
    while frames < _FRAMES_MAX and (block := source.read(_BLOCK_BYTES)):
        buffer += block
        at = 0
        while at + 7 <= len(buffer):
            if buffer[at] != 0xFF or buffer[at + 1] & 0xF6 != 0xF0:
                return _sound(frames, rate, channels)
            length = int.from_bytes(buffer[at + 3 : at + 6], "big") >> 5 & 0x1FFF
            if length < 7:
                return _sound(frames, rate, channels)
            if not frames:
                rate = _rate(buffer[at + 2] >> 2 & 15)
                channels = (buffer[at + 2] & 1) << 2 | buffer[at + 3] >> 6
            frames += (buffer[at + 6] & 3) + 1
            at += length
        if at > len(buffer):
            source.seek(at - len(buffer), 1)
        buffer = buffer[at:]
    return _sound(frames, rate, channels)


def _sound(frames: int, rate: int, channels: int) -> Facts:
    return known(
        duration_seconds=round(frames * _SAMPLES / rate, 2) if rate else None,
        sample_rate_hz=rate or None,
        channels=channels or None,
    )


def _rate(index: int) -> int:
    return _RATES[index] if index < len(_RATES) else 0


_READERS: dict[str, Callable[[BinaryIO, int], Facts]] = {
    "video/x-msvideo": _avi,
    "video/avi": _avi,
    "video/webm": matroska.facts,
    "video/x-matroska": matroska.facts,
    "audio/x-matroska": matroska.facts,
    "video/mp4": boxes.film,
    "video/x-m4v": boxes.film,
    "video/3gpp": boxes.film,
    "video/quicktime": boxes.film,
    "audio/x-hx-aac-adts": _aac,
    "audio/aac": _aac,
}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _short(text: str | None) -> str | None:
    return text.strip()[:_TEXT_MAX] if text else None
