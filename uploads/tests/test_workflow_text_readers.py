"""Formats of other programs: OpenDocument, RTF, LaTeX, notebooks, Outlook; and what is refused."""

import io
import json
import struct
from pathlib import Path

import pytest

from uploads.files.content_types import detect_type
from uploads.tests import documents
from uploads.tests.documents import ODS_TYPE, ole_bytes
from uploads.workflows.errors import TaskFailed
from uploads.workflows.text import pieces

_ODT = "application/vnd.oasis.opendocument.text"
_ODP = "application/vnd.oasis.opendocument.presentation"
_PROPERTIES = "__properties_version1.0"


def _read(content: bytes, filename: str, content_type: str) -> tuple[str, list[str]]:
    warnings: list[str] = []
    found = pieces(
        source=io.BytesIO(content),
        filename=filename,
        content_type=content_type,
        warn=warnings.append,
    )
    return "".join(piece.text for piece in found), warnings


def _failure(content: bytes, filename: str, content_type: str) -> TaskFailed:
    with pytest.raises(TaskFailed) as raised:
        _read(content, filename, content_type)
    return raised.value


def test_an_opendocument_text_keeps_headings_lists_tables_and_notes(tmp_path):
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        "<text:h text:outline-level='2'>Harvest</text:h>"
        "<text:p>Apples<text:s text:c='2'/>were<text:tab/><text:span>plenty"
        "</text:span><text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>"
        "Red ones.</text:p></text:note-body></text:note>.</text:p>"
        "<text:list><text:list-item><text:p>by hand</text:p></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-spanned="1"><text:p>'
        "a|b</text:p></table:table-cell><table:table-cell><text:p>2</text:p></table:table-cell>"
        "</table:table-row></table:table><text:p><text:ruby><text:ruby-base>漢字</text:ruby-base>"
        "<text:ruby-text>かんじ</text:ruby-text></text:ruby><draw:frame><draw:object "
        'xlink:href="./Object 1"/></draw:frame></text:p>'
    )
    formula = (
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mi>x</mi>'
        "<annotation>x over 2</annotation></semantics></math>"
    )
    path = documents.make_odf(
        tmp_path / "a.odt", "text", body, entries={"Object 1/content.xml": formula}
    )
    text, warnings = _read(path.read_bytes(), "a.odt", _ODT)
    assert text.startswith("## Harvest\n\nApples were plenty[1].\n\n- by hand\n")
    assert "| a\\|b | 2 |" in text
    assert "漢字(かんじ)" in text
    assert "$x over 2$" in text
    assert text.endswith("[1] Red ones.\n")
    assert "deleted" not in text
    assert warnings == []


def test_an_opendocument_presentation_is_read_slide_by_slide(tmp_path):
    def frame(kind: str, words: str) -> str:
        return (
            f'<draw:frame presentation:class="{kind}"><draw:text-box><text:p>{words}</text:p>'
            "</draw:text-box></draw:frame>"
        )

    notes = f"<presentation:notes>{frame('notes', 'Say thanks.')}</presentation:notes>"
    body = (
        f"<draw:page>{frame('outline', 'Uploads work')}{frame('title', 'Today')}{notes}</draw:page>"
        f"<draw:page><draw:custom-shape><text:p>A box</text:p></draw:custom-shape></draw:page>"
    )
    path = documents.make_odf(tmp_path / "a.odp", "presentation", body)
    text, _warnings = _read(path.read_bytes(), "a.odp", _ODP)
    assert text == (
        "## Slide 1: Today\n\nUploads work\n\n**Notes:** Say thanks.\n\n## Slide 2\n\nA box\n\n"
    )


def test_an_opendocument_file_with_macros_is_read_and_an_encrypted_one_is_not(tmp_path):
    path = documents.make_ods(tmp_path / "a.ods")
    macro = '<!DOCTYPE library:library PUBLIC "-//x//" "library.dtd"><library:library/>'
    documents.replace_entry(path, "Basic/Standard/script-lb.xml", macro)
    assert "| city | 42 |" in _read(path.read_bytes(), "a.ods", ODS_TYPE)[0]
    locked = "<manifest:manifest><manifest:encryption-data/></manifest:manifest>"
    documents.replace_entry(path, "META-INF/manifest.xml", locked)
    assert _failure(path.read_bytes(), "a.ods", ODS_TYPE).code == "file_encrypted"


def test_rich_text_gives_paragraphs_and_tables():
    content = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 Hello \b bold\b0  caf\'e9 \u8364?"
        rb"\par\trowd A\cell B\cell\row\trowd 1\cell 2\cell\row\pard \u-10179?\u-8704?\par}"
    )
    assert _read(content, "a.rtf", "text/rtf") == (
        "Hello bold café €\n\n| A | B |\n| --- | --- |\n| 1 | 2 |\n\n😀\n",
        [],
    )


def test_latex_gives_headings_lists_tables_and_formulas():
    content = rb"""\documentclass{article}\title{My paper}
\begin{document}
\maketitle % a comment
\section{Intro} Hello \emph{world}, caf\'e, 50\% of $x^2_1$.
\begin{itemize}\item one \item two\end{itemize}
\begin{tabular}{ll} a & b \\ \hline 1 & 2 \\ \end{tabular}
See \href{http://example.org}{here}.
\end{document}"""
    text, warnings = _read(content, "a.tex", "text/x-tex")
    assert text.startswith(
        "# My paper\n\n## Intro\n\nHello *world*, café, 50% of $x^2_1$.\n\n- one"
    )
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" in text
    assert "[here](http://example.org)" in text
    assert "comment" not in text
    assert warnings == []


def test_a_notebook_gives_text_code_and_what_it_printed():
    printed = {"output_type": "stream", "text": ["1\n", "2\n"]}
    html = "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>"
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "source": "print()",
            "outputs": [printed, {"data": {"text/html": html}}],
        },
        {"cell_type": "code", "source": 3},
    ]
    content = json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode()
    text, warnings = _read(content, "a.ipynb", "application/json")
    assert text == (
        "# Title\ntext\n\n~~~~~~python\nprint()\n~~~~~~\n\n~~~~~~\n1\n2\n~~~~~~\n\n"
        "| a |\n| --- |\n| 1 |\n\n*Cell 3 could not be read.*\n\n"
    )
    assert warnings == ["Cell 3 could not be read."]


def _letter(subject: str, body: str, *, folder: str = "", head: int = 32) -> dict[str, bytes]:
    """The streams of an Outlook message, at the top or inside an attachment."""
    sent = 134_000_000_000_000_000
    fixed = bytes(head) + struct.pack("<HHIQ", 0x40, 0x39, 6, sent)
    streams = {"0037001F": subject, "1000001F": body, "0C1A001F": "Ada", "0E04001F": "Grace"}
    return {f"{folder}{_PROPERTIES}": fixed} | {
        f"{folder}__substg1.0_{tag}": text.encode("utf-16-le") for tag, text in streams.items()
    }


def test_an_outlook_message_gives_headers_text_and_attachments():
    first, second = "__attach_version1.0_#00000000/", "__attach_version1.0_#00000001/"
    content = ole_bytes(
        _letter("The offer", "Ten crates.")
        | {
            f"{first}{_PROPERTIES}": bytes(8),
            f"{first}__substg1.0_3707001F": "prices.csv".encode("utf-16-le"),
            f"{first}__substg1.0_37010102": b"a,b\n1,2\n",
            f"{second}{_PROPERTIES}": bytes(8),
        }
        | _letter("Before", "Inner words.", folder=f"{second}__substg1.0_3701000D/", head=24)
    )
    assert detect_type(content) == "application/vnd.ms-outlook"
    text, warnings = _read(content, "a.msg", "application/vnd.ms-outlook")
    assert text.startswith(
        "# The offer\n\n- **From:** Ada\n- **To:** Grace\n- **Date:** 2025-08-18 14:13:20 UTC\n\n"
        "Ten crates.\n"
    )
    assert "### prices.csv\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n" in text
    assert "## Attached message: Before" in text
    assert "Inner words." in text
    assert warnings == []


def test_a_message_with_compressed_rich_text_alone_is_read():
    rtf = rb"{\rtf1\ansi Only rich words.\par}"
    literal = b"".join(
        bytes([0]) + rtf[at : at + 8] for at in range(0, len(rtf), 8)
    )  # each byte as it is
    packed = struct.pack("<II4sI", len(literal) + 12, len(rtf), b"LZFu", 0) + literal
    streams = _letter("Rich", "") | {"__substg1.0_10090102": packed}
    text, _warnings = _read(ole_bytes(streams), "a.msg", "application/vnd.ms-outlook")
    assert text.endswith("Only rich words.\n")


def _attribute(number: int, data: bytes, *, level: int = 1) -> bytes:
    return struct.pack("<BHHI", level, number, 1, len(data)) + data + bytes(2)


def test_winmail_dat_gives_its_message_and_attachments():
    words = "Grüße".encode("utf-16-le")
    padded = words + bytes(-len(words) % 4)
    properties = struct.pack("<I", 1) + struct.pack("<HHII", 0x1F, 0x37, 1, len(words)) + padded
    content = (
        b"\x78\x9f\x3e\x22\x01\x00"
        + _attribute(0x9003, properties)
        + _attribute(0x800C, b"Plain words.\0")
        + _attribute(0x9002, b"", level=2)
        + _attribute(0x8010, b"notes.txt\0", level=2)
        + _attribute(0x800F, b"Attached words.", level=2)
    )
    text, warnings = _read(content, "winmail.dat", "application/vnd.ms-tnef")
    assert text.startswith("# Grüße\n\n\nPlain words.\n")
    assert "### notes.txt\n\nAttached words.\n" in text
    assert warnings == []


@pytest.mark.parametrize(
    ("stream", "detected", "code", "says"),
    [
        ("EncryptedPackage", "application/encrypted", "file_encrypted", "password"),
        ("WordDocument", "application/msword", "type_not_supported", "DOCX"),
        ("PowerPoint Document", "application/vnd.ms-powerpoint", "type_not_supported", "PPTX"),
        ("Contents", None, "type_not_supported", "type"),
    ],
)
def test_containers_of_office_97_are_known_by_what_is_in_them(stream, detected, code, says):
    content = ole_bytes({stream: bytes(5_000)})
    kind = detect_type(content)
    assert detected in {None, kind}
    failed = _failure(content, "a.bin", kind)
    assert failed.code == code
    assert says in failed.message


def test_a_locked_word_97_document_is_encrypted():
    content = ole_bytes({"WordDocument": bytes(10) + b"\x00\x01" + bytes(5_000)})
    assert _failure(content, "a.doc", "application/msword").code == "file_encrypted"


def test_a_pdf_is_known_though_bytes_come_before_its_header(tmp_path: Path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["Hello"])
    content = bytes(range(256)) + b"\r\n" + path.read_bytes()
    assert detect_type(content) == "application/pdf"
    assert _read(content, "a.pdf", "application/pdf")[0].strip() == "Hello"


def test_a_text_that_speaks_of_pdfs_stays_a_text():
    content = b"A PDF begins with %PDF-1.7, mostly."
    assert _read(content, "a.txt", "text/plain") == (content.decode(), [])
