"""What a PDF does not tell: paragraphs, headings and tables."""

import io

import pytest
from fpdf import FPDF

from uploads.tests import documents
from uploads.workflows.text import pieces


def _text(content: bytes) -> str:
    found = pieces(source=io.BytesIO(content), filename="a.pdf", content_type="application/pdf")
    return "".join(piece.text for piece in found)


def _lines(*lines: tuple[str, int, str, int]) -> bytes:
    """A page of lines: font, size, words, distance from the bottom."""
    return documents.pdf_page(
        b"\n".join(
            b"BT /%s %d Tf 50 %d Td (%s) Tj ET" % (font.encode(), size, y, words.encode())
            for font, size, words, y in lines
        )
    )


def test_a_word_that_goes_on_in_the_next_line_starts_no_paragraph():
    content = _lines(
        ("F1", 12, "The whole harvest of this year was exam-", 700),
        ("F1", 12, "ined by hand and sorted into crates, which", 686),
        ("F1", 12, "were sold at once.", 672),
        ("F1", 12, "A second paragraph follows.", 640),
    )
    assert _text(content) == (
        "The whole harvest of this year was examined by hand and sorted into crates, which\n"
        "were sold at once.\n\nA second paragraph follows.\n"
    )


def test_larger_lines_are_headings_by_their_size_and_bold_ones_that_stand_alone():
    body = [("F1", 11, f"Line {n} of a text that goes on for a while.", 0) for n in range(3)]
    placed = [
        ("F1", 24, "The yearly report", 760),
        ("F1", 24, "of the orchard", 732),
        ("F1", 16, "1. Harvest", 690),
        *((font, size, words, 660 - 13 * n) for n, (font, size, words, _y) in enumerate(body)),
        ("F2", 11, "By hand", 600),
        *((font, size, words, 575 - 13 * n) for n, (font, size, words, _y) in enumerate(body)),
    ]
    text = _text(_lines(*placed))
    assert text.startswith(
        "# The yearly report of the orchard\n\n## 1. Harvest\n\nLine 0 of a text"
    )
    assert "while.\n\n### By hand\n\nLine 0" in text
    assert text.count("#") == 6


def test_many_large_lines_are_text():
    large = [("F1", 16, f"A notice, line {n}", 760 - 20 * n) for n in range(6)]
    small = [
        ("F1", 9, f"Small print that goes on and on, line {n}", 600 - 11 * n) for n in range(8)
    ]
    text = _text(_lines(*large, *small))
    assert "#" not in text
    assert "A notice, line 0\nA notice, line 1\n" in text


@pytest.mark.parametrize("borders", ["ALL", "INTERNAL", "SINGLE_TOP_LINE"])
def test_a_table_with_lines_keeps_its_cells_and_without_them_its_words(borders):
    pdf = FPDF()
    pdf.set_font("Helvetica", size=11)
    pdf.add_page()
    pdf.cell(text="Before the table.", new_x="LMARGIN", new_y="NEXT")
    with pdf.table(borders_layout=borders) as table:
        for line in (("Name", "Note"), ("Apple", "red and\ngreen"), ("Pear", "")):
            row = table.row()
            for value in line:
                row.cell(value)
    pdf.cell(text="After the table.")
    text = _text(bytes(pdf.output()))
    if borders == "ALL":
        assert text == (
            "Before the table.\n\n| Name | Note |\n| --- | --- |\n| Apple | red and green |\n"
            "| Pear |  |\n\n\nAfter the table.\n"
        )
    words = "Before the table. Name Note Apple red and green Pear After the table."
    assert sorted(text.replace("|", " ").replace("---", " ").split()) == sorted(words.split())


def test_boxes_that_hold_no_table_leave_the_text_as_it_is():
    content = documents.pdf_page(
        b"40 600 300 150 re S 60 620 100 40 re S BT /F1 12 Tf 50 700 Td (In a box) Tj ET "
        b"BT /F1 12 Tf 70 635 Td (in another) Tj ET"
    )
    assert _text(content).split() == ["In", "a", "box", "in", "another"]


def test_boxes_of_a_form_keep_their_lines():
    words = b" ".join(
        b"BT /F1 12 Tf %d %d Td (%s %d) Tj ET" % (x, y, word, y)
        for x, word in ((50, b"left"), (250, b"right"))
        for y in range(620, 740, 20)
    )
    boxes = b"40 600 200 150 re S 240 600 200 150 re S 40 560 400 40 re S 40 520 400 40 re S "
    text = _text(documents.pdf_page(boxes + words))
    assert "|" not in text
    assert text.count("\n") >= 6


def test_a_page_with_very_many_lines_is_read_as_text():
    grid = b" ".join(b"%d 0 m %d 800 l S 0 %d m 600 %d l S" % (n, n, n, n) for n in range(2_000))
    content = documents.pdf_page(grid + b" BT /F1 12 Tf 50 700 Td (A map) Tj ET")
    assert _text(content) == "A map\n"


def test_characters_beyond_16_bits_do_not_cost_a_page_its_headings():
    mapping = b"<7A> <D83DDE00> " + b" ".join(b"<%02X> <%04X>" % (n, n) for n in range(32, 122))
    codes = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange "
        b"<00> <FF> endcodespacerange 91 beginbfchar %s endbfchar endcmap end end" % mapping
    )
    words = b" ".join(b"BT /F1 10 Tf 50 %d Td (some more text) Tj ET" % y for y in (650, 638))
    content = b"BT /F1 24 Tf 50 700 Td (Titlez) Tj ET " + words
    page = documents.pdf_bytes(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources "
            b"<< /Font << /F1 5 0 R >> >> >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(codes), codes),
        ]
    )
    assert _text(page) == "# Title😀\n\nsome more text\nsome more text\n"
