"""The committed main.css belongs to the templates and to input.css."""

import re
from pathlib import Path

from django.conf import settings

CSS = settings.BASE_DIR / "static" / "css"
RECOMPILE = "static/css/main.css is stale: run `make css`."


def compiled_classes() -> set[str]:
    css = re.sub(r'"[^"]*"|/\*.*?\*/', "", (CSS / "main.css").read_text(), flags=re.DOTALL)
    names = re.findall(r"\.((?:\\.|[A-Za-z_-])(?:\\.|[\w-])*)", css)
    return {re.sub(r"\\(.)", r"\1", name) for name in names}


def template_classes(text: str) -> set[str]:
    plain = re.findall(r'\sclass="((?:{%.*?%}|[^"])*)"', text)
    return {token for value in plain for token in re.sub(r"{%.*?%}", " ", value).split()}


def pages() -> list[Path]:
    """All but the admin's, which have Django's own style sheet."""
    folder = settings.BASE_DIR / "templates"
    return sorted(page for page in folder.rglob("*.*") if folder / "admin" not in page.parents)


def test_every_class_of_the_templates_is_compiled():
    used = {name for page in pages() for name in template_classes(page.read_text())}
    assert len(used) > 100
    assert used - compiled_classes() == set(), RECOMPILE


def test_every_class_and_colour_of_the_source_is_compiled():
    source = re.sub(r"/\*.*?\*/", "", (CSS / "input.css").read_text(), flags=re.DOTALL)
    components = set(re.findall(r"\.([a-z][\w-]*)", source)) - {"css"}
    assert components - compiled_classes() == set(), RECOMPILE
    compact = re.sub(r"\s", "", (CSS / "main.css").read_text())
    used = set(re.findall(r"var\((--[\w-]+)\)", source))
    assert {name for name in used if f"{name}:" not in compact} == set(), RECOMPILE


def test_no_class_is_left_that_nothing_uses():
    sources = [CSS / "input.css", *pages()]
    words = {
        word for source in sources for word in re.split(r"[\s\"'.{};,:()]+", source.read_text())
    } | {name for page in pages() for name in template_classes(page.read_text())}
    own = {name for name in compiled_classes() if not re.fullmatch(r"\d.*", name)}
    assert own - words == set(), RECOMPILE


def test_scripts_carry_no_classes_that_the_compiler_would_miss():
    for script in (settings.BASE_DIR / "static" / "js").rglob("*.js"):
        assert not re.search(r"classList|className", script.read_text()), script
