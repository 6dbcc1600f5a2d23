"""Notebooks of Jupyter: text, code and what it printed (nbformat 3 and 4)."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory, reading
from uploads.workflows.text.html import html_to_markdown

_LABEL = "a notebook"
_FENCE = "~~~~~~"  # as in code blocks


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "A notebook")
    with reading(_LABEL):
        notebook = json.load(source)
        language = str(notebook.get("metadata", {}).get("language_info", {}).get("name", "python"))
        sheets = notebook.get("worksheets", [notebook])
        cells = [cell for sheet in sheets for cell in sheet.get("cells", [])]
        for number, cell in enumerate(cells, 1):
            text = job.attempt(f"Cell {number}", partial(_cell, cell, language))
            yield Piece(f"{text}\n\n" if text else "", number / len(cells))


def _cell(cell: dict[str, Any], language: str) -> str:
    source = _joined(cell.get("source", cell.get("input", ""))).strip("\n")
    match cell.get("cell_type"):
        case "markdown":
            return source
        case "heading":  # nbformat 3
            return f"{'#' * int(cell.get('level', 1))} {source}"
        case "code":
            outputs = [_output(each) for each in cell.get("outputs", [])]
            code = _block(source, language) if source.strip() else ""
            return "\n\n".join(filter(None, [code, *outputs]))
    return _block(source, "") if source.strip() else ""


def _output(output: dict[str, Any]) -> str:
    if output.get("output_type") in {"error", "pyerr"}:
        return _block(f"{output.get('ename', '')}: {output.get('evalue', '')}", "")
    shown = output.get("data", output)  # nbformat 3 has it in the output itself
    if "text/markdown" in shown:
        return _joined(shown["text/markdown"]).strip()
    if "text/html" in shown and "<table" in _joined(shown["text/html"]):
        return html_to_markdown(_joined(shown["text/html"])).strip()
    text = _joined(shown.get("text/plain", shown.get("text", ""))).strip("\n")
    return _block(text, "") if text.strip() else ""


def _block(text: str, language: str) -> str:
    return f"{_FENCE}{language}\n{text}\n{_FENCE}"


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
