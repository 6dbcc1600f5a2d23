"""What is in office documents beside their main text."""

import io
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, PPTX_TYPE, XLSX_TYPE
from uploads.workflows.text import pieces

_NAMES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
)
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def _read(path: Path, content_type: str) -> tuple[str, list[str]]:
    warnings: list[str] = []
    found = pieces(
        source=io.BytesIO(path.read_bytes()),
        filename=path.name,
        content_type=content_type,
        warn=warnings.append,
    )
    return "".join(piece.text for piece in found), warnings


def _docx(folder: Path, body: str, parts: dict[str, tuple[str, str]] | None = None) -> Path:
    """A document with this body; `parts` are kind and content of others, by relation and name."""
    path = documents.make_docx(folder / "a.docx")
    document = f"<w:document {_NAMES}><w:body>{body}</w:body></w:document>"
    documents.replace_entry(path, "word/document.xml", document)
    relations = ""
    for target, (kind, content) in (parts or {}).items():
        documents.replace_entry(path, f"word/{target}", content)
        identifier = target.partition(".")[0]
        relations += f'<Relationship Id="{identifier}" Type="{_RELATION}{kind}" Target="{target}"/>'
    return documents.replace_in(
        path,
        "word/_rels/document.xml.rels",
        b"</Relationships>",
        f"{relations}</Relationships>".encode(),
    )


def _paragraph(inner: str) -> str:
    return f"<w:p>{inner}</w:p>"


def _words(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def _math(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (
            f"<m:f><m:num>{_math('a+b')}</m:num><m:den>{_math('2')}</m:den></m:f>",
            r"\frac{a+b}{2}",
        ),
        (
            f"<m:sSup><m:e>{_math('x')}</m:e><m:sup>{_math('2')}</m:sup></m:sSup>{_math('+1')}",
            "x^{2}+1",
        ),
        (
            f"<m:rad><m:radPr><m:degHide/></m:radPr><m:deg/><m:e>{_math('π')}</m:e></m:rad>",
            r"\sqrt{π}",
        ),
        (
            f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{_math("i=1")}</m:sub>'
            f"<m:sup>{_math('n')}</m:sup><m:e>{_math('i')}</m:e></m:nary>",
            r"\sum_{i=1}^{n} i",
        ),
        (
            f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e><m:m><m:mr><m:e>'
            f"{_math('1')}</m:e><m:e>{_math('2')}</m:e></m:mr></m:m></m:e></m:d>",
            r"\left[\begin{matrix}1 & 2\end{matrix}\right]",
        ),
        (
            f"<m:func><m:fName>{_math('sin')}{_math(chr(0x2061))}</m:fName><m:e>{_math('x')}</m:e></m:func>",
            r"\sin x",
        ),
    ],
)
def test_formulas_become_latex(tmp_path, formula, expected):
    body = _paragraph(f"{_words('So ')}<m:oMath>{formula}</m:oMath>{_words(' holds.')}")
    body += _paragraph(f"<m:oMathPara><m:oMath>{formula}</m:oMath></m:oMathPara>")
    text, warnings = _read(_docx(tmp_path, body), DOCX_TYPE)
    assert text == f"So ${expected}$ holds.\n\n$${expected}$$\n"
    assert warnings == []


def test_ruby_keeps_its_base_and_its_reading(tmp_path):
    ruby = (
        f"<w:r><w:ruby><w:rubyPr/><w:rt>{_words('かんじ')}</w:rt><w:rubyBase>{_words('漢字')}"
        "</w:rubyBase></w:ruby></w:r>"
    )
    text, _warnings = _read(_docx(tmp_path, _paragraph(_words("これは") + ruby)), DOCX_TYPE)
    assert text == "これは漢字(かんじ)\n"


def test_checkboxes_and_simple_fields_keep_what_is_in_them(tmp_path):
    def box(state: str, label: str) -> str:
        return _paragraph(
            f'<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val="{state}"/></w14:checkbox>'
            f"</w:sdtPr><w:sdtContent>{_words('☐')}</w:sdtContent></w:sdt>{_words(f' {label}')}"
        )

    field = f'<w:fldSimple w:instr="DATE">{_words("1 May")}</w:fldSimple>'
    body = box("1", "paid") + box("0", "sent") + _paragraph(_words("On ") + field)
    text, _warnings = _read(_docx(tmp_path, body), DOCX_TYPE)
    assert text == "[x] paid\n\n[ ] sent\n\nOn 1 May\n"


def test_text_boxes_charts_diagrams_and_embedded_documents_are_read_where_they_are(tmp_path):
    box = (
        "<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx><w:txbxContent>"
        f"{_paragraph(_words('in the box'))}</w:txbxContent></wps:txbx></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict>{_paragraph(_words('in the box'))}</w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    chart = "<w:r><w:drawing><c:chart r:id='chart1'/></w:drawing></w:r>"
    diagram = "<w:r><w:drawing><dgm:relIds r:dm='data1'/></w:drawing></w:r>"
    series = (
        "<c:ser><c:tx><c:v>Crates</c:v></c:tx><c:cat><c:strLit><c:pt idx='0'><c:v>East</c:v></c:pt>"
        "</c:strLit></c:cat><c:val><c:numLit><c:pt idx='0'><c:v>4.2999999999999998</c:v></c:pt>"
        "</c:numLit></c:val></c:ser>"
    )
    body = (
        _paragraph(_words("before") + box + chart + diagram)
        + "<w:altChunk r:id='chunk1'/>"
        + _paragraph(_words("after"))
    )
    parts = {
        "chart1.xml": (
            "chart",
            f"<c:chartSpace {_NAMES}><c:chart><c:plotArea><c:area3DChart>{series}</c:area3DChart>"
            "</c:plotArea></c:chart></c:chartSpace>",
        ),
        "data1.xml": (
            "diagramData",
            f"<dgm:dataModel {_NAMES}><dgm:pt><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p></dgm:t>"
            "</dgm:pt></dgm:dataModel>",
        ),
        "chunk1.html": ("aFChunk", "<h2>Pasted</h2><p>from a page</p>"),
    }
    text, warnings = _read(_docx(tmp_path, body, parts), DOCX_TYPE)
    assert warnings == []
    assert text.count("in the box") == 1
    assert "|  | Crates |\n| --- | --- |\n| East | 4.3 |\n" in text
    assert "- Plan\n" in text
    assert "## Pasted\n\nfrom a page\n\nafter\n" in text
    assert text.startswith("before\n\n")


def test_an_embedded_document_that_cannot_be_read_costs_its_place(tmp_path):
    body = _paragraph(_words("before")) + "<w:altChunk r:id='none'/>" + _paragraph(_words("after"))
    text, warnings = _read(_docx(tmp_path, body), DOCX_TYPE)
    assert warnings == ["An embedded document could not be read."]
    assert text == "before\n\n*An embedded document could not be read.*\n\nafter\n"


def test_headers_come_before_the_text_and_footers_behind_it_each_once(tmp_path):
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "ACME confidential"
    document.sections[0].footer.paragraphs[0].text = "Page 1"
    document.add_paragraph("The text.")
    section = document.add_section()
    section.header.is_linked_to_previous = False
    section.header.paragraphs[0].text = "ACME confidential"
    section.footer.is_linked_to_previous = False
    section.footer.paragraphs[0].text = "7"
    document.save(tmp_path / "a.docx")
    text, warnings = _read(tmp_path / "a.docx", DOCX_TYPE)
    assert text == "ACME confidential\n\nThe text.\n\nPage 1\n"
    assert warnings == []


def test_a_document_of_a_header_alone_has_text(tmp_path):
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Letterhead"
    document.save(tmp_path / "a.docx")
    assert _read(tmp_path / "a.docx", DOCX_TYPE)[0] == "Letterhead\n"


def test_comments_of_a_word_document_are_read(tmp_path):
    document = docx.Document()
    paragraph = document.add_paragraph("Ten crates.")
    document.add_comment(paragraph.runs, text="Really ten?", author="Ada", initials="AL")
    document.save(tmp_path / "a.docx")
    text, _warnings = _read(tmp_path / "a.docx", DOCX_TYPE)
    assert text == "Ten crates.[AL1]\n\n**Comment [AL1]:** Really ten?\n"


def test_what_mammoth_stumbles_at_costs_the_layout_and_not_the_words(tmp_path):
    body = (
        _paragraph(_words("one"))
        + "<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='wide'/></w:tcPr>"
        + _paragraph(_words("two"))
        + "</w:tc></w:tr></w:tbl>"
    )
    text, warnings = _read(_docx(tmp_path, body), DOCX_TYPE)
    assert text == "one\n\ntwo\n"
    assert warnings == ["The document's layout could not be read; only its words were."]
    lost = _paragraph(f"<w:hyperlink r:id='gone'>{_words('linked')}</w:hyperlink>")
    assert _read(_docx(tmp_path, lost), DOCX_TYPE) == ("linked\n", [])


def test_a_presentation_gives_comments_diagrams_and_what_pictures_show(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Plan"
    picture = slide.shapes.add_picture(io.BytesIO(documents.image_bytes("PNG", (8, 8))), 0, 0)
    picture._element.nvPicPr.cNvPr.set("descr", "A tree in blossom")
    path = tmp_path / "a.pptx"
    deck.save(path)
    comments = (
        '<p:cmLst xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main">'
        '<p:cm authorId="0"><p:text>Make it shorter</p:text></p:cm></p:cmLst>'
    )
    documents.replace_entry(path, "ppt/comments/comment1.xml", comments)
    square = f"<m:sSup><m:e>{_math('x')}</m:e><m:sup>{_math('2')}</m:sup></m:sSup>"
    formula = f"</a:r><m:oMath {_NAMES}>{square}</m:oMath>"
    documents.replace_in(path, "ppt/slides/slide1", b"</a:r>", formula.encode())
    relation = (
        f'<Relationship Id="c" Type="{_RELATION}comments" Target="../comments/comment1.xml"/>'
    )
    documents.replace_in(
        path, "ppt/slides/_rels/", b"</Relationships>", f"{relation}</Relationships>".encode()
    )
    text, warnings = _read(path, PPTX_TYPE)
    assert text.startswith("## Slide 1: Plan$x^{2}$\n")
    assert "A tree in blossom" in text
    assert "**Comment:** Make it shorter" in text
    assert warnings == []


def test_fields_of_a_page_keep_what_is_entered_and_ticked(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(
        "<form><p>Name <input value='Ada'><input type=hidden value=token></p>"
        "<p><input type=checkbox checked> paid</p><p><input type=radio> later</p>"
        "<select><option>red<option selected>green</select><textarea>by noon</textarea></form>"
    )
    text, _warnings = _read(path, "text/html")
    assert text.split() == ["Name", "Ada", "[x]", "paid", "[", "]", "later", "green", "by", "noon"]


def test_a_workbook_gives_comments_text_boxes_and_titles_of_charts(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.active
    for line in (["month", "crates"], ["May", 4], ["June", 6]):
        sheet.append(line)
    sheet["B3"].comment = Comment("Counted twice", "Ada")
    chart = BarChart()
    chart.title = "Crates a month"
    chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=3), titles_from_data=True)
    sheet.add_chart(chart, "D2")
    book.create_sheet("Other").append(["plain"])
    path = tmp_path / "a.xlsx"
    book.save(path)
    box = (
        f"<xdr:twoCellAnchor><xdr:sp><xdr:txBody {_NAMES}><a:p><a:r><a:t>Mind the rain</a:t></a:r>"
        "</a:p></xdr:txBody></xdr:sp></xdr:twoCellAnchor>"
    )
    documents.replace_in(
        path,
        "xl/drawings/drawing",
        b"</wsDr>",
        f"{box}</wsDr>".replace("xdr:", "").encode(),
    )
    text, warnings = _read(path, XLSX_TYPE)
    assert warnings == []
    first, second = text.split("## Other")
    assert "| June | 6 |" in first
    assert "- **Comment on B3:** Counted twice" in first
    assert "Mind the rain" in first
    assert "**Chart:** Crates a month" in first
    assert "| plain |" in second


def test_a_sheet_that_is_missing_costs_a_workbook_that_sheet(tmp_path):
    path = documents.make_xlsx(tmp_path / "a.xlsx")
    documents.replace_in(path, "xl/_rels/", b"worksheets/sheet1.xml", b"worksheets/lost.xml")
    text, warnings = _read(path, XLSX_TYPE)
    assert warnings == ["Sheet 1 could not be read."]
    assert "## Second\n\n| only | TRUE |" in text
