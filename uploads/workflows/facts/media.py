"""Audio and video, from their tags and headers."""

from tinytag import TinyTag, UnsupportedFormatError

from uploads.workflows.facts.base import Facts, Subject, known
from uploads.workflows.text.base import reading

_TEXT_MAX = 500


def facts(subject: Subject) -> Facts:
    """Empty for formats that TinyTag does not support, such as WebM."""
    with reading("sound or film"):
        try:
            tag = TinyTag.get(filename=subject.filename, file_obj=subject.source)
        except UnsupportedFormatError:
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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _short(text: str | None) -> str | None:
    return text.strip()[:_TEXT_MAX] if text else None
