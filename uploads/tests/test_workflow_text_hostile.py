"""Documents made to do harm, or broken: a clear failure, in little time and memory."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, EPUB_TYPE, ODS_TYPE, PPTX_TYPE, XLSX_TYPE
from uploads.workflows.errors import TaskFailed
from uploads.workflows.text import TextOptions, pieces

pytestmark = pytest.mark.process

_MIB = 1024 * 1024
_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE w:document [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + ']><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:body><w:p><w:r><w:t>&i;</w:t></w:r></w:p></w:body></w:document>"
)


def _extract(path: Path, content_type: str, **options: object) -> str:
    with path.open("rb") as source:
        found = pieces(
            source=source,
            filename=path.name,
            content_type=content_type,
            options=TextOptions(folder=path.parent, **options),
        )
        return "".join(piece.text for piece in found)


def _failure(path: Path, content_type: str, **options: object) -> TaskFailed:
    with pytest.raises(TaskFailed) as raised:
        _extract(path, content_type, **options)
    return raised.value


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (documents.make_docx, DOCX_TYPE),
        (documents.make_pptx, PPTX_TYPE),
        (documents.make_xlsx, XLSX_TYPE),
        (documents.make_ods, ODS_TYPE),
        (documents.make_epub, EPUB_TYPE),
    ],
)
def test_a_document_that_would_unpack_to_too_much_is_a_bomb(tmp_path, make, content_type):
    path = documents.add_entry(make(tmp_path / "bomb"), "word/more.xml", zeros=520 * _MIB)
    assert path.stat().st_size < _MIB
    failed = _failure(path, content_type)
    assert failed.code == "archive_bomb"
    assert "536,870,912 are allowed" in failed.message


def test_a_document_that_grows_a_thousandfold_is_a_bomb_whatever_its_size(tmp_path):
    path = documents.add_entry(documents.make_docx(tmp_path / "a.docx"), "x.xml", zeros=64 * _MIB)
    assert _failure(path, DOCX_TYPE).code == "archive_bomb"


def test_a_document_of_very_many_parts_is_a_bomb(tmp_path):
    path = documents.make_docx(tmp_path / "a.docx")
    failed = _failure(path, DOCX_TYPE, max_entries=5)
    assert failed.code == "archive_bomb"
    assert "entries" in failed.message


@pytest.mark.parametrize(
    ("make", "content_type", "part"),
    [
        (documents.make_docx, DOCX_TYPE, "word/document.xml"),
        (documents.make_xlsx, XLSX_TYPE, "xl/worksheets/sheet1.xml"),
        (documents.make_epub, EPUB_TYPE, "OPS/book.opf"),
    ],
)
def test_a_part_that_is_larger_than_the_list_says_is_refused(tmp_path, make, content_type, part):
    path = documents.lie_about_size(make(tmp_path / "liar"), part, size=10)
    failed = _failure(path, content_type)
    assert failed.code == "file_unreadable"


def test_a_part_that_hides_a_bomb_behind_a_small_size_is_not_unpacked(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx")
    documents.add_entry(path, "xl/hidden.xml", zeros=64 * _MIB)
    documents.lie_about_size(path, "xl/hidden.xml", size=1000)
    assert _failure(path, XLSX_TYPE).code == "file_unreadable"


@pytest.mark.parametrize(
    ("make", "content_type", "part"),
    [
        (documents.make_docx, DOCX_TYPE, "word/document.xml"),
        (documents.make_pptx, PPTX_TYPE, "ppt/slides/slide1.xml"),
        (documents.make_xlsx, XLSX_TYPE, "xl/sharedStrings.xml"),
        (documents.make_ods, ODS_TYPE, "content.xml"),
        (documents.make_epub, EPUB_TYPE, "OPS/book.opf"),
    ],
)
def test_xml_with_entities_is_refused(tmp_path, make, content_type, part):
    path = documents.replace_entry(make(tmp_path / "laughs"), part, _LAUGHS)
    assert _failure(path, content_type).code == "file_unreadable"


def test_xml_nested_without_end_is_refused(tmp_path):
    nested = "<a>" * 100_000 + "</a>" * 100_000
    path = documents.replace_entry(
        documents.make_docx(tmp_path / "a.docx"), "word/document.xml", nested
    )
    failed = _failure(path, DOCX_TYPE)
    assert failed.code == "file_unreadable"
    assert "nested too deeply" in failed.message


def test_a_sheet_with_a_cell_in_its_last_corner_is_refused_before_it_fills_memory(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx")
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData></worksheet>'
    )
    failed = _failure(documents.replace_entry(path, "xl/worksheets/sheet1.xml", sheet), XLSX_TYPE)
    assert failed.code == "too_many_cells"
    assert "1,048,576 rows and 16,384 columns" in failed.message


def test_a_row_of_an_opendocument_sheet_repeated_a_million_times_is_refused(tmp_path):
    cells = (
        '<table:table-row table:number-rows-repeated="1000000"><table:table-cell '
        'table:number-columns-repeated="1000" office:value-type="float" office:value="1"/>'
        "</table:table-row>"
    )
    path = documents.make_ods(tmp_path / "a.ods", cells=cells)
    assert _failure(path, ODS_TYPE).code == "too_many_cells"


def test_empty_rows_repeated_to_the_end_of_a_sheet_are_harmless(tmp_path):
    cells = (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>alone</text:p>'
        "</table:table-cell></table:table-row>"
        '<table:table-row table:number-rows-repeated="1048575">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    assert "| alone |" in _extract(documents.make_ods(tmp_path / "a.ods", cells=cells), ODS_TYPE)


def test_a_pdf_of_a_hundred_thousand_pages_is_refused(tmp_path):
    path = documents.make_pdf_of_many_pages(tmp_path / "many.pdf", pages=100_000)
    failed = _failure(path, "application/pdf")
    assert failed.code == "too_many_pages"
    assert "100,000 pages" in failed.message


def test_a_page_tree_of_few_bytes_is_read_as_far_as_allowed(tmp_path):
    path = documents.make_pdf_of_many_pages(tmp_path / "many.pdf", pages=3_000)
    assert _extract(path, "application/pdf").count("Hello") == 3_000


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (documents.make_docx, DOCX_TYPE),
        (documents.make_pptx, PPTX_TYPE),
        (documents.make_xlsx, XLSX_TYPE),
        (lambda path: documents.make_pdf(path, pages=["Hello"]), "application/pdf"),
    ],
)
def test_a_file_that_was_cut_off_is_unreadable(tmp_path, make, content_type):
    path = make(tmp_path / "cut")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    assert _failure(path, content_type).code == "file_unreadable"


def _make_odt(path: Path) -> Path:
    cell = "<table:table-cell><text:p>x</text:p></table:table-cell>"
    table = f"<table:table><table:table-row>{cell}</table:table-row></table:table>"
    return documents.make_odf(path, "text", f"<text:h>a<text:s/></text:h>{table}")


def _make_rtf(path: Path) -> Path:
    path.write_bytes(
        rb"{\rtf1\ansi{\fonttbl{\f0\fcharset0 Arial;}}\f0 Hello caf\'e9 \u8364?\par"
        rb"\trowd A\cell B\cell\row\pard{\pict\bin5 abcde}\par}"
    )
    return path


def _make_tnef(path: Path) -> Path:
    parts = [(0x9003, bytes(4)), (0x800C, b"Words\0"), (0x9002, b""), (0x800F, b"attached")]
    path.write_bytes(
        b"\x78\x9f\x3e\x22\x01\x00"
        + b"".join(
            struct.pack("<BHHI", 1, number, 1, len(data)) + data + bytes(2)
            for number, data in parts
        )
    )
    return path


def _make_msg(path: Path) -> Path:
    streams = {"__properties_version1.0": bytes(32), "__substg1.0_1000001F": b"h\0i\0"}
    rtf = {"__substg1.0_10090102": b"12345678LZFu1234" + bytes(100)}
    path.write_bytes(documents.ole_bytes(streams | rtf))
    return path


def _make_latex(path: Path) -> Path:
    path.write_bytes(
        rb"\section{Intro} Hello \emph{world} \begin{itemize}\item one\end{itemize}"
        rb"\begin{tabular}{ll} a & b \\ 1 & 2 \end{tabular}\href{a}{b}"
    )
    return path


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (documents.make_docx, DOCX_TYPE),
        (documents.make_pptx, PPTX_TYPE),
        (documents.make_xlsx, XLSX_TYPE),
        (documents.make_ods, ODS_TYPE),
        (documents.make_epub, EPUB_TYPE),
        (documents.make_email, "message/rfc822"),
        (lambda path: documents.make_pdf(path, pages=["Hello"]), "application/pdf"),
        (_make_odt, "application/vnd.oasis.opendocument.text"),
        (_make_rtf, "text/rtf"),
        (_make_tnef, "application/vnd.ms-tnef"),
        (_make_msg, "application/vnd.ms-outlook"),
        (_make_latex, "text/x-tex"),
    ],
)
def test_flipped_bytes_give_text_or_a_clear_failure(tmp_path, make, content_type):
    path = make(tmp_path / "flipped")
    content = path.read_bytes()
    outcomes = []
    for seed in range(25):
        broken = bytearray(content)
        for turn in range(6):
            broken[zlib.crc32(b"%d %d" % (seed, turn)) % len(broken)] ^= 1 << turn
        path.write_bytes(broken)
        try:
            outcomes.append("text" if _extract(path, content_type) else "")
        except TaskFailed as failed:
            outcomes.append(failed.code)
    expected = {"text", "file_unreadable", "no_text", "type_not_supported"}
    assert set(outcomes) <= expected | {"file_encrypted", "archive_bomb"}


def test_long_gaps_in_a_page_are_narrowed_before_they_take_hours(tmp_path):
    path = tmp_path / "gaps.html"
    gap = " " * 1_000
    path.write_text(f"<pre>a{gap}b\n{gap}c  d</pre><!-- hidden{gap} --><p>e{gap * 1_000}f</p>")
    assert _extract(path, "text/html") == "```\na b\nc  d\n```\n\ne f\n"


def test_html_nested_without_end_still_gives_its_words(tmp_path):
    path = tmp_path / "deep.html"
    path.write_text("<html><body>" + "<div>" * 20_000 + "the words" + "</div>" * 20_000)
    assert "the words" in _extract(path, "text/html")


@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x09\x08\x10\x00"])
def test_a_broken_excel_97_workbook_is_unreadable(tmp_path, filler):
    path = tmp_path / "a.xls"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + filler * 2_000)
    assert _failure(path, "application/vnd.ms-excel").code == "file_unreadable"


@pytest.mark.parametrize("size", [13 * _MIB, 65 * _MIB])
def test_a_page_that_would_not_fit_in_memory_is_too_large(tmp_path, size):
    path = tmp_path / "large.html"
    path.write_bytes(b"<p>word</p>" * (size // 11))
    assert _failure(path, "text/html").code == "file_too_large"


def test_two_hundred_megabytes_of_text_take_little_memory(tmp_path):
    path = tmp_path / "large.csv"
    line = b"some,words,in,a,row,that,goes,on\n" * 32_768
    with path.open("wb") as target:
        for _ in range(200 * _MIB // len(line) + 1):
            target.write(line)
    script = (
        "import resource, sys\n"
        "from uploads.workflows.text import TextOptions, pieces\n"
        "options = TextOptions(max_rows=10_000_000)\n"
        "with open(sys.argv[1], 'rb') as source:\n"
        "    count = sum(len(piece.text) for piece in pieces(source=source,"
        " filename='a.txt', content_type='text/plain', options=options))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        # A process is charged with what the one had that it was forked from: a small one.
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    count, peak_kib = map(int, done.stdout.split())
    assert count == path.stat().st_size
    assert peak_kib * 1024 < 120 * _MIB


def test_no_converter_is_loaded_before_it_is_used():
    script = (
        "import sys, uploads.workflows.text\n"
        "heavy = {'pypdfium2', 'mammoth', 'pptx', 'python_calamine', 'bs4', 'lxml', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("make", "content_type"),
    [(documents.make_docx, DOCX_TYPE), (documents.make_xlsx, XLSX_TYPE)],
)
def test_nothing_is_left_in_the_folder(tmp_path, make, content_type):
    path = make(tmp_path / "a")
    assert _extract(path, content_type)
    assert list(tmp_path.iterdir()) == [path]
