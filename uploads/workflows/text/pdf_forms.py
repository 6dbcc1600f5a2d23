"""What people filled in and wrote on a PDF's page: values of forms, notes and comments.

None of it is part of the page's own text (ISO 32000-1, 12.5 and 12.7).
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pypdfium2
from pypdfium2 import raw

from uploads.workflows.text.clean import one_line

_ANNOTATIONS_MAX = 5_000  # of a page
_CHARACTERS_MAX = 100_000  # of a value
_TEXTUAL = {
    raw.FPDF_FORMFIELD_TEXTFIELD,
    raw.FPDF_FORMFIELD_COMBOBOX,
    raw.FPDF_FORMFIELD_LISTBOX,
}
_SILENT = {raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_WIDGET}


@dataclass(frozen=True)
class _Annotation:
    handle: Any
    form: Any  # None in a document without a form

    @property
    def kind(self) -> int:
        return int(raw.FPDFAnnot_GetSubtype(self.handle))

    def contents(self) -> str:
        return _string(raw.FPDFAnnot_GetStringValue, self.handle, b"Contents")

    def field(self) -> str:
        """The line for a form's field; empty if nothing is filled in."""
        kind = raw.FPDFAnnot_GetFormFieldType(self.form, self.handle)
        value = one_line(_string(raw.FPDFAnnot_GetFormFieldValue, self.form, self.handle))
        if kind in _TEXTUAL:
            return f"- {self._label()}: {value}" if value else ""
        is_checked = bool(raw.FPDFAnnot_IsChecked(self.form, self.handle))
        if kind == raw.FPDF_FORMFIELD_CHECKBOX:
            return f"- [{'x' if is_checked else ' '}] {self._label()}"
        if kind == raw.FPDF_FORMFIELD_RADIOBUTTON and is_checked:
            return f"- {self._label()}: {value}"
        return ""

    def _label(self) -> str:
        """The name that the form's author chose for people, or else the field's own."""
        told = _string(raw.FPDFAnnot_GetFormFieldAlternateName, self.form, self.handle)
        name = _string(raw.FPDFAnnot_GetFormFieldName, self.form, self.handle)
        return one_line(told) or one_line(name).rpartition(".")[2]


def filled_in(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage) -> str:
    """Markdown of the page's fields and notes; empty if there are none."""
    fields: list[str] = []
    notes: list[str] = []
    for annotation in _annotations(document, page):
        if annotation.kind == raw.FPDF_ANNOT_WIDGET and annotation.form is not None:
            fields.append(annotation.field())
        elif annotation.kind not in _SILENT and (text := annotation.contents().strip()):
            is_typed = annotation.kind == raw.FPDF_ANNOT_FREETEXT
            notes.append(text if is_typed else f"**Comment:** {one_line(text)}")
    return "\n\n".join(filter(None, [*notes, "\n".join(filter(None, fields))]))


def _annotations(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage) -> Iterator[_Annotation]:
    count = min(raw.FPDFPage_GetAnnotCount(page), _ANNOTATIONS_MAX)
    for index in range(count):
        handle = raw.FPDFPage_GetAnnot(page, index)
        if not handle:
            continue
        try:
            yield _Annotation(handle, document.formenv)
        finally:
            raw.FPDFPage_CloseAnnot(handle)


def _string(read: Any, *of: Any) -> str:
    """A text from a function of PDFium that first tells its length in bytes, NUL included."""
    size = min(int(read(*of, None, 0)), _CHARACTERS_MAX * 2)
    if size <= 2:
        return ""
    text = ctypes.create_string_buffer(size)
    read(*of, ctypes.cast(text, ctypes.POINTER(ctypes.c_ushort)), size)
    return text.raw[: size - 2].decode("utf-16-le", "replace")
