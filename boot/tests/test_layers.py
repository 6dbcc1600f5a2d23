"""What import-linter cannot see: it knows a library as a whole, not its parts."""

import ast

import pytest

from boot.tests.portal import ROOT

_WITHOUT_HTTP = [
    path
    for folder in (
        "common/models",
        "common/net",
        "common/outbox",
        "uploads/files",
        "uploads/receiving",
        "uploads/models",
        "uploads/storage",
    )
    for path in sorted((ROOT / folder).glob("*.py"))
] + [ROOT / "accounts" / "services.py", ROOT / "accounts" / "models.py"]
_HTTP = ("django.http", "django.views", "django.shortcuts", "django.urls")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", _WITHOUT_HTTP, ids=lambda path: str(path.relative_to(ROOT)))
def test_services_know_no_http(path):
    assert [name for name in imported(path) if name.startswith(_HTTP)] == []
