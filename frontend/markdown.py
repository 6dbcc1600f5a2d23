"""Markdown that somebody else wrote, as HTML that is safe to put into a page.

Two fences: the parser lets no HTML of the text through, and what it makes is sanitised.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

# Characters. Parsing takes a second or so for the worst of this length.
LONGEST = 65_536
_LEVELS_DOWN = 2  # below the page's h1 and the h2 of the text's own section

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


def render(text: str) -> SafeString:
    """Its HTML, without what is beyond `LONGEST` characters, and with words in place of images."""
    tokens = _parser.parse(text[:LONGEST])
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
    """Headings fit into the page's outline; a column's alignment is no inline style."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1]) + _LEVELS_DOWN)}"
    elif style := token.attrs.pop("style", ""):
        token.attrs["data-align"] = str(style).removeprefix("text-align:")


def _without_local_links(tag: str, attribute: str, value: str) -> str | None:
    """A relative link would lead to this portal's own pages: it is shown as its words."""
    is_local = (tag, attribute) == ("a", "href") and not urlsplit(value).scheme
    return None if is_local else value


def _image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Its words: fetching it would tell another server who reads this."""
    return escape(tokens[index].content)


def _table_open(*_: Any) -> str:
    return '<div tabindex="0" role="region" aria-label="Table"><table>'


def _table_close(*_: Any) -> str:
    return "</table></div>"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    # A definition that is long and used often would make megabytes out of kilobytes.
    parser.disable("reference")
    parser.add_render_rule("image", _image)
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    return parser


_parser = _make_parser()
