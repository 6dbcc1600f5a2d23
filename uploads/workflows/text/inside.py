"""Documents within documents: attached, embedded."""

from dataclasses import replace
from io import BytesIO

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job
from uploads.workflows.text.clean import clean
from uploads.workflows.text.kinds import converter, kind_of

_DEPTH_MAX = 3  # of documents within documents
_CHARACTERS_MAX = 16 * 1024 * 1024


def inner_text(content: bytes, *, filename: str, content_type: str, job: Job) -> str:
    """The Markdown of a document that is part of another, as far as `_CHARACTERS_MAX`.

    Raises ValueError if it cannot be read, for whatever reason, or lies too deep inside others.
    """
    try:
        return _text(content, filename=filename, content_type=content_type, job=job)
    except TaskFailed as exc:
        if exc.code == "no_text":
            return ""
        raise ValueError(exc.message) from exc


def _text(content: bytes, *, filename: str, content_type: str, job: Job) -> str:
    if job.depth >= _DEPTH_MAX:
        raise ValueError("documents are nested too deeply")
    source = BytesIO(content)
    kind = kind_of(source, filename=filename, content_type=content_type)
    source.seek(0)
    inner = replace(job, filename=filename, content_type=content_type, depth=job.depth + 1)
    text = ""
    for piece in converter(kind)(source, inner):
        text += piece.text
        if len(text) > _CHARACTERS_MAX:
            job.warn("Only the beginning of a document inside it was read.")
            break
    return clean(text[:_CHARACTERS_MAX]).strip()
