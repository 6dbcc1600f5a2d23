"""A part that cannot be read costs that part, is named, and the rest is read."""

import io
from pathlib import Path
from zipfile import ZipFile

import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, PPTX_TYPE
from uploads.workflows.errors import TaskFailed
from uploads.workflows.text import pieces


def _read(content: bytes, filename: str, content_type: str) -> tuple[str, list[str]]:
    warnings: list[str] = []
    found = pieces(
        source=io.BytesIO(content),
        filename=filename,
        content_type=content_type,
        warn=warnings.append,
    )
    return "".join(piece.text for piece in found), warnings


def _deck(path: Path, *charts: XL_CHART_TYPE) -> bytes:
    """A presentation with a slide for each chart, and one more."""
    deck = pptx.Presentation()
    for chart in charts:
        numbers = CategoryChartData()
        numbers.categories = ["East", "West"]
        numbers.add_series("Crates", (4.25, 3))
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = chart.name
        slide.shapes.add_chart(chart, 0, 0, Inches(4), Inches(4), numbers)
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "The end"
    deck.save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "chart",
    [
        XL_CHART_TYPE.AREA_STACKED,
        XL_CHART_TYPE.THREE_D_AREA,
        XL_CHART_TYPE.THREE_D_COLUMN,
        XL_CHART_TYPE.THREE_D_BAR_CLUSTERED,
        XL_CHART_TYPE.PIE,
    ],
)
def test_charts_of_every_kind_give_their_values(tmp_path, chart):
    plain = XL_CHART_TYPE.COLUMN_CLUSTERED if "THREE" in chart.name else chart
    content = _deck(tmp_path / "a.pptx", plain)
    if plain is not chart:
        kind = b"area3DChart" if "AREA" in chart.name else b"bar3DChart"
        path = documents.replace_in(tmp_path / "a.pptx", "ppt/charts/", b"barChart", kind)
        content = path.read_bytes()
    text, warnings = _read(content, "a.pptx", PPTX_TYPE)
    assert "|  | Crates |\n| --- | --- |\n| East | 4.25 |\n| West | 3 |\n" in text
    assert "## Slide 2: The end" in text
    assert warnings == []


def test_a_chart_keeps_what_its_cells_said_where_that_is_no_number(tmp_path):
    _deck(tmp_path / "a.pptx", XL_CHART_TYPE.LINE)
    path = documents.replace_in(
        tmp_path / "a.pptx", "ppt/charts/", b"<c:v>3</c:v>", b"<c:v>#N/A</c:v>"
    )
    text, _warnings = _read(path.read_bytes(), "a.pptx", PPTX_TYPE)
    assert "| West | #N/A |" in text


def test_a_chart_that_is_missing_costs_its_place_on_the_slide(tmp_path):
    content = _deck(tmp_path / "a.pptx", XL_CHART_TYPE.PIE, XL_CHART_TYPE.LINE)
    with ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
        lost = min(name for name in entries if name.startswith("ppt/charts/chart"))
    del entries[lost]
    path = documents.make_zip(tmp_path / "a.pptx", entries)
    text, warnings = _read(path.read_bytes(), "a.pptx", PPTX_TYPE)
    assert warnings == ["A chart on slide 1 could not be read."]
    assert "## Slide 1: PIE\n\n*A chart on slide 1 could not be read.*\n\n## Slide 2: LINE" in text
    assert "| West | 3 |" in text
    assert "## Slide 3: The end" in text


def test_a_slide_whose_xml_is_broken_is_read_as_far_as_it_goes(tmp_path):
    path = documents.make_pptx(tmp_path / "a.pptx")
    with ZipFile(path) as archive:
        slide = archive.read("ppt/slides/slide1.xml")
    cut = slide[: slide.index(b"Workflows are next")] + b"<&"
    documents.replace_entry(path, "ppt/slides/slide1.xml", cut)
    text, warnings = _read(path.read_bytes(), "a.pptx", PPTX_TYPE)
    assert "## Slide 1: Where we are\n\n- Uploads work" in text
    assert "## Slide 2: Numbers" in text
    assert warnings == ["Slide 1 is damaged; only its beginning was read."]


def test_a_page_that_is_missing_costs_a_pdf_that_page():
    pages = documents.pdf_bytes(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 3 /Kids [3 0 R 99 0 R 3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>",
            b"<< /Length 38 >>\nstream\nBT /F1 12 Tf 10 50 Td (Hello) Tj ET   \nendstream",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
    )
    text, warnings = _read(pages, "a.pdf", "application/pdf")
    assert warnings == ["Page 2 could not be read."]
    assert text.count("Hello") == 2
    assert "*Page 2*\n\n*Page 2 could not be read.*\n" in text


def test_a_document_of_which_nothing_can_be_read_fails():
    pages = documents.pdf_bytes(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [99 0 R] >>"]
    )
    with pytest.raises(TaskFailed) as raised:
        _read(pages, "a.pdf", "application/pdf")
    assert raised.value.code == "file_unreadable"
    assert "Page 1 could not be read" in raised.value.message


def _with_damage(path: Path, part: str) -> bytes:
    """The archive with a byte in the middle of a part's packed bytes flipped."""
    with ZipFile(path) as archive:
        entry = archive.getinfo(part)
        start = entry.header_offset + 30 + len(part.encode())
    content = bytearray(path.read_bytes())
    content[start + entry.compress_size - 3] ^= 0xFF
    return bytes(content)


def test_a_damaged_part_of_an_office_document_costs_what_is_in_it(tmp_path):
    path = documents.make_pptx(tmp_path / "a.pptx")
    with ZipFile(path) as archive:
        documents.make_zip(path, {name: archive.read(name) for name in archive.namelist()})
    text, warnings = _read(_with_damage(path, "ppt/slides/slide2.xml"), "a.pptx", PPTX_TYPE)
    assert "## Slide 1: Where we are" in text
    assert "The part ppt/slides/slide2.xml is damaged; only its beginning was read." in warnings


def test_broken_styles_cost_a_word_document_its_layout_only(tmp_path):
    path = documents.make_docx(tmp_path / "a.docx")
    documents.replace_entry(path, "word/styles.xml", "<w:styles><broken")
    text, warnings = _read(path.read_bytes(), "a.docx", DOCX_TYPE)
    assert "Apples were plentiful this year." in text
    assert "kilograms" in text
    assert warnings == ["The document's layout could not be read; only its words were."]


def test_a_chapter_that_is_missing_costs_a_book_that_chapter(tmp_path):
    path = documents.make_epub(tmp_path / "a.epub")
    with ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if "z.x" not in name}
    text, warnings = _read(
        documents.make_zip(path, entries).read_bytes(), "a.epub", documents.EPUB_TYPE
    )
    assert "# Dusk\n\nIt ended." in text
    assert warnings == ["Chapter 1 could not be read."]
