"""E-mails as programs really send them, and texts whose encoding is not the declared one."""

import io
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from uploads.workflows.text import pieces


def _read(content: bytes, filename: str = "a.eml", content_type: str = "message/rfc822") -> tuple:
    warnings: list[str] = []
    found = pieces(
        source=io.BytesIO(content),
        filename=filename,
        content_type=content_type,
        warn=warnings.append,
    )
    return "".join(piece.text for piece in found), warnings


def test_all_texts_of_an_email_are_read_whatever_is_between_them():
    message = MIMEMultipart()
    message["Subject"] = "As Apple Mail sends it"
    message.attach(MIMEText("Before the paper."))
    message.attach(MIMEApplication(b"%PDF-1.4", "pdf", name="paper.pdf"))
    message.attach(MIMEText("<p>After the <b>paper</b>.</p>", "html"))
    text, warnings = _read(message.as_bytes())
    assert "\n\nBefore the paper.\n\nAfter the **paper**.\n" in text
    assert "| paper.pdf | application/pdf | 8 |" in text
    assert warnings == []


def test_of_alternatives_the_plain_text_is_read_unless_it_is_empty():
    for plain, expected in (("plain words", "plain words"), ("  \n", "rich words")):
        message = EmailMessage()
        message["Subject"] = "x"
        message.set_content(plain)
        message.add_alternative("<p>rich words</p>", subtype="html")
        text, _warnings = _read(message.as_bytes())
        assert text == f"# x\n\n\n{expected}\n"


@pytest.mark.parametrize("boundary", ["----=_Part_1=2", "=_next:part(7)"])
def test_a_boundary_that_should_be_quoted_and_is_not_loses_nothing(boundary):
    content = (
        f"Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary={boundary}"
        f"\n\n--{boundary}\nContent-Type: text/plain\n\nthe words\n--{boundary}--\n"
    )
    assert "the words" in _read(content.encode())[0]


def test_attachments_that_are_text_are_read_and_others_named():
    message = EmailMessage()
    message["Subject"] = "Numbers"
    message.set_content("See below.")
    message.add_attachment("a;b\n1;2\n", subtype="csv", filename="Zahlen für Mai.csv")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    message.add_attachment("", filename="empty.txt")
    text, warnings = _read(message.as_bytes())
    assert "### Zahlen für Mai.csv\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n" in text
    assert "| a.png | image/png | 4 |" in text
    assert warnings == []


def test_an_attachment_that_cannot_be_read_costs_its_place():
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("See below.")
    message.add_attachment("a," * 1_000_000, subtype="csv", filename="one line.csv")
    text, warnings = _read(message.as_bytes())
    assert "See below." in text
    assert "*Attachment 1 could not be read.*" in text
    assert warnings == ["Attachment 1 could not be read."]


def test_headers_and_texts_are_decoded_though_they_declare_another_charset():
    content = (
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nFrom: J\xfcrgen <j@example.org>\n"
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        + "Les élèves français étaient très contents à l\u2019école.".encode("cp1252")
    )
    text, _warnings = _read(content)
    assert text.startswith("# Grüße\n\n- **From:** Jürgen <j@example.org>\n")
    assert "Les élèves français étaient très contents à l\u2019école." in text


@pytest.mark.parametrize(
    ("encoding", "language", "words"),
    [
        ("cp1256", "", "مرحبا بكم في موقعنا. هذه صفحة عن الحصاد في هذا العام"),
        ("cp1252", "", "Les élèves français étaient très contents à l\u2019école."),
        ("cp1255", "he", "שלום לכולם, זה דף על הקציר השנה"),
        ("cp932", "ja", "今日は良い天気ですね。"),
    ],
)
def test_a_charset_that_does_not_decode_is_not_believed(encoding, language, words):
    page = f"<html lang='{language}'><head><meta charset='utf-8'></head><body>{words}</body></html>"
    assert _read(page.encode(encoding), "a.html", "text/html") == (f"{words}\n", [])


def test_a_few_wrong_bytes_do_not_make_utf8_another_encoding():
    content = ("Grüße, naïve Façade. " * 20).encode() + b"\xff" + "Schön".encode()
    text, _warnings = _read(content, "a.txt", "text/plain")
    assert text == "Grüße, naïve Façade. " * 20 + "\ufffdSchön"
