"""E-mails and e-mails attached to them: headers, text, attachments and the text among them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import Message
from email.parser import BytesParser
from functools import partial
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.decoding import text_of
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.inside import inner_text

_LABEL = "an e-mail"
_MESSAGE = "message/rfc822"
_HTML = "text/html"
_HEADERS = ("From", "To", "Cc", "Date", "Reply-To")
# Text that is not for people.
_NOT_READ = {"text/calendar-request", "text/x-amp-html"}
_READ = {"application/json", "application/xml"}


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "An e-mail")
    with reading(_LABEL):
        # Of the two policies this one also takes parameters that are not quoted as they should be.
        message = BytesParser(policy=policy.compat32).parse(source)
        contents = _contents(message)
        yield Piece("\n".join(_head(message)) + "\n\n", 0.3)
        yield Piece(f"{_body(contents, job)}\n", 0.6)
        messages = list(_inner(contents))
        for inner, inside in messages:
            yield Piece("\n".join(["", *_head(inner, mark="## Attached message:")]) + "\n\n")
            yield Piece(f"{_body(inside, job)}\n")
        attached = [
            *contents.attached,
            *(each for _m, inside in messages for each in inside.attached),
        ]
        if attached:
            table = table_head(["Attachment", "Type", "Bytes"])
            yield Piece(f"\n## Attachments\n\n{table}{''.join(map(_row, attached))}", 0.8)
        for number, part in enumerate(attached, 1):
            if text := _attached_text(part, number, job):
                yield Piece(f"\n### {_name(part) or f'Attachment {number}'}\n\n{text}\n")


@dataclass
class _Contents:
    """The parts of a message in their order."""

    texts: list[Message] = field(default_factory=list)  # what one reads
    attached: list[Message] = field(default_factory=list)  # messages among them
    messages: list[Message] = field(default_factory=list)


def _contents(message: Message) -> _Contents:
    found = _Contents()
    _sort(message, found)
    return found


def _sort(part: Message, found: _Contents) -> None:
    kind = part.get_content_type()
    if kind == _MESSAGE and part.is_multipart():
        found.messages.append(part.get_payload(0))  # type: ignore[arg-type]
        found.attached.append(part)
    elif part.is_multipart():
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if kind == "multipart/alternative":
            children = _chosen(children)
        for child in children:
            _sort(child, found)
    elif _is_body(part):
        found.texts.append(part)
    elif _name(part) or part.get_content_maintype() != "text":
        found.attached.append(part)


def _chosen(alternatives: list[Message]) -> list[Message]:
    """The first with plain text, or else with HTML; and those with neither, such as invitations."""
    texts = {kind: _holding(alternatives, kind) for kind in ("text/plain", _HTML)}
    best = texts["text/plain"] or texts[_HTML]
    others = [
        each
        for each in alternatives
        if not any(part.get_content_type() in texts for part in each.walk())
    ]
    return [*best[:1], *others]


def _holding(alternatives: list[Message], kind: str) -> list[Message]:
    return [
        each
        for each in alternatives
        if any(part.get_content_type() == kind and _decoded(part).strip() for part in each.walk())
    ]


def _is_body(part: Message) -> bool:
    is_text = part.get_content_type() in {"text/plain", _HTML} or (
        part.get_content_type() == "text/enriched"
    )
    return is_text and part.get_content_disposition() != "attachment" and not _name(part)


def _inner(contents: _Contents) -> Iterator[tuple[Message, _Contents]]:
    """The messages inside a message, at any depth."""
    for message in contents.messages:
        inside = _contents(message)
        yield message, inside
        yield from _inner(inside)


def _head(message: Message, *, mark: str = "#") -> Iterator[str]:
    yield f"{mark} {_header(message, 'Subject') or '(no subject)'}\n"
    for name in _HEADERS:
        if value := _header(message, name):
            yield f"- **{name}:** {value}"


def _header(message: Message, name: str) -> str:
    """A header's value, decoded; as it is if it cannot be parsed."""
    wanted = name.lower()
    values = (str(value) for key, value in message.raw_items() if key.lower() == wanted)
    raw = _unescaped(next(values, ""))
    try:
        return one_line(str(policy.default.header_factory(name, raw)))
    except Exception:  # the parser of headers fails in many ways at those that are broken
        return one_line(raw)


def _unescaped(value: str) -> str:
    """Bytes beyond ASCII as the text that they are, though headers should have none."""
    content = value.encode("utf-8", "surrogateescape")
    return text_of(content, declared=None)


def _body(contents: _Contents, job: Job) -> str:
    texts = [job.attempt("A part of the text", partial(_text, part)) for part in contents.texts]
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())


def _text(part: Message) -> str:
    text = text_of(_decoded(part), declared=part.get_content_charset())
    return html_to_markdown(text) if part.get_content_type() == _HTML else text


def _attached_text(part: Message, number: int, job: Job) -> str:
    """The text of an attachment that is text; empty for others."""
    kind = part.get_content_type()
    is_text = kind in _READ or (kind.startswith("text/") and kind not in _NOT_READ)
    if part.is_multipart() or not is_text:
        return ""
    read = partial(
        inner_text,
        _decoded(part),
        filename=_name(part),
        content_type=kind,
        job=job,
    )
    return job.attempt(f"Attachment {number}", read)


def _decoded(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except (ValueError, LookupError, TypeError):
        return ""
    return one_line(str(policy.default.header_factory("Subject", _unescaped(name))))


def _row(part: Message) -> str:
    return row([_name(part), part.get_content_type(), f"{_size(part):,}"])


def _size(part: Message) -> int:
    return len(part.as_bytes()) if part.is_multipart() else len(_decoded(part))
