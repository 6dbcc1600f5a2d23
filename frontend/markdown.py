"""Renders untrusted Markdown as HTML that is safe to put into a page.

There are two safeguards: the parser does not pass on HTML from the text, and the HTML that it
produces is sanitised. And there is a limit: a text that would take too long is not rendered.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import table
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

LONGEST = 65_536  # characters
# Steps of the parser, about 10 microseconds each. The densest real text, a table of 2,600 lines,
# takes 37,000; a text made to be slow would take 130,000 and more.
_MOST_STEPS = 40_000
_STEPS_OF_BLOCK = 3
_LEVELS_DOWN = 2  # headings move below the page's h1 and the section's h2

_TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "a"),
    *("h3", "h4", "h5", "h6", "ul", "ol", "li"),
    *("div", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "ol": {"start"},
    "th": {"data-align"},
    "td": {"data-align"},
    "div": {"tabindex", "role", "aria-label"},
}


class _TooManyStepsError(Exception):
    pass


class _Steps:
    """Counts the parser's steps. Unlike a time limit, this gives the same result each time."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _TooManyStepsError


def render(text: str) -> SafeString | None:
    """The HTML of `text`, with words in place of images; None if rendering would take too long."""
    if len(text) > LONGEST:
        return None
    try:
        tokens = _parser.parse(text, {"steps": _Steps()})
    except _TooManyStepsError:
        return None
    for token in tokens:
        _adapt(token)
    html: str = _parser.renderer.render(tokens, _parser.options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        attribute_filter=_without_local_links,
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(clean)  # noqa: S308  (sanitised above)


def _adapt(token: Token) -> None:
    """Lower headings to fit the page's outline; replace the inline style of aligned columns."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1]) + _LEVELS_DOWN)}"
    elif style := token.attrs.pop("style", ""):
        token.attrs["data-align"] = str(style).removeprefix("text-align:")


def _without_local_links(tag: str, attribute: str, value: str) -> str | None:
    """Drop relative links, which would lead to this portal's own pages; their words stay."""
    is_local = (tag, attribute) == ("a", "href") and not urlsplit(value).scheme
    return None if is_local else value


def _image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """The words of an image. Fetching the image would tell another server who reads the text."""
    return escape(tokens[index].content)


def adapt_tables(parser: MarkdownIt) -> None:
    """Let a wide table be scrolled by itself, with the keyboard too."""
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)


def _table_open(*_: Any) -> str:
    return '<div tabindex="0" role="region" aria-label="Table"><table>'


def _table_close(*_: Any) -> str:
    return "</table></div>"


def _count_block(state: StateBlock, _line: int, _end: int, _silent: bool) -> bool:
    state.env["steps"].take(_STEPS_OF_BLOCK)
    return False


def _count_inline(state: StateInline, _silent: bool) -> bool:
    state.env["steps"].take(1)
    return False


def _count_tokens(state: StateInline) -> None:
    """Count tokens too: a single step makes a token of each character in a run of asterisks."""
    state.env["steps"].take(len(state.tokens) // 2)


def _counted_table(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """Count a table's cells: it is made in one step, and few characters can make many cells."""
    if not table(state, line, end, True):
        return False
    if silent:
        return True
    columns = state.getLines(line + 1, line + 2, 0, False).count("|") + 1
    last = next((after for after in range(line, end) if state.isEmpty(after)), end)
    state.env["steps"].take(columns * (last - line))
    return table(state, line, end, False)


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    # A long reference that is used often would make megabytes out of kilobytes.
    parser.disable("reference")
    parser.block.ruler.at("table", _counted_table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before("table", "steps", _count_block)
    parser.inline.ruler.before("text", "steps", _count_inline)
    parser.inline.ruler2.before("balance_pairs", "steps", _count_tokens)
    parser.add_render_rule("image", _image)
    adapt_tables(parser)
    return parser


_parser = _make_parser()
