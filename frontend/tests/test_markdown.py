"""Markdown of strangers, in a page of ours."""

import re
import sys
from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Self

import pytest

from frontend.markdown import LONGEST, render


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and *soft* and ~~gone~~", "<p><strong>bold</strong> and <em>soft</em> and <s>"),
        ("- one\n- two", "<li>two</li>"),
        ("3. three", '<ol start="3">'),
        ("> said", "<blockquote>"),
        ("```python\nx < 1\n```", "<pre><code>x &lt; 1\n</code></pre>"),
        ("a | b\n--|--:\n1 | 2", '<td data-align="right">2</td>'),
        ("line\n\n---\n\nline", "<hr>"),
    ],
)
def test_markdown_becomes_html(text: str, html: str):
    assert html in render(text)


def test_headings_leave_the_first_two_levels_to_the_page():
    html = render("\n\n".join(f"{'#' * level} h" for level in range(1, 7)))
    assert re.findall(r"<h(\d)>", html) == ["3", "4", "5", "6", "6", "6"]


def test_a_wide_table_scrolls_by_itself_and_by_the_keyboard():
    assert '<div tabindex="0" role="region" aria-label="Table"><table>' in render("a|b\n-|-\n1|2")


def test_links_lead_out_without_telling_where_from_and_without_weight():
    html = render('[docs](https://docs.example.org/a?b=1 "Title") <mailto:ada@example.org>')
    assert 'href="https://docs.example.org/a?b=1"' in html
    assert 'href="mailto:ada@example.org"' in html
    assert html.count('rel="nofollow noopener noreferrer"') == 2


@pytest.mark.parametrize("target", ["/app/logout/", "//evil.example/", "#main", "other.md"])
def test_links_within_the_text_do_not_lead_into_the_portal(target: str):
    html = render(f"[words]({target})")
    assert "href" not in html
    assert "words" in html


@pytest.mark.parametrize("target", ["https://evil.example/pixel.gif", "/app/", "data:image/gif,x"])
def test_images_are_not_fetched_only_named(target: str):
    html = render(f'![a "<b>chart</b>"]({target})')
    assert "<img" not in html
    assert "<b>" not in html
    assert "chart" in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "<iframe src='https://evil.example'></iframe>",
        "<div style='position:fixed'>x</div>",
        "<form action='/app/logout/'><button>x</button></form>",
        "<details open ontoggle=alert(1)>",
        "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#x0A;script:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](vbscript:msgbox(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](\x01javascript:alert(1))",
        "<javascript:alert(1)>",
        '[x]( https://a.example/"onmouseover=alert(1)// )',
        "[x](https://a.example 'y\" onmouseover=\"alert(1)')",
        '![x](x"onerror=alert(1))',
        "```\n</code></pre><script>alert(1)</script>\n```",
        '```"><script>alert(1)</script>\nx\n```',
        "a|b\n-|-\n<script>alert(1)</script>|<td onclick=alert(1)>",
        "<!--><script>alert(1)</script>-->",
        "<![CDATA[><script>alert(1)</script>]]>",
        "`<script>alert(1)</script>`",
        "# <style>@import 'https://evil.example'</style>",
    ],
)
def test_nothing_of_it_is_executed(text: str):
    html = render(text)
    tags = re.findall(r"<[^>]*>", html)
    names = {re.match(r"</?([a-z0-9]*)", tag)[1] for tag in tags}
    assert names <= {"p", "a", "pre", "code", "div", "h3", "blockquote"} | {
        *("table", "thead", "tbody", "tr", "th", "td")
    }
    for tag in tags:
        attributes = re.sub(r'"[^"]*"', '""', tag)
        assert not re.search(r"\son\w+=|style=|class=|\sid=|src=", attributes), tag
        link = re.search(r'href="([^"]*)"', tag)
        assert link is None or link[1].startswith("https://a.example"), tag


def test_a_definition_does_not_multiply_the_text():
    text = f"[a]: https://a.example/{'u' * 30_000}\n\n" + "[a] " * 8_000
    html = render(text)
    assert html is None or len(html) < 2 * len(text)


def _long(piece: str, length: int = LONGEST) -> str:
    return (piece * (length // len(piece) + 1))[:length]


# Texts made to be slow, by about how many characters they are to have.
_SLOW: dict[str, Callable[[int], str]] = {
    piece: partial(_long, piece)
    for piece in [
        *("![", "[", "[a](", "[a", "[]", "](", "<a ", "<http://a", "&", "\\", "`", "` `` ", "``` "),
        *("*", "*a_ ", "**a ", "*_", "***a***", "_a", "a*", "~~a ", "# ", "> ", ">", "x\n>"),
        *("- ", "- a\n", "  - a\n", "1. ", "1. a\n", "a\n", "a\n=\n", "|a", "|\n", "a|b\n-|-\n"),
        *("a\\\n", "a  \n", "\n", "\t", "\x00"),
    ]
} | {
    "nested links": lambda length: "[" * (length // 2) + "]" * (length // 2),
    "nested images": lambda length: "![" * (length // 3) + "]" * (length // 3),
    "emphasis": lambda length: "*" * (length // 2) + "a" + "*" * (length // 2 - 1),
    "a tall table": lambda length: "a|b\n-|-\n" + "x\n" * (length // 2),
    "a wide table": lambda length: "\n".join("|".join(each * (length // 6)) for each in "a-b"),
    "a table that fills itself": lambda length: (
        "\n".join("|".join(each * 32) for each in "a-") + "\nx" * (length // 2 - 64)
    ),
    "quotes": lambda length: "\n".join(">" * depth for depth in range(isqrt(2 * length))),
    "backticks": lambda length: " ".join("`" * count for count in range(1, isqrt(2 * length))),
}


class _Work:
    """How many functions of Python began inside the block, and how many rounds loops went.

    Counted instead of timed: it is the same on a busy machine.
    """

    def __enter__(self) -> Self:
        self.steps = 0
        events = sys.monitoring.events.PY_START | sys.monitoring.events.JUMP
        sys.monitoring.use_tool_id(sys.monitoring.PROFILER_ID, "work")
        for event in (sys.monitoring.events.PY_START, sys.monitoring.events.JUMP):
            sys.monitoring.register_callback(sys.monitoring.PROFILER_ID, event, self._count)
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, events)
        return self

    def __exit__(self, *_: object) -> None:
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, 0)
        sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)

    def _count(self, *_: object) -> None:
        self.steps += 1


def _steps(text: str) -> int:
    with _Work() as work:
        render(text)
    return work.steps


@pytest.mark.parametrize("make", _SLOW.values(), ids=_SLOW)
def test_a_text_made_to_be_slow_takes_twice_the_work_for_twice_the_length(make):
    short, long = make(1_000), make(2_000)
    assert 1.9 < len(long) / len(short) < 2.1
    assert _steps(long) < 2.3 * _steps(short)


@pytest.mark.parametrize("name", [name for name in _SLOW if "table" in name])
def test_a_table_made_to_be_large_is_not_laid_out_or_makes_little_html(name: str):
    html = render(_SLOW[name](LONGEST - 10))
    assert html is None or len(html) < 10 * LONGEST


def test_work_that_grows_with_the_square_is_seen():
    def work(count: int) -> int:
        with _Work() as done:
            for outer in range(count):
                for _ in range(outer):
                    pass
        return done.steps

    assert work(200) > 3.5 * work(100)


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog, and then some more. " * 1000,
        "- **bold** [link](https://a.example/x) `code` *soft* and plain\n" * 1000,
        "a|b|c|d|e\n-|-|-|-|-\n" + "12|34|foo|bar|2026-01-01\n" * 2600,
        "# Heading\n\nA paragraph of some words.\n\n> quoted\n\n```\ncode\n```\n\n" * 850,
    ],
    ids=["prose", "list", "table", "document"],
)
def test_a_real_text_is_laid_out_up_to_the_full_length(text: str):
    assert LONGEST * 0.8 < len(text) <= LONGEST
    assert render(text)


def test_what_is_too_long_is_not_laid_out():
    assert render("a" * (LONGEST + 1)) is None
    assert render("a" * LONGEST) == f"<p>{'a' * LONGEST}</p>\n"
