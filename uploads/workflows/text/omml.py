"""Formulas of Office documents as LaTeX (ECMA-376 part 1, 22.1).

Letters and symbols stay as they are in Unicode; only the structure is written in LaTeX.
"""

import re
from collections.abc import Callable

from uploads.workflows.text.opc import Element, first, local

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "%#&$_{}"} | {"\\": r"\backslash "})
_INVISIBLE = re.compile("[\u2061-\u2064]")  # operators that LaTeX has no need of
_FUNCTIONS = {
    *("arccos", "arcsin", "arctan", "cos", "cosh", "cot", "csc", "deg", "det", "dim", "exp"),
    *("gcd", "hom", "inf", "ker", "lg", "lim", "ln", "log", "max", "min", "sec", "sin", "sinh"),
    *("sup", "tan", "tanh"),
}
_OPERATORS = {
    "∑": r"\sum",
    "∏": r"\prod",
    "∐": r"\coprod",
    "∫": r"\int",
    "∬": r"\iint",
    "∭": r"\iiint",
    "∮": r"\oint",
    "\u22c3": r"\bigcup",
    "\u22c2": r"\bigcap",
}
_ACCENTS = {
    "\u0300": r"\grave",
    "\u0301": r"\acute",
    "\u0302": r"\hat",
    "\u0303": r"\tilde",
    "\u0304": r"\bar",
    "\u0305": r"\overline",
    "\u0307": r"\dot",
    "\u0308": r"\ddot",
    "\u030c": r"\check",
    "\u20d7": r"\vec",
}
_BRACKETS = {"{": r"\{", "}": r"\}", "‖": r"\|", "⟨": r"\langle ", "⟩": r"\rangle ", "": "."}


def latex(element: Element) -> str:
    """The LaTeX of an element and what is in it, without dollar signs."""
    return _MAKERS.get(local(element), _children)(element)


def _children(element: Element) -> str:
    return "".join(map(latex, element))


def _text(element: Element) -> str:
    return _INVISIBLE.sub("", element.text or "").translate(_SPECIAL)


def _nothing(_element: Element) -> str:
    return ""


def _part(element: Element, name: str) -> str:
    found = element.find(f"{{*}}{name}")
    return "" if found is None else latex(found).strip()


def _value(element: Element, name: str, default: str) -> str:
    """The `val` of a property; of one that is there without it, the empty text."""
    properties = next((child for child in element if local(child).endswith("Pr")), None)
    found = first(properties, name) if properties is not None else None
    if found is None:
        return default
    return next((value for key, value in found.attrib.items() if key.endswith("val")), "")


def _fraction(element: Element) -> str:
    top, bottom = _part(element, "num"), _part(element, "den")
    match _value(element, "type", "bar"):
        case "lin" | "skw":
            return f"{{{top}}}/{{{bottom}}}"
        case "noBar":
            return f"{{{top} \\atop {bottom}}}"
    return f"\\frac{{{top}}}{{{bottom}}}"


def _scripts(element: Element) -> str:
    lower, upper = _part(element, "sub"), _part(element, "sup")
    marks = (f"_{{{lower}}}" if lower else "") + (f"^{{{upper}}}" if upper else "")
    base = _part(element, "e")
    return f"{{}}{marks}{base}" if local(element) == "sPre" else f"{_whole(base)}{marks}"


def _whole(base: str) -> str:
    """The base of a script: in braces unless it is one sign or one command."""
    is_command = base.startswith("\\") and base[1:].isalpha()
    return base if len(base) == 1 or is_command else f"{{{base}}}"


def _root(element: Element) -> str:
    degree = _part(element, "deg")
    return f"\\sqrt{f'[{degree}]' if degree else ''}{{{_part(element, 'e')}}}"


def _sum(element: Element) -> str:
    sign = _value(element, "chr", "∫")
    lower, upper = _part(element, "sub"), _part(element, "sup")
    limits = (f"_{{{lower}}}" if lower else "") + (f"^{{{upper}}}" if upper else "")
    return f"{_OPERATORS.get(sign, sign)}{limits} {_part(element, 'e')}"


def _bracketed(element: Element) -> str:
    left, right = _value(element, "begChr", "("), _value(element, "endChr", ")")
    between = _value(element, "sepChr", "|")
    inner = between.join(latex(child).strip() for child in element if local(child) == "e")
    return f"\\left{_BRACKETS.get(left, left)}{inner}\\right{_BRACKETS.get(right, right)}"


def _function(element: Element) -> str:
    name = _part(element, "fName")
    word = name.rstrip("}").split("_")[0].split("^")[0].strip("{")
    if word in _FUNCTIONS:
        name = name.replace(word, f"\\{word}", 1)
    return f"{name} {_part(element, 'e')}"


def _limit(element: Element) -> str:
    mark = "_" if local(element) == "limLow" else "^"
    return f"{_whole(_part(element, 'e'))}{mark}{{{_part(element, 'lim')}}}"


def _matrix(element: Element) -> str:
    rows = [
        " & ".join(latex(cell).strip() for cell in line if local(cell) == "e")
        for line in element
        if local(line) == "mr"
    ]
    return f"\\begin{{matrix}}{r' \\ '.join(rows)}\\end{{matrix}}"


def _equations(element: Element) -> str:
    lines = [latex(line).strip() for line in element if local(line) == "e"]
    return f"\\begin{{aligned}}{r' \\ '.join(lines)}\\end{{aligned}}"


def _accent(element: Element) -> str:
    command = _ACCENTS.get(_value(element, "chr", "\u0302"), r"\hat")
    return f"{command}{{{_part(element, 'e')}}}"


def _bar(element: Element) -> str:
    command = r"\overline" if _value(element, "pos", "bot") == "top" else r"\underline"
    return f"{command}{{{_part(element, 'e')}}}"


_MAKERS: dict[str, Callable[[Element], str]] = {
    "t": _text,
    "f": _fraction,
    "sSup": _scripts,
    "sSub": _scripts,
    "sSubSup": _scripts,
    "sPre": _scripts,
    "rad": _root,
    "nary": _sum,
    "d": _bracketed,
    "func": _function,
    "limLow": _limit,
    "limUpp": _limit,
    "m": _matrix,
    "eqArr": _equations,
    "acc": _accent,
    "bar": _bar,
    "rPr": _nothing,
    "ctrlPr": _nothing,
    "del": _nothing,
}
