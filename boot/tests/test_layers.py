"""What import-linter cannot see: it knows a library as a whole, not its parts."""

import ast
import re

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


# --- One ledger ----------------------------------------------------------------------------------

_LEDGER = ROOT / "uploads" / "files" / "states.py"
_PRODUCT = [
    path
    for app in ("boot", "common", "accounts", "uploads", "frontend")
    for path in sorted((ROOT / app).rglob("*.py"))
    if "tests" not in path.parts and "migrations" not in path.parts and path != _LEDGER
]
_WRITES = {
    *("create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update"),
    *("change", "save", "delete", "_raw_delete"),
}
_SQL = re.compile(r"(insert\s+into|update(\s+only)?|delete\s+from)\s+\"?ingest_file\b", re.I)


def is_of_files(node, names):
    """Whether an expression is a file, or a queryset of files, as far as a module tells.

    `IngestFile.objects…`, `IngestFile(…)`, a batch's `….files`, or a name that was bound to one.
    """
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute) and node.attr == "files":
            return True
        inner = getattr(node, "func", None) or getattr(node, "value", None)
        if inner is None:
            return False
        node = inner
    return node.id == "IngestFile" or node.id in names


def names_of_files(tree):
    """The names that a module binds to files or querysets of them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            if "IngestFile" in ast.unparse(node.annotation):
                names.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and "IngestFile" in ast.unparse(node.annotation):
            names.add(ast.unparse(node.target))
    known = None
    while known != names:  # a name may be bound to what another is bound to
        known = set(names)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.For | ast.comprehension | ast.NamedExpr):
                value = node.iter if hasattr(node, "iter") else node.value
                targets = node.targets if hasattr(node, "targets") else [node.target]
                if is_of_files(value, names):
                    names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def writes_of_files(source):
    """The lines of a module that make, change or delete rows of files."""
    tree = ast.parse(source)
    names = names_of_files(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _SQL.search(node.value):
                yield node.lineno
        elif not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            continue
        elif isinstance(node.func, ast.Name):
            if node.func.id == "IngestFile":
                yield node.lineno
        elif node.func.attr in _WRITES and is_of_files(node.func.value, names):
            yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "IngestFile.objects.create(size_bytes=1)",
        "IngestFile.objects.filter(id=1).exclude(id=2).change(status='stored')",
        "IngestFile(size_bytes=1)",
        "due = IngestFile.objects.filter(id=1)\nsome = due[:5]\nsome.update(purged_at=None)",
        "for file in IngestFile.objects.all():\n    file.save()",
        "[file.delete() for file in IngestFile.objects.all()]",
        "def touch(file: IngestFile) -> None:\n    file.save(update_fields=['status'])",
        "def touch(files: QuerySet[IngestFile]) -> None:\n    files.reverse().update(status='x')",
        "batch.files.update(batch=None)",
        "cursor.execute('UPDATE ingest_file SET status = %s')",
    ],
)
def test_a_write_of_files_is_recognised(source):
    assert list(writes_of_files(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "IngestFile.objects.filter(id=1).first()",
        "UploadSession.objects.filter(file=file).update(status='x')",
        "def of(file: IngestFile) -> None:\n    UploadSession.objects.create(file=file)",
        "cursor.execute('SELECT 1 FROM ingest_file')",
    ],
)
def test_a_read_of_files_is_none(source):
    assert list(writes_of_files(source)) == []


def test_only_the_ledger_writes_files():
    writes = {
        str(path.relative_to(ROOT)): lines
        for path in _PRODUCT
        if (lines := list(writes_of_files(path.read_text())))
    }
    assert writes == {}
