"""Removes characters that cannot be stored or that would break a Markdown table."""

import re
from collections.abc import Iterable

# Control characters (PostgreSQL cannot store NUL) and lone surrogates (not valid in UTF-8).
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_PIPES = re.compile(r"(\\*)\|")


def clean(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text)


def one_line(text: str) -> str:
    return " ".join(text.split())


def cell(text: str) -> str:
    """The text of a table cell: on one line, pipes escaped."""
    text = one_line(text)
    return _PIPES.sub(r"\1\1\\|", text) if "|" in text else text


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell(value) for value in cells)} |\n"


def table_head(cells: list[str]) -> str:
    return row(cells) + "|" + " --- |" * len(cells) + "\n"
