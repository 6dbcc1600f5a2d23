"""Messages of Outlook: properties by number ([MS-OXPROPS]), whatever file they are in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from struct import unpack_from

from uploads.workflows.text.base import Job, Piece
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.decoding import text_of
from uploads.workflows.text.html import html_to_markdown
from uploads.workflows.text.inside import inner_text
from uploads.workflows.text.rtf import rtf_to_markdown

SUBJECT, BODY, HTML, RTF = 0x0037, 0x1000, 0x1013, 0x1009
SENDER, SENDER_ADDRESS, SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
TO, CC, SENT, CODEPAGE = 0x0E04, 0x0E03, 0x0039, 0x3FDE
LONG_NAME, SHORT_NAME, DATA, MEDIA_TYPE = 0x3707, 0x3704, 0x3701, 0x370E
_TEXT_SUFFIXES = (".csv", ".htm", ".html", ".json", ".log", ".md", ".rtf", ".tsv", ".txt", ".xml")
_UNCOMPRESSED_MAX = 64 * 1024 * 1024
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
# What compressed RTF begins with in thought ([MS-OXRTFCP] 2.1.2.1).
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    b"\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    b"\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
Value = str | bytes | int


@dataclass
class Attached:
    name: str
    media_type: str
    content: bytes
    message: "Letter | None" = None


@dataclass
class Letter:
    """A message: its properties by number, and what is attached to it."""

    values: dict[int, Value] = field(default_factory=dict)
    attached: list[Attached] = field(default_factory=list)

    def text(self, number: int) -> str:
        value = self.values.get(number, "")
        if isinstance(value, bytes):
            return text_of(value.rstrip(b"\0"), declared=self._encoding())
        return str(value).rstrip("\0")

    def content(self, number: int) -> bytes:
        value = self.values.get(number, b"")
        return value if isinstance(value, bytes) else b""

    def _encoding(self) -> str | None:
        page = self.values.get(CODEPAGE)
        return f"cp{page}" if isinstance(page, int) else None


def pieces_of(letter: Letter, job: Job, *, mark: str = "#") -> Iterator[Piece]:
    yield Piece("\n".join(_head(letter, mark)) + "\n\n")
    yield Piece(f"{job.attempt('The text of a message', partial(_body, letter)).strip()}\n")
    if letter.attached:
        table = table_head(["Attachment", "Type", "Bytes"])
        rows = (
            row([each.name, each.media_type, f"{len(each.content):,}"]) for each in letter.attached
        )
        yield Piece(f"\n{mark}# Attachments\n\n{table}{''.join(rows)}")
    for number, each in enumerate(letter.attached, 1):
        if each.message is not None:
            yield Piece("\n")
            yield from pieces_of(each.message, job, mark=f"{mark}# Attached message:")
        elif text := _attached_text(each, number, job):
            yield Piece(f"\n{mark}## {each.name or f'Attachment {number}'}\n\n{text}\n")


def file_time(ticks: int) -> str:
    """A time of Windows, in units of 100 ns since 1601; empty if it is out of bounds."""
    try:
        return f"{_EPOCH + timedelta(microseconds=ticks // 10):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):
        return ""


def _head(letter: Letter, mark: str) -> Iterator[str]:
    yield f"{mark} {one_line(letter.text(SUBJECT)) or '(no subject)'}\n"
    sent = letter.values.get(SENT)
    named = {
        "From": _sender(letter),
        "To": letter.text(TO),
        "Cc": letter.text(CC),
        "Date": file_time(sent) if isinstance(sent, int) else "",
    }
    for name, value in named.items():
        if value := one_line(value):
            yield f"- **{name}:** {value}"


def _sender(letter: Letter) -> str:
    name = letter.text(SENDER)
    addresses = (letter.text(SENDER_SMTP), letter.text(SENDER_ADDRESS))
    address = next((each for each in addresses if "@" in each), "")
    return f"{name} <{address}>" if address and address != name else name


def _body(letter: Letter) -> str:
    if plain := letter.text(BODY).strip():
        return plain
    if html := letter.text(HTML).strip():
        return html_to_markdown(html)
    packed = letter.content(RTF)
    return rtf_to_markdown(uncompressed_rtf(packed)) if packed else ""


def _attached_text(part: Attached, number: int, job: Job) -> str:
    if not part.name.lower().endswith(_TEXT_SUFFIXES):
        return ""
    read = partial(inner_text, part.content, filename=part.name, content_type="text/plain", job=job)
    return job.attempt(f"Attachment {number}", read)


def uncompressed_rtf(packed: bytes) -> bytes:
    """[MS-OXRTFCP] 2.2. Raises ValueError, struct.error."""
    _size, raw_size, kind, _check = unpack_from("<II4sI", packed)
    if kind == b"MELA":
        return packed[16 : 16 + raw_size]
    if kind != b"LZFu" or raw_size > _UNCOMPRESSED_MAX:
        raise ValueError("its compression is not known")
    window = bytearray(_DICTIONARY.ljust(4096, b"\0"))
    at = len(_DICTIONARY)
    out = bytearray()
    place = 16
    while place < len(packed) and len(out) < raw_size:
        flags = packed[place]
        place += 1
        for bit in range(8):
            if place >= len(packed):
                break
            if flags >> bit & 1:
                pair = int.from_bytes(packed[place : place + 2], "big")
                place += 2
                offset, length = pair >> 4, (pair & 15) + 2
                if offset == at:
                    return bytes(out)
                for step in range(length):  # may read what it has just written
                    window[at] = window[(offset + step) % 4096]
                    out.append(window[at])
                    at = (at + 1) % 4096
            else:
                window[at] = packed[place]
                out.append(packed[place])
                at = (at + 1) % 4096
                place += 1
    return bytes(out)
