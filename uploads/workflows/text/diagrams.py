"""SmartArt graphics of Office documents (ECMA-376 part 1, 21.4)."""

from uploads.workflows.text.drawing import drawn_text
from uploads.workflows.text.opc import Element, Package, named, relation_id


def diagram_text(package: Package, part: str, diagram: Element) -> str:
    """The words of a graphic that the part refers to, as a list."""
    data = package.root(package.relations(part)[relation_id(diagram, "dm")].target)
    points = [" ".join(text for _level, text in drawn_text(point)) for point in named(data, "pt")]
    return "\n".join(f"- {text}" for text in points if text)
