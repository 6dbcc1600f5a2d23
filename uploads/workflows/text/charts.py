"""Charts of Office documents: the values that are kept with them, whatever draws them.

ECMA-376 part 1, 21.2; charts of newer kinds: [MS-ODRAWXML] 2.24.3.
"""

from collections.abc import Iterator
from itertools import groupby

from uploads.workflows.text.clean import one_line, row, table_head
from uploads.workflows.text.opc import Element, first, local, named

_POINTS_MAX = 100_000  # of a series
Points = dict[int, str]


def chart_markdown(root: Element) -> str:
    """The title, and a table of categories and values for each plot."""
    title = chart_title(root)
    tables = [*_plots(root), *_new_plots(root)]
    return "\n\n".join([*([f"**{title}**"] if title else []), *filter(None, tables)])


def chart_title(root: Element) -> str:
    title = first(root, "title")
    return "" if title is None else one_line("".join(text.text or "" for text in named(title, "t")))


def _plots(root: Element) -> Iterator[str]:
    for plot in root.iter("{*}plotArea"):
        for kind in plot:
            series = [_series(each) for each in kind if local(each) == "ser"]
            for _same, group in groupby(series, key=lambda each: each[1]):
                yield _table(list(group))


def _series(element: Element) -> tuple[str, Points, Points]:
    """Name, categories and values of a series."""
    parts = {local(child): child for child in element}
    name = one_line(" ".join(_points(parts.get("tx")).values()))
    return (
        name,
        _categories(parts.get("cat", parts.get("xVal"))),
        _points(parts.get("val", parts.get("yVal"))),
    )


def _categories(element: Element | None) -> Points:
    levels = [] if element is None else list(named(element, "lvl"))
    if not levels:
        return _points(element)
    inner = _points(levels[0])
    return {
        index: " / ".join([*(_above(outer, index) for outer in reversed(levels[1:])), text])
        for index, text in inner.items()
    }


def _above(level: Element, index: int) -> str:
    """The text of an outer level over a category: that of the nearest point before it."""
    points = _points(level)
    return points[max((at for at in points if at <= index), default=-1)] if points else ""


def _points(element: Element | None) -> Points:
    if element is None:
        return {}
    found: Points = {}
    for point in named(element, "pt"):
        index = point.get("idx", "")
        value = first(point, "v")
        text = (point.text if value is None else value.text) or ""
        if index.isdecimal() and len(found) < _POINTS_MAX:
            found[int(index)] = _shown(text)
    if not found and (value := first(element, "v")) is not None:
        found[0] = value.text or ""
    return found


def _new_plots(root: Element) -> Iterator[str]:
    for data in root.iter("{http://schemas.microsoft.com/office/drawing/2014/chartex}data"):
        texts = next((_categories(each) for each in data if local(each) == "strDim"), {})
        values = [("", texts, _points(each)) for each in data if local(each) == "numDim"]
        yield _table(values)


def _table(series: list[tuple[str, Points, Points]]) -> str:
    """A row for each category, a column for each series."""
    if not series:
        return ""
    categories = series[0][1]
    indices = sorted({*categories, *(index for _n, _c, values in series for index in values)})
    if not indices:
        return ""
    lines = [
        row([categories.get(index, ""), *(values.get(index, "") for _n, _c, values in series)])
        for index in indices
    ]
    return table_head(["", *(name for name, _c, _v in series)]) + "".join(lines)


def _shown(text: str) -> str:
    """A number as short as it is told exactly; other text, such as `#N/A`, as it is."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
