"""LaTeX: headings, lists, formulas as they are written, and the text of the rest."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from pylatexenc.latex2text import (
    EnvironmentTextSpec,
    LatexNodes2Text,
    MacroTextSpec,
    get_default_latex_context_db,
)
from pylatexenc.latexwalker import LatexMacroNode, LatexSpecialsNode, LatexWalker, LatexWalkerError
from pylatexenc.latexwalker import get_default_latex_context_db as get_default_grammar
from pylatexenc.macrospec import std_macro

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import Job, Piece, check_fits_memory
from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.decoding import decoded

_CHARACTERS_MAX = 4 * 1024 * 1024
_BODY = re.compile(r"\\begin\s*\{document\}(.*?)(?:\\end\s*\{document\}|\Z)", re.DOTALL)
_TITLE = re.compile(r"\\title\s*(?:\[[^\]]*\])?\{([^{}]*)\}")
_FENCE = "~~~~~~"
_GAPS = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)* ?")
_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_ARGUMENTS = {"href": "{{", "caption": "[{"} | dict.fromkeys(_LEVELS, "*[{")
_LISTS = ("itemize", "enumerate", "description")
_TABLES = ("tabular", "tabularx", "tabular*", "longtable")


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "A LaTeX document")
    with decoded(source) as text:
        latex = text.read(_CHARACTERS_MAX + 1)
    if len(latex) > _CHARACTERS_MAX:
        raise TaskFailed(
            "file_too_large",
            f"A LaTeX document of more than {_CHARACTERS_MAX:,} characters cannot be converted.",
        )
    title = _TITLE.search(latex)
    body = _BODY.search(latex)
    shown = f"\\part{{{title[1]}}}\n" if title and body else ""
    yield Piece(_markdown(shown + (body[1] if body else latex), job), 1.0)


def _markdown(latex: str, job: Job) -> str:
    """As written, and a warning, where the library cannot follow it."""
    converter = LatexNodes2Text(
        latex_context=_context(), math_mode="verbatim", strict_latex_spaces=False
    )
    try:
        walker = LatexWalker(latex, latex_context=_grammar(), tolerant_parsing=True)
        text = converter.nodelist_to_text(walker.get_latex_nodes()[0])
    except (LatexWalkerError, LookupError, ValueError, TypeError, AttributeError):
        job.warn("The structure of the document could not be read; it is as it was written.")
        return f"{_FENCE}latex\n{latex}\n{_FENCE}\n"
    return f"{_GAPS.sub('\n\n', text).strip()}\n"


def _grammar() -> Any:
    """How many arguments commands take, where the library does not know it."""
    context = get_default_grammar()
    context.add_context_category(
        "more", prepend=True, macros=[*(std_macro(name, spec) for name, spec in _ARGUMENTS.items())]
    )
    return context


def _context() -> Any:
    context = get_default_latex_context_db()
    context.add_context_category(
        "markdown",
        prepend=True,
        macros=[
            *(
                MacroTextSpec(name, simplify_repl=_last(f"\n\n{'#' * max(1, level)} {{}}\n\n"))
                for level, name in enumerate(_LEVELS)
            ),
            MacroTextSpec("textbf", simplify_repl="**%s**"),
            MacroTextSpec("emph", simplify_repl="*%s*"),
            MacroTextSpec("textit", simplify_repl="*%s*"),
            MacroTextSpec("texttt", simplify_repl="`%s`"),
            MacroTextSpec("item", simplify_repl=_item),
            MacroTextSpec("maketitle", simplify_repl=""),
            MacroTextSpec("caption", simplify_repl=_last("\n\n{}\n\n")),
            MacroTextSpec("cite", simplify_repl=_last("[{}]")),
            MacroTextSpec("label", simplify_repl=""),
            MacroTextSpec("href", simplify_repl=_link),
            MacroTextSpec("hline", simplify_repl=""),
        ],
        environments=[
            *(EnvironmentTextSpec(name, simplify_repl="\n\n%s\n\n") for name in _LISTS),
            *(EnvironmentTextSpec(name, simplify_repl=_table) for name in _TABLES),
            *(
                EnvironmentTextSpec(name, simplify_repl=_verbatim)
                for name in ("verbatim", "lstlisting")
            ),
        ],
    )
    return context


def _last(shape: str) -> Any:
    """The text of the last argument, in its place in `shape`."""

    def made(node: Any, l2tobj: LatexNodes2Text) -> str:
        return shape.format(one_line(l2tobj.nodelist_to_text(node.nodeargd.argnlist[-1:])))

    return made


def _link(node: Any, l2tobj: LatexNodes2Text) -> str:
    arguments = [each for each in node.nodeargd.argnlist if each is not None]
    target, *words = (l2tobj.nodelist_to_text([each]) for each in arguments)
    return f"[{one_line(words[0])}]({target})" if words else target


def _item(node: Any, l2tobj: LatexNodes2Text) -> str:
    arguments = (
        [each for each in node.nodeargd.argnlist if each is not None] if node.nodeargd else []
    )
    label = one_line(l2tobj.nodelist_to_text(arguments)) if arguments else ""
    return f"\n- **{label}** " if label else "\n- "


def _table(node: Any, l2tobj: LatexNodes2Text) -> str:
    lines: list[list[str]] = [[""]]
    for each in node.nodelist:
        if each.isNodeType(LatexSpecialsNode) and each.specials_chars == "&":
            lines[-1].append("")
        elif each.isNodeType(LatexMacroNode) and each.macroname in (
            "\\",
            "tabularnewline",
        ):
            lines.append([""])
        else:
            lines[-1][-1] += l2tobj.node_to_text(each)
    rows = [list(map(one_line, line)) for line in lines if any(text.strip() for text in line)]
    if not rows:
        return ""
    width = max(map(len, rows))
    padded = [cells + [""] * (width - len(cells)) for cells in rows]
    return f"\n\n{table_head(padded[0])}{''.join(map(row, padded[1:]))}\n\n"


def _verbatim(node: Any) -> str:
    words = node.latex_verbatim()
    inner = re.sub(r"\A\\begin\{[^}]*\}(?:\[[^\]]*\])?|\\end\{[^}]*\}\Z", "", words)
    return f"\n\n{_FENCE}\n{inner.strip(chr(10))}\n{_FENCE}\n\n"
