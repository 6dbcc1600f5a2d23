"""What the text of the code tells, whatever the environment in which it runs."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings


class Setting(NamedTuple):
    name: str
    variable: str
    kind: str
    default: str  # as it is written
    configuration: str


class Receiver(NamedTuple):
    signal: str
    function: str
    module: str
    doc: str | None


class Module(NamedTuple):
    name: str
    doc: str | None
    functions: list[str]


_SETTINGS = ("settings", "portal_settings")


@cache
def settings_read() -> list[Setting]:
    """Those that are taken from the environment through `boot.values`."""
    trees = [_parsed(settings.BASE_DIR / "boot" / f"{name}.py") for name in _SETTINGS]
    return [
        _setting(statement, configuration.name)
        for tree in trees
        for configuration in tree.body
        if isinstance(configuration, ast.ClassDef)
        for statement in configuration.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and ast.unparse(statement.value.func).startswith("values.")
    ]


def default_of(name: str) -> str:
    return next(setting.default for setting in settings_read() if setting.name == name)


def _setting(statement: ast.Assign, configuration: str) -> Setting:
    call = statement.value
    assert isinstance(call, ast.Call)  # noqa: S101  (for mypy: the caller looked)
    name = ast.unparse(statement.targets[0])
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    kind = ast.unparse(call.func).removeprefix("values.")
    return Setting(
        name=name,
        variable=named.get("environ_name", name),
        kind=kind,
        default=ast.unparse(call.args[0]),
        configuration=configuration,
    )


def receivers(apps: tuple[str, ...]) -> Iterator[Receiver]:
    """Functions that are connected to a signal, of Django or Celery, where they are written."""
    for path in _product(apps):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.FunctionDef):
                for signal in _signals(node):
                    yield Receiver(signal, node.name, _module(path), ast.get_docstring(node))


def _signals(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr == "connect":
            yield ast.unparse(called.value).removeprefix("signals.")
        elif isinstance(decorator, ast.Call) and ast.unparse(called) == "receiver":
            yield ast.unparse(decorator.args[0])


def modules(*folders: str) -> Iterator[Module]:
    """Of each module in these folders (or of a single file): its docstring and public functions."""
    for folder in folders:
        place = settings.BASE_DIR / folder
        for path in [place] if place.suffix else sorted(place.glob("*.py")):
            tree = _parsed(path)
            functions = [
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            ]
            if functions:
                yield Module(_module(path), ast.get_docstring(tree), functions)


def _product(apps: tuple[str, ...]) -> Iterator[Path]:
    for app in apps:
        for path in sorted((settings.BASE_DIR / app).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(settings.BASE_DIR).parts):
                yield path


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(settings.BASE_DIR).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
