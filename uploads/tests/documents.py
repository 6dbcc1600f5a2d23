"""Documents as people make them, and as attackers do."""

import io
import struct
import zlib
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import docx
import openpyxl
import pptx
from fpdf import FPDF
from PIL import Image
from pptx.util import Inches

DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"
EPUB_TYPE = "application/epub+zip"


def make_pdf(path: Path, *, pages: list[str], title: str = "", password: str = "") -> Path:
    """A page for each text, its paragraphs apart by blank lines; an empty text is a blank page."""
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    if title:
        pdf.set_title(title)
        pdf.set_author("Ada Lovelace")
    if password:
        pdf.set_encryption(owner_password="owner", user_password=password)
    for text in pages:
        pdf.add_page()
        for paragraph in filter(None, text.split("\n\n")):
            pdf.multi_cell(0, 6, paragraph, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(6)
    pdf.output(str(path))
    return path


def make_pdf_of_many_pages(path: Path, *, pages: int) -> Path:
    """Small: all entries of the page tree are one page object."""
    kids = b" ".join([b"3 0 R"] * pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (pages, kids),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length 38 >>\nstream\nBT /F1 12 Tf 10 50 Td (Hello) Tj ET   \nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    path.write_bytes(pdf_bytes(objects))
    return path


def pdf_bytes(objects: list[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1; the first is its catalog."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(out)


def pdf_page(content: bytes, *, more: bytes = b"", annotations: Sequence[bytes] = ()) -> bytes:
    """A PDF of one page, 600 by 800 points, with the fonts F1 (Helvetica) and F2 (its bold).

    `more` are entries of the catalog. Annotations are the objects from 7 on.
    """
    numbers = range(7, 7 + len(annotations))
    return pdf_bytes(
        [
            b"<< /Type /Catalog /Pages 2 0 R %s >>" % more,
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources "
            b"<< /Font << /F1 5 0 R /F2 6 0 R >> >> /Annots [%s] >>"
            % b" ".join(b"%d 0 R" % number for number in numbers),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold >>",
            *annotations,
        ]
    )


def make_docx(path: Path, *, picture: bool = False) -> Path:
    document = docx.Document()
    document.core_properties.title = "Harvest report"
    document.core_properties.author = "Grace Hopper"
    document.add_heading("Harvest report", level=1)
    document.add_paragraph("Apples were plentiful this year.")
    document.add_paragraph("sorted by hand", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells],
        ["fruit", "kilograms", "apple | red", "120"],
        strict=True,
    ):
        cell.text = text
    if picture:
        document.add_picture(io.BytesIO(image_bytes("PNG", (40, 30))))
    document.save(str(path))
    return path


def make_pptx(path: Path) -> Path:
    deck = pptx.Presentation()
    deck.core_properties.title = "Roadmap"
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Where we are"
    body = first.placeholders[1].text_frame
    body.text = "Uploads work"
    body.add_paragraph().text = "Workflows are next"
    body.paragraphs[1].level = 1
    first.notes_slide.notes_text_frame.text = "Say thanks first."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Numbers"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for index, text in enumerate(["month", "files", "May", "1|200"]):
        table.cell(index // 2, index % 2).text = text
    deck.save(str(path))
    return path


def make_xlsx(path: Path, *, rows: int = 2) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Stock"
    sheet.append(["item", "count", "price"])
    for number in range(rows):
        sheet.append([f"part {number} | A", number, number + 0.5])
    other = book.create_sheet("Second")
    other.append(["only", True])
    book.properties.title = "Stock list"
    book.save(str(path))
    return path


def make_ods(path: Path, *, cells: str = "") -> Path:
    """One table; `cells` is the XML of its rows."""
    rows = cells or (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>city</text:p>'
        '</table:table-cell><table:table-cell office:value-type="float" office:value="42">'
        "<text:p>42</text:p></table:table-cell></table:table-row>"
    )
    names = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office='
        f'"{names}:office:1.0" xmlns:table="{names}:table:1.0" xmlns:text="{names}:text:1.0">'
        f'<office:body><office:spreadsheet><table:table table:name="Towns">{rows}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        f'<manifest:manifest xmlns:manifest="{names}:manifest:1.0"><manifest:file-entry '
        f'manifest:full-path="/" manifest:media-type="{ODS_TYPE}"/></manifest:manifest>'
    )
    return make_zip(
        path,
        {"mimetype": ODS_TYPE, "content.xml": content, "META-INF/manifest.xml": manifest},
    )


def make_epub(path: Path) -> Path:
    """Two chapters; their names sort against their order."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Small Book</dc:title></metadata>'
        '<manifest><item id="a" href="a%20last.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="z" href="z.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="z"/><itemref idref="a"/></spine></package>'
    )
    page = "<html><body><h1>{}</h1><p>{}</p></body></html>"
    return make_zip(
        path,
        {
            "mimetype": EPUB_TYPE,
            "META-INF/container.xml": container,
            "OPS/book.opf": package,
            "OPS/z.xhtml": page.format("Dawn", "It began &amp; went on."),
            "OPS/a last.xhtml": page.format("Dusk", "It ended."),
        },
    )


def make_email(path: Path) -> Path:
    message = EmailMessage()
    message["Subject"] = "Grüße aus Köln"
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "grace@example.org"
    message["Date"] = "Fri, 20 Nov 2026 10:00:00 +0000"
    message.set_content("Hello Grace,\n\nsee the attachment.")
    message.add_alternative("<p>Hello <b>Grace</b></p>", subtype="html")
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="a|b.pdf")
    path.write_bytes(message.as_bytes())
    return path


def make_zip(path: Path, entries: dict[str, str | bytes]) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def add_entry(path: Path, name: str, *, zeros: int) -> Path:
    """An entry of so many bytes that take next to no place."""
    block = bytes(1024 * 1024)
    with (
        ZipFile(path, "a", ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        for _ in range(zeros // len(block)):
            entry.write(block)
    return path


def replace_entry(path: Path, name: str, content: str | bytes) -> Path:
    with ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    return make_zip(path, {**entries, name: content})


def lie_about_size(path: Path, name: str, *, size: int) -> Path:
    """Write another size of an unpacked entry into the archive's list."""
    content = bytearray(path.read_bytes())
    encoded = name.encode()
    at = content.find(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(encoded)] != encoded:
        at = content.index(b"PK\x01\x02", at + 1)
    struct.pack_into("<L", content, at + 24, size)  # APPNOTE.TXT 4.3.12
    path.write_bytes(content)
    return path


def image_bytes(kind: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.save(out, kind, **options)
    return out.getvalue()


def make_image_bomb(path: Path, *, side: int = 50_000) -> Path:
    """A PNG of a few bytes that says it is `side` pixels wide and high."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">L", zlib.crc32(name + body))
        return struct.pack(">L", len(body)) + name + body + check

    header = struct.pack(">LLBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


def replace_in(path: Path, folder: str, old: bytes, new: bytes) -> Path:
    """Replace bytes in the entries of an archive whose names begin so."""
    with ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    assert any(old in content for name, content in entries.items() if name.startswith(folder))
    return make_zip(
        path,
        {
            name: content.replace(old, new) if name.startswith(folder) else content
            for name, content in entries.items()
        },
    )


def ole_bytes(entries: dict[str, bytes]) -> bytes:
    """A container of Office 97 ([MS-CFB]) with these streams; a path has `/` between its names."""
    sector, cutoff, free, end = 512, 4096, 0xFFFFFFFF, 0xFFFFFFFE
    paths: list[str] = []
    for path in entries:
        names = path.split("/")
        paths += ["/".join(names[:count]) for count in range(1, len(names) + 1)]
    order = ["", *dict.fromkeys(paths)]
    body = bytearray()
    table: list[int] = []
    mini = bytearray()
    mini_table: list[int] = []

    def chain(content: bytes, unit: int, into: bytearray, links: list[int]) -> int:
        """Append the content; returns where it begins."""
        first = len(links)
        count = -(-len(content) // unit)
        into.extend(content.ljust(count * unit, b"\0"))
        links.extend([*range(first + 1, first + count), end] if count else [])
        return first if count else end

    places = {}
    for path, content in entries.items():
        small = len(content) < cutoff
        places[path] = chain(
            content,
            64 if small else sector,
            mini if small else body,
            mini_table if small else table,
        )
    mini_start = chain(bytes(mini), sector, body, table)
    packed_mini = b"".join(struct.pack("<I", each) for each in mini_table)
    mini_table_start = chain(packed_mini, sector, body, table)

    def entry(path: str) -> bytes:
        """Each folder's children hang on one another's right side."""
        siblings = [
            each for each in order[1:] if each.rpartition("/")[0] == path.rpartition("/")[0]
        ]
        children = [each for each in order[1:] if each.rpartition("/")[0] == path]
        at = siblings.index(path) if path else 0
        after = siblings[at + 1 : at + 2] if path else []
        name = (path.rpartition("/")[2] if path else "Root Entry").encode("utf-16-le") + b"\0\0"
        kind = 2 if path in entries else 1 if path else 5
        start, size = (places[path], len(entries[path])) if path in entries else (0, 0)
        if not path:
            start, size = mini_start, len(mini)
        return struct.pack(
            "<64sHBBIII16sIQQIQ",
            name,
            len(name),
            kind,
            1,
            free,
            order.index(after[0]) if after else free,
            order.index(children[0]) if children else free,
            bytes(16),
            0,
            0,
            0,
            start,
            size,
        )

    directory_start = chain(b"".join(map(entry, order)), sector, body, table)
    fat_count = 1
    while (len(table) + fat_count) * 4 > fat_count * sector:
        fat_count += 1
    fat_start = len(table)
    table += [0xFFFFFFFD] * fat_count
    fat = b"".join(struct.pack("<I", each) for each in table).ljust(fat_count * sector, b"\xff")
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIIII",
        bytes.fromhex("d0cf11e0a1b11ae1"),
        bytes(16),
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        bytes(6),
        0,
        fat_count,
        directory_start,
        0,
        cutoff,
        mini_table_start if mini_table else end,
        -(-len(packed_mini) // sector),
        end,
        0,
        fat_start,
    )
    difat = b"".join(struct.pack("<I", fat_start + each) for each in range(1, fat_count))
    return header + difat.ljust(512 - len(header), b"\xff") + bytes(body) + fat


def make_odf(path: Path, kind: str, body: str, *, entries: dict[str, str] | None = None) -> Path:
    """An OpenDocument file of a kind (`text`, `presentation`) with this XML as its body."""
    names = "urn:oasis:names:tc:opendocument:xmlns:"
    spaces = "".join(
        f' xmlns:{prefix}="{names}{name}:1.0"'
        for prefix, name in {
            "office": "office",
            "text": "text",
            "table": "table",
            "draw": "drawing",
            "style": "style",
            "presentation": "presentation",
        }.items()
    )
    content = (
        f'<office:document-content{spaces} xmlns:xlink="http://www.w3.org/1999/xlink">'
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    mimetype = f"application/vnd.oasis.opendocument.{kind}"
    return make_zip(path, {"mimetype": mimetype, "content.xml": content, **(entries or {})})
