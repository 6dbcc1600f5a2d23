"""Sphinx: the manual as a site, `make docs`. A running portal has the same pages at /docs/."""

import re

from sphinx.application import Sphinx

project = "Doorito"
author = "The founders of Doorito"
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Doorito"
exclude_patterns = ["monitoring"]

_CHAPTER = re.compile(r"^## (.+)$")
_ENTRY = re.compile(r"^- \[.+?\]\((\w+)\.md\)")


_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./\w+\.md\)")


def _leave_out_links_outside(_app: Sphinx, _name: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(r"\1", source[0])


def _add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Give the index, which is a plain page of links for everybody else, its tables of contents."""
    if name != "index":
        return
    chapters: list[list[str]] = []
    for line in source[0].splitlines():
        if chapter := _CHAPTER.match(line):
            chapters.append(["```{toctree}", ":hidden:", f":caption: {chapter[1]}", ""])
        elif entry := _ENTRY.match(line):
            chapters[-1].append(entry[1])
    source[0] += "".join("\n" + "\n".join([*lines, "```", ""]) for lines in chapters)


def setup(app: Sphinx) -> None:
    app.connect("source-read", _leave_out_links_outside)
    app.connect("source-read", _add_contents)
