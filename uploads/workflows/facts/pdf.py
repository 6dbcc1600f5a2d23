"""PDF, without its text."""

import re

import pypdfium2

from uploads.workflows.errors import TaskFailed
from uploads.workflows.facts.base import Facts, Subject, known
from uploads.workflows.text.base import reading
from uploads.workflows.text.pdf import open_pdf

_POINTS_PER_MM = 72 / 25.4
_NO_SECURITY = -1
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(Z|[+-]\d\d'\d\d)?.*")


def facts(subject: Subject) -> Facts:
    with reading("a PDF"):
        try:
            document = open_pdf(subject.source)
        except TaskFailed as exc:
            if exc.code == "file_encrypted":
                return {"encrypted": True}
            raise
        with document:
            said = document.get_metadata_dict(skip_empty=True)
            security = pypdfium2.raw.FPDF_GetSecurityHandlerRevision(document)
            return known(
                pages=len(document),
                first_page_mm=_page_size(document),
                encrypted=security != _NO_SECURITY,
                title=said.get("Title"),
                author=said.get("Author"),
                subject=said.get("Subject"),
                creator=said.get("Creator"),
                producer=said.get("Producer"),
                created=_date(said.get("CreationDate")),
                modified=_date(said.get("ModDate")),
            )


def _date(text: str | None) -> str | None:
    """Converts `D:20261121041826+01'00'` (ISO 32000-1, 7.9.4) to ISO 8601; others stay as is."""
    if text is None or (found := _DATE.fullmatch(text)) is None:
        return text
    year, month, day, hour, minute, second, zone = found.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{(zone or '').replace("'", ':')}"


def _page_size(document: pypdfium2.PdfDocument) -> list[float] | None:
    """Width and height of the first page as displayed, after rotation."""
    if len(document) == 0:
        return None
    return [round(points / _POINTS_PER_MM, 1) for points in document.get_page_size(0)]
