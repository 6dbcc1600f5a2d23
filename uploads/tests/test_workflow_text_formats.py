"""Text out of documents of every format that is supported."""

import io
from email.message import EmailMessage

import docx
import pptx
import pytest
from fpdf import FPDF
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, EPUB_TYPE, ODS_TYPE, PPTX_TYPE, XLSX_TYPE
from uploads.workflows.errors import TaskFailed
from uploads.workflows.text import TextOptions, pieces


def _found(content: bytes, filename: str, content_type: str, **options: object) -> list:
    return list(
        pieces(
            source=io.BytesIO(content),
            filename=filename,
            content_type=content_type,
            options=TextOptions(**options),
        )
    )


def _text(content: bytes, filename: str, content_type: str, **options: object) -> str:
    return "".join(piece.text for piece in _found(content, filename, content_type, **options))


def _failure(content: bytes, filename: str, content_type: str) -> TaskFailed:
    with pytest.raises(TaskFailed) as raised:
        _text(content, filename, content_type)
    return raised.value


def test_a_pdf_gives_paragraphs_and_visible_page_breaks(tmp_path):
    long = "The harvest began early in the year and went on for many weeks. " * 4
    path = documents.make_pdf(
        tmp_path / "a.pdf", pages=[f"{long}\n\nA second paragraph.", "Page number two."]
    )
    text = _text(path.read_bytes(), "a.pdf", "application/pdf")
    first, second = text.split("\n---\n\n*Page 2*\n\n")
    assert "weeks" in first
    assert first.strip().endswith("\n\nA second paragraph.")
    assert first.strip().count("\n\n") == 1
    assert second.strip() == "Page number two."


def test_a_pdf_keeps_the_cells_of_a_table_apart(tmp_path):
    pdf = FPDF()
    pdf.set_font("Helvetica", size=11)
    pdf.add_page()
    with pdf.table() as table:
        for line in (("Name", "Quantity"), ("Apple", "3"), ("Pear", "10")):
            row = table.row()
            for value in line:
                row.cell(value)
    text = _text(bytes(pdf.output()), "a.pdf", "application/pdf")
    assert text == "| Name | Quantity |\n| --- | --- |\n| Apple | 3 |\n| Pear | 10 |\n\n"


def test_a_pdf_tells_its_progress_page_by_page(tmp_path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["one", "two", "three", "four"])
    found = _found(path.read_bytes(), "a.pdf", "application/pdf")
    assert [piece.done for piece in found] == [0.25, 0.5, 0.75, 1.0]


def test_a_pdf_with_a_password_is_encrypted(tmp_path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["secret"], password="geheim")
    assert _failure(path.read_bytes(), "a.pdf", "application/pdf").code == "file_encrypted"


def test_a_pdf_of_images_has_no_text(tmp_path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["", ""])
    failed = _failure(path.read_bytes(), "a.pdf", "application/pdf")
    assert failed.code == "no_text"
    assert "text layer" in failed.message


def test_a_word_document_keeps_headings_lists_and_tables_without_its_pictures(tmp_path):
    path = documents.make_docx(tmp_path / "a.docx", picture=True)
    text = _text(path.read_bytes(), "a.docx", DOCX_TYPE)
    assert text.startswith("# Harvest report\n\nApples were plentiful this year.\n")
    assert "- sorted by hand" in text
    assert "| fruit | kilograms |" in text
    assert "| apple \\| red | 120 |" in text
    assert "base64" not in text


def test_a_word_documents_title_is_its_first_heading(tmp_path):
    document = docx.Document()
    document.add_heading("Annual report", level=0)
    document.add_heading("Harvest", level=1)
    document.save(tmp_path / "a.docx")
    text = _text((tmp_path / "a.docx").read_bytes(), "a.docx", DOCX_TYPE)
    assert text == "# Annual report\n\n# Harvest\n"


def test_a_presentation_gives_titles_lists_tables_and_notes(tmp_path):
    path = documents.make_pptx(tmp_path / "a.pptx")
    text = _text(path.read_bytes(), "a.pptx", PPTX_TYPE)
    assert text.index("## Slide 1: Where we are") < text.index("## Slide 2: Numbers")
    assert "- Uploads work\n  - Workflows are next" in text
    assert "**Notes:** Say thanks first." in text
    assert "| month | files |\n| --- | --- |\n| May | 1\\|200 |" in text


def test_a_presentations_chart_gives_its_numbers(tmp_path):
    deck = pptx.Presentation()
    numbers = CategoryChartData()
    numbers.categories = ["East", "West"]
    numbers.add_series("2025", (1.5, None))
    numbers.add_series("2026", (2, 3))
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    slide.shapes.add_chart(XL_CHART_TYPE.LINE, 0, 0, Inches(4), Inches(4), numbers)
    deck.save(tmp_path / "a.pptx")
    text = _text((tmp_path / "a.pptx").read_bytes(), "a.pptx", PPTX_TYPE)
    assert "|  | 2025 | 2026 |\n| --- | --- | --- |\n" in text
    assert "| East | 1.5 | 2 |\n| West |  | 3 |\n" in text


def test_a_workbook_gives_a_table_for_each_sheet(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx", rows=500)
    text = _text(path.read_bytes(), "a.xlsx", XLSX_TYPE)
    assert text.startswith("## Stock\n\n| item | count | price |\n| --- | --- | --- |\n")
    assert "| part 499 \\| A | 499 | 499.5 |" in text
    assert "## Second\n\n| only | TRUE |" in text


def test_a_workbook_says_where_rows_are_left_out(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx", rows=50)
    text = _text(path.read_bytes(), "a.xlsx", XLSX_TYPE, max_rows=10)
    assert "part 9 " in text
    assert "part 10 " not in text
    assert text.count("*Only the first 10 rows are shown.*") == 1


def test_an_opendocument_spreadsheet_is_a_table(tmp_path):
    path = documents.make_ods(tmp_path / "a.ods")
    text = _text(path.read_bytes(), "a.ods", ODS_TYPE)
    assert text.startswith("## Towns\n\n| city | 42 |")


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path):
    path = documents.make_epub(tmp_path / "a.epub")
    text = _text(path.read_bytes(), "a.epub", EPUB_TYPE)
    assert text.startswith("# A Small Book\n\n# Dawn\n\nIt began & went on.")
    assert text.index("Dawn") < text.index("Dusk")


def test_an_email_gives_headers_its_plain_text_and_a_list_of_attachments(tmp_path):
    path = documents.make_email(tmp_path / "a.eml")
    text = _text(path.read_bytes(), "a.eml", "message/rfc822")
    assert text.startswith("# Grüße aus Köln\n\n- **From:** Ada <ada@example.org>\n")
    assert "Hello Grace,\n\nsee the attachment." in text
    assert "| a\\|b.pdf | application/pdf | 8 |" in text


def test_an_email_gives_the_text_of_a_message_that_is_attached():
    inner = EmailMessage()
    inner["Subject"] = "The offer"
    inner.set_content("Ten crates of apples.")
    inner.add_attachment(b"x", maintype="application", subtype="pdf", filename="offer.pdf")
    outer = EmailMessage()
    outer["Subject"] = "Fwd"
    outer.set_content("See below.")
    outer.add_attachment(inner)
    text = _text(outer.as_bytes(), "a.eml", "message/rfc822")
    assert text.index("See below.") < text.index("## Attached message: The offer\n\n")
    assert "\n\nTen crates of apples.\n" in text
    assert "| offer.pdf | application/pdf | 1 |" in text


def test_a_page_loses_scripts_styles_and_dangerous_links():
    page = (
        "<html><head><title>Fruit</title><style>p {}</style></head><body><h2>Apples</h2>"
        "<p>red<p>green <script>steal()</script><a href='javascript:steal()'>click</a> "
        "<a href='https://example.org/'>more</a><img src='data:image/png;base64,AAAA' alt='pear'>"
        "<table><tr><th>a|b</th></tr><tr><td>1</td></tr></table></body></html>"
    )
    text = _text(page.encode(), "a.html", "text/html")
    assert text.startswith(
        "# Fruit\n\n## Apples\n\nred\n\ngreen click [more](https://example.org/)"
    )
    assert "steal" not in text
    assert "base64" not in text
    assert "pear" in text
    assert "| a\\|b |\n| --- |\n| 1 |" in text


def test_a_cell_that_spans_rows_leaves_the_others_in_their_columns():
    page = (
        b"<table><tr><th>Town</th><th>Year</th><th>Crates</th></tr>"
        b"<tr><td rowspan=2>Ulm</td><td>2025</td><td rowspan=2>7</td></tr>"
        b"<tr><td>2026</td></tr><tr><td>Jena</td><td>2026</td><td>5</td></tr></table>"
    )
    lines = _text(page, "a.html", "text/html").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells == [["Ulm", "2025", "7"], ["", "2026", ""], ["Jena", "2026", "5"]]


def test_a_page_is_read_in_the_encoding_that_it_declares():
    page = "<html><head><meta charset='windows-1251'></head><body>Привет</body></html>"
    assert "Привет" in _text(page.encode("cp1251"), "a.html", "text/html")
    page = "<html><head><meta charset='iso-2022-jp'></head><body>やあ</body></html>"
    assert "やあ" in _text(page.encode("iso2022_jp"), "a.html", "text/html")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_of_values_are_read_whatever_separates_them(delimiter):
    rows = [["name", "note"], ["Smith, John; Jr.", "a\nb"], ["x", 'say "hi"']]
    content = "\r\n".join(
        delimiter.join('"' + value.replace('"', '""') + '"' for value in row) for row in rows
    )
    text = _text(content.encode(), "a.csv", "text/csv")
    assert text == (
        '| name | note |\n| --- | --- |\n| Smith, John; Jr. | a b |\n| x | say "hi" |\n'
    )


def test_a_pipe_and_the_backslashes_before_it_stay_in_their_cell():
    text = _text(b"a,b\nx\\|y,z\n", "a.csv", "text/csv")
    assert "| x\\\\\\|y | z |" in text


def test_a_table_of_values_ends_at_the_limit_and_says_so():
    content = "n\n" + "\n".join(map(str, range(1000)))
    text = _text(content.encode(), "a.csv", "text/csv", max_rows=500)
    assert "| 499 |\n\n*Only the first 500 rows are shown.*" in text


def test_a_line_without_end_is_no_table_of_values():
    assert _failure(b"a," * 1_000_000, "a.csv", "text/csv").code == "file_unreadable"


def test_a_quote_that_does_not_end_is_no_table_of_values():
    content = b'"' + b"\n".join([b"x" * 900_000] * 12)
    assert _failure(content, "a.csv", "text/csv").code == "file_unreadable"


def test_a_zip_archive_is_listed_with_sizes_and_dates(tmp_path):
    path = documents.make_zip(tmp_path / "a.zip", {"one.txt": "abc", "dir/two.txt": "x" * 5000})
    text = _text(path.read_bytes(), "a.zip", "application/zip")
    assert "Entries: 2. Bytes when unpacked: 5,003." in text
    assert "| dir/two.txt | 5,000 | 20" in text


def test_a_bomb_is_listed_without_being_unpacked(tmp_path):
    path = documents.make_zip(tmp_path / "a.zip", {"one.txt": "abc"})
    documents.add_entry(path, "zeros", zeros=64 * 1024 * 1024)
    assert "| zeros | 67,108,864 |" in _text(path.read_bytes(), "a.zip", "application/zip")


def test_json_and_source_become_code_blocks():
    assert _text(b'{"a": 1}', "a.json", "application/json") == ('~~~~~~json\n{"a": 1}\n~~~~~~\n')
    assert _text(b"print()", "a.py", "text/plain").startswith("~~~~~~python\n")
    assert _text(b"<a/>", "data", "text/xml").startswith("~~~~~~xml\n")


def test_markdown_and_plain_text_stay_as_they_are():
    assert _text(b"# Hi\n\n*you*", "a.md", "text/plain") == "# Hi\n\n*you*"
    assert _text(b"one\r\ntwo\r", "a.txt", "text/plain") == "one\ntwo\n"


def test_text_longer_than_a_piece_is_whole_whatever_falls_on_its_edge():
    content = ("ä\r\n" * 100_000).encode()
    assert _text(content, "a.txt", "text/plain") == "ä\n" * 100_000


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "cp1251", "iso2022_jp"],
)
def test_texts_are_read_in_whichever_encoding_they_are(encoding):
    words = {
        "cp1251": "Сегодня хорошая погода, и мы идём гулять в парк. ",
        "iso2022_jp": "今日は良い天気ですね。",
        "cp1252": "Les élèves français étaient très contents à l'école. ",
    }.get(encoding, "Grüße €, naïve façade. ")
    assert _text((words * 20).encode(encoding), "a.txt", "text/plain") == words * 20


def test_nul_bytes_and_other_control_characters_are_left_out():
    assert _text(b"a\x00b\x1b[31mc\x08", "a.txt", "text/plain") == "ab[31mc"
    assert "\0" not in _text(b"a,b\x00\n1,2\n", "a.csv", "text/csv")


@pytest.mark.parametrize("content_type", ["application/x-empty", "inode/x-empty", "text/plain"])
def test_an_empty_file_has_no_text(content_type):
    assert _failure(b"", "a.txt", content_type).code == "no_text"


def test_white_space_alone_is_no_text():
    assert _failure(b" \n\t\n", "a.txt", "text/plain").code == "no_text"


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/zip", DOCX_TYPE])
@pytest.mark.parametrize("filename", ["a.docx", "a.xlsx", "a.txt", "a"])
def test_a_container_is_known_by_what_is_in_it(tmp_path, filename, content_type):
    path = documents.make_docx(tmp_path / "a.docx")
    assert _text(path.read_bytes(), filename, content_type).startswith("# Harvest report")


def test_a_pdf_named_as_a_text_is_read_as_a_pdf(tmp_path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["Hello"])
    assert _text(path.read_bytes(), "notes.txt", "application/pdf").strip() == "Hello"


def test_a_text_named_as_a_pdf_is_read_as_a_text():
    assert _text(b"just words", "report.pdf", "text/plain") == "just words"


def test_the_suffix_decides_between_kinds_of_text_only():
    assert _text(b"a;b\n1;2\n", "a.csv", "text/plain").startswith("| a | b |")
    assert _text(b"<p>hi</p>", "a.html", "text/plain") == "hi\n"
    assert _text(b"Subject: hi\n\nbody", "a.eml", "text/plain").startswith("# hi")
    assert _failure(b"\x7fELF\x02", "a.csv", "application/x-executable").code == (
        "type_not_supported"
    )


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\x00\x01\x02", "application/octet-stream"),
        (b"no RTF at all", "text/rtf"),
    ],
)
def test_other_types_are_refused_by_name(content, content_type):
    failed = _failure(content, "file.bin", content_type)
    assert failed.code == "type_not_supported"
    assert content_type in failed.message


def test_an_office_document_with_a_password_is_encrypted():
    content = (
        bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500) + "EncryptedPackage".encode("utf-16-le")
    )
    assert _failure(content, "a.docx", "application/encrypted").code == "file_encrypted"


def test_a_book_under_digital_rights_management_is_encrypted(tmp_path):
    path = documents.replace_entry(
        documents.make_epub(tmp_path / "a.epub"),
        "META-INF/encryption.xml",
        '<encryption><CipherReference URI="OPS/z.xhtml"/></encryption>',
    )
    assert _failure(path.read_bytes(), "a.epub", EPUB_TYPE).code == "file_encrypted"


def test_reading_may_stop_after_the_beginning(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx", rows=500)
    source = path.open("rb")
    found = pieces(
        source=source,
        filename="a.xlsx",
        content_type=XLSX_TYPE,
        options=TextOptions(folder=tmp_path),
    )
    with source:
        next(piece for piece in found if piece.text)
        found.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_pdf_gives_what_was_filled_in_and_written_on_it():
    form = (
        b"/AcroForm << /Fields [7 0 R 8 0 R 9 0 R] /NeedAppearances true /DA (/F1 12 Tf 0 g) "
        b"/DR << /Font << /F1 5 0 R >> >> >>"
    )
    box = b"<< /N << /Yes 4 0 R /Off 4 0 R >> >>"
    fields = [
        b"/Subtype /Widget /FT /Tx /T (a.name) /V (Ada Lovelace) /DA (/F1 12 Tf 0 g)",
        b"/Subtype /Widget /FT /Btn /T (n) /TU (Send me news) /V /Yes /AS /Yes /AP " + box,
        b"/Subtype /Widget /FT /Btn /T (gift) /V /Off /AS /Off /AP " + box,
        b"/Subtype /FreeText /Contents (Typed on the page) /DA (/F1 12 Tf 0 g)",
        b"/Subtype /Text /Contents (Please check this)",
    ]
    annotations = [
        b"<< /Type /Annot /Rect [50 400 300 420] /F 4 /P 3 0 R %s >>" % f for f in fields
    ]
    content = documents.pdf_page(
        b"BT /F1 12 Tf 50 700 Td (Order) Tj ET", more=form, annotations=annotations
    )
    assert _text(content, "a.pdf", "application/pdf") == (
        "Order\n\nTyped on the page\n\n**Comment:** Please check this\n\n"
        "- name: Ada Lovelace\n- [x] Send me news\n- [ ] gift\n"
    )
