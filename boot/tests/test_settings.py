import ast
import re
import shutil
import subprocess
import sys

import pytest

from boot import values
from boot.tests.portal import ROOT, clean_environment

_TREE = ast.parse((ROOT / "boot" / "settings.py").read_text())
_ENTRY = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def read_by_settings():
    """Names of the environment variables that boot/settings.py reads."""
    names = set()
    for node in ast.walk(_TREE):
        if isinstance(node, ast.Assign) and _is_value(node.value):
            names.add(_given_name(node.value) or node.targets[0].id)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
            names.add(node.args[0].value)
    return names


def _is_value(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("values.")


def _given_name(call):
    return next((k.value.value for k in call.keywords if k.arg == "environ_name"), None)


def listed():
    return dict(_ENTRY.findall((ROOT / ".env.example").read_text()))


def defaults():
    """(environment variable, kind, default) of Base's plain settings."""
    base = next(n for n in _TREE.body if isinstance(n, ast.ClassDef) and n.name == "Base")
    for node in base.body:
        if isinstance(node, ast.Assign) and _is_value(node.value):
            kind = node.value.func.attr
            if kind != "Directory":
                default = eval(ast.unparse(node.value.args[0]))  # noqa: S307  (our own source)
                yield _given_name(node.value) or node.targets[0].id, kind, default


def version_with(**environment):
    return subprocess.run(
        [sys.executable, ROOT / "doorito", "check"],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_env_example_lists_exactly_what_the_settings_read():
    assert set(listed()) == read_by_settings()


def test_nothing_but_the_settings_reads_configuration_from_the_environment():
    allowed = {"boot/settings.py", "boot/lifeline.py", "boot/supervisor.py", "boot/cli.py"}
    readers = {
        str(path.relative_to(ROOT))
        for app in ("boot", "common", "accounts", "uploads", "frontend")
        for path in (ROOT / app).rglob("*.py")
        if "tests" not in path.parts
        and re.search(r"os\.environ(?!\.setdefault)|getenv", path.read_text())
    }
    assert readers <= allowed


@pytest.mark.parametrize(("name", "kind", "default"), list(defaults()))
def test_env_example_states_the_default(name, kind, default):
    if kind == "Text":
        assert listed()[name] == default
    else:
        value = getattr(values, kind)(default, environ_name=name)
        assert value.to_python(listed()[name]) == default


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("WEB_PORT", "many", "a whole number"),
        ("PORTAL_REGISTRATION_OPEN", "perhaps", "true or false"),
        ("PORTAL_CHUNK_SIZE", "8 bananas", "a number of bytes"),
        ("PORTAL_RETRY_SCHEDULE", "0,soon", "a comma-separated list of whole numbers"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_line_that_names_the_setting(name, wrong, expected):
    refused = version_with(**{name: wrong})
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {name} must be {expected}")
    assert refused.stderr.count("\n") == 1


def test_env_file_counts_and_the_environment_wins(tmp_path):
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "tests")
    shutil.copytree(ROOT, clone, ignore=ignored)
    clone.joinpath(".env").write_text("DJANGO_ALLOWED_HOSTS=a.example,b.example\nWEB_PORT=8001\n")
    show = "from django.conf import settings; print(settings.ALLOWED_HOSTS, settings.WEB_PORT)"
    shown = subprocess.run(
        [sys.executable, "-c", f"import configurations; configurations.setup(); {show}"],
        cwd=clone,
        env=clean_environment()
        | {"DJANGO_SETTINGS_MODULE": "boot.settings", "DJANGO_CONFIGURATION": "Local"}
        | {"WEB_PORT": "8002", "DOORITO_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout == "['a.example', 'b.example'] 8002\n", shown.stderr


def test_a_database_other_than_postgresql_is_refused_by_name():
    refused = version_with(DATABASE_URL="sqlite:///x.db")
    assert refused.stderr == "Error: DATABASE_URL must be a postgresql:// address.\n"


def test_production_needs_a_secret_key_and_host_names():
    refused = version_with(DJANGO_CONFIGURATION="Production")
    assert refused.returncode == 1
    assert "DJANGO_SECRET_KEY must be set" in refused.stderr
    assert "DJANGO_ALLOWED_HOSTS must list" in refused.stderr
