"""E-mails and e-mails attached to them: headers, text and names of attachments."""

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.html import html_to_markdown

_LABEL = "an e-mail"
_MESSAGE = "message/rfc822"
_HEADERS = ("From", "To", "Cc", "Date", "Reply-To")


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    del job
    check_fits_memory(source, "An e-mail")
    with reading(_LABEL):
        message = BytesParser(policy=policy.default).parse(source)
        yield Piece("\n".join(_head(message)) + "\n\n", 0.3)
        yield Piece(f"{_body(message)}\n", 0.6)
        for inner in _inner(message):
            yield Piece("\n".join(["", *_head(inner, mark="## Attached message:")]) + "\n\n")
            yield Piece(f"{_body(inner)}\n")
        attachments = list(_attachments(message))
        if attachments:
            table = table_head(["Attachment", "Type", "Bytes"])
            yield Piece(f"\n## Attachments\n\n{table}{''.join(map(row, attachments))}", 1.0)


def _inner(message: EmailMessage) -> Iterator[EmailMessage]:
    """The messages inside a message, at any depth."""
    for part in message.walk():
        if part.get_content_type() == _MESSAGE and part.is_multipart():
            yield part.get_payload(0)  # type: ignore[misc]


def _head(message: EmailMessage, *, mark: str = "#") -> Iterator[str]:
    yield f"{mark} {_header(message, 'Subject') or '(no subject)'}\n"
    for name in _HEADERS:
        if value := _header(message, name):
            yield f"- **{name}:** {value}"


def _header(message: EmailMessage, name: str) -> str:
    """A header's value; the raw text if it cannot be parsed."""
    try:
        return one_line(str(message[name] or ""))
    except (ValueError, LookupError, AttributeError, TypeError):
        raw = dict(message.raw_items())
        return one_line(str(raw.get(name, "")))


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    text = _text(part)
    return html_to_markdown(text) if part.get_content_type() == "text/html" else text


def _text(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True) or b""
    content = payload if isinstance(payload, bytes) else b""
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _attachments(message: EmailMessage) -> Iterator[list[str]]:
    body = message.get_body(preferencelist=("plain", "html"))
    for part in message.walk():
        is_message = part.get_content_type() == _MESSAGE
        if part.is_multipart() and not is_message:
            continue
        name = part.get_filename() or ""
        if part is body or (not name and part.get_content_maintype() == "text"):
            continue
        yield [name, part.get_content_type(), f"{_size(part):,}"]


def _size(part: EmailMessage) -> int:
    if part.is_multipart():
        return len(part.as_bytes())
    payload = part.get_payload(decode=True)
    return len(payload) if isinstance(payload, bytes) else 0
