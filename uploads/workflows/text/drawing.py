"""Text in drawings of Office documents: slides, diagrams, boxes on sheets (DrawingML)."""

from uploads.workflows.text.omml import latex
from uploads.workflows.text.opc import A, Element, M, local


def drawn_text(body: Element) -> list[tuple[int, str]]:
    """Level (from 0) and text of each paragraph of a text body that has text."""
    found = []
    for paragraph in body.iter(f"{A}p"):
        properties = paragraph.find(f"{A}pPr")
        level = properties.get("lvl", "0") if properties is not None else "0"
        parts = paragraph.iter(f"{A}t", f"{A}br", f"{A}tab", f"{M}oMath")
        if text := " ".join("".join(map(_part_text, parts)).split()):
            found.append((int(level) if level.isdecimal() else 0, text))
    return found


def _part_text(element: Element) -> str:
    match local(element):
        case "t":
            return element.text or ""
        case "oMath":
            return f"${latex(element).strip()}$"
    return " "
