import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boot import values
from boot.tests.portal import PRODUCTION, ROOT, clean_environment

_TREE = ast.parse(
    "\n".join((ROOT / "boot" / name).read_text() for name in ("settings.py", "portal_settings.py"))
)
_ENTRY = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def read_by_settings():
    """Names of the environment variables that the settings read."""
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
    shared = {"Base", "Portal"}
    classes = (n for n in _TREE.body if isinstance(n, ast.ClassDef) and n.name in shared)
    for node in (statement for each in classes for statement in each.body):
        if isinstance(node, ast.Assign) and _is_value(node.value):
            kind = node.value.func.attr
            if kind != "Directory":
                default = eval(ast.unparse(node.value.args[0]))  # noqa: S307  (our own source)
                yield _given_name(node.value) or node.targets[0].id, kind, default


def check_with(**environment):
    return check_in(ROOT, **environment)


def check_in(checkout, **environment):
    return subprocess.run(
        [sys.executable, checkout / "doorito", "check"],
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_env_example_lists_exactly_what_the_settings_read():
    assert set(listed()) == read_by_settings()


def test_nothing_but_the_settings_reads_configuration_from_the_environment():
    # What chooses the configuration, or hands one on, is no reader of it.
    handlers = {
        "backup/postgres",
        "configuration",
        "errors",
        "lifeline",
        "metrics_files",
        "secret_files",
        "supervisor",
    }
    allowed = {f"boot/{module}.py" for module in ("settings", *handlers)}
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


@pytest.mark.process
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
    refused = check_with(**{name: wrong})
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {name} must be {expected}")
    assert refused.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone") / "doorito"
    ignored = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "tests")
    shutil.copytree(ROOT, clone, ignore=ignored)
    return clone


def shown(clone, names, **environment):
    """Settings by name, as a process in another folder than the clone's has them."""
    show = "from django.conf import settings\n"
    show += f"print(*(getattr(settings, name) for name in {names!r}.split()))"
    done = subprocess.run(
        [sys.executable, "-c", f"from configurations import importer; importer.install(); {show}"],
        cwd=clone.parent,
        env=clean_environment()
        | {"DJANGO_SETTINGS_MODULE": "boot.settings", "DJANGO_CONFIGURATION": "Local"}
        | {"PYTHONPATH": str(clone), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout or done.stderr


@pytest.mark.process
def test_env_file_counts_and_the_environment_wins(clone):
    clone.joinpath(".env").write_text("DJANGO_ALLOWED_HOSTS=a.example,b.example\nWEB_PORT=8001\n")
    told = shown(clone, "ALLOWED_HOSTS WEB_PORT", WEB_PORT="8002")
    assert told == "['a.example', 'b.example'] 8002\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("export PORTAL_CURRENCY=EUR", "EUR"),
        ('PORTAL_CURRENCY="EUR" # of invoices', "EUR"),
        ("PORTAL_CURRENCY='E#R'", "E#R"),
        ("PORTAL_CURRENCY=E#$R", "E#$R"),
        ("PORTAL_CURRENCY = EUR # of invoices", "EUR"),
        ("PORTAL_CURRENCY=", "USD"),
        ("PORTAL_CURRENCY= # of invoices", "USD"),
        ("PORTAL_CURRENCY=# of invoices", "USD"),
        ("PORTAL_CURRENCY='# of invoices'", "# of invoices"),
        ("PORTAL_CURRENCY=#E", "#E"),
    ],
)
def test_env_file_is_read_as_a_shell_would(clone, line, value):
    clone.joinpath(".env").write_text(f"# The price\n\n{line}\n")
    assert shown(clone, "PORTAL_CURRENCY") == f"{value}\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"# The port\n\nWEB_PORT 8001\n", "Line 3 of {} cannot be read: write NAME=value."),
        (b"WEB_PORT\n", "Line 1 of {} cannot be read: write NAME=value."),
        (b"WEB_PORT='8001\n", "Line 1 of {} cannot be read: write NAME=value."),
        (b"PORTAL_CURRENCY=\xff\n", "{} is not UTF-8 text: save it as such."),
        (
            b"DJANGO_CONFIGURATION=Production\n",
            "DJANGO_CONFIGURATION cannot be set in {}: it decides what is read from there. "
            "Set it in the environment.",
        ),
    ],
)
def test_an_env_file_that_cannot_be_followed_is_refused_in_one_line(clone, content, told):
    clone.joinpath(".env").write_bytes(content)
    refused = check_in(clone)
    assert refused.stderr == f"Error: {told.format(clone / '.env')}\n"
    assert refused.returncode == 1


@pytest.mark.process
def test_a_misspelt_name_in_the_env_file_is_warned_of(clone):
    clone.joinpath(".env").write_text("WEB_PROT=1\nSECURE_HSTS_SECONDS=5\nMY_OWN=1\n")
    told = check_in(clone, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").stderr
    warning, error = told.splitlines()
    assert warning.endswith(".env sets WEB_PROT, which is no setting: is WEB_PORT meant?")
    assert error.startswith("Error: The database does not answer")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", ROOT / ".doorito"), ("here/data", ROOT / "here" / "data"), ("/srv/x", Path("/srv/x"))],
)
def test_a_relative_data_directory_starts_at_the_checkout(given, expected):
    folder = values.Directory(ROOT / ".doorito", environ_name="DOORITO_DATA_DIR")
    assert folder.to_python(given) == expected


@pytest.mark.parametrize(
    ("kind", "default"),
    [("Integer", 7), ("Boolean", True), ("Text", "x"), ("TextList", ["x"]), ("Size", 7)],
)
def test_empty_means_the_default_whatever_the_kind(kind, default):
    assert getattr(values, kind)(default, environ_name="X").to_python(" ") == default


@pytest.mark.process
@pytest.mark.parametrize(
    "address",
    [
        "garbage",
        "sqlite:///x.db",
        "postgresql://u:p@host:port/name",
        "postgresql://u:s3cret#x@host/name",
        "postgresql://u:s3cret[x@host/name",
        "postgresql://u:s3cret@host:5432/",
    ],
)
def test_a_database_address_that_cannot_be_used_is_refused_by_name(address):
    refused = check_with(DATABASE_URL=address)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: DATABASE_URL must be an address such as postgresql://")
    assert refused.stderr.count("\n") == 1
    assert "s3cret" not in refused.stderr


@pytest.mark.process
def test_an_unknown_option_of_the_database_address_is_refused_by_name():
    refused = check_with(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?colour=red")
    assert refused.stderr == (
        'Error: DATABASE_URL cannot be used: invalid connection option "colour"\n'
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DJANGO_CONFIGURATION", "Nope", "must be Local, Dev, Production or Test, not 'Nope'."),
        ("PORTAL_EXTRA_APPS", "no_such_app", "names no_such_app, and no such module is installed."),
        ("DOORITO_DATA_DIR", "~nobody-at-all/x", "must be a folder's path, not "),
    ],
)
def test_a_name_of_nothing_is_refused_in_one_line(name, value, told):
    refused = check_with(**{name: value})
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {name} {told}")
    assert refused.stderr.count("\n") == 1


@pytest.mark.process
def test_an_empty_configuration_is_the_default():
    assert "DATABASE_URL" in check_with(DJANGO_CONFIGURATION="", DATABASE_URL="x").stderr


@pytest.mark.process
@pytest.mark.parametrize("folder", ["/dev/null/data", "/proc/data"])
@pytest.mark.parametrize("configuration", ["Local", "Production"])
def test_a_data_directory_that_cannot_be_made_is_refused_in_one_line(folder, configuration):
    refused = check_with(
        DOORITO_DATA_DIR=folder,
        DJANGO_CONFIGURATION=configuration,
        **(PRODUCTION if configuration == "Production" else {}),
    )
    assert refused.returncode == 1
    assert f"the data directory {folder}: " in refused.stderr
    assert "Set DOORITO_DATA_DIR" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.process
def test_production_needs_a_secret_key_host_names_and_an_address():
    refused = check_with(DJANGO_CONFIGURATION="Production")
    assert refused.returncode == 1
    assert "DJANGO_SECRET_KEY must be set" in refused.stderr
    assert "DJANGO_ALLOWED_HOSTS must list" in refused.stderr
    assert "PORTAL_BASE_URL must be set" in refused.stderr


@pytest.mark.process
def test_nobody_registers_by_themselves_in_production_unless_it_is_opened(clone):
    as_production = {"DJANGO_CONFIGURATION": "Production", **PRODUCTION}
    name = "PORTAL_REGISTRATION_OPEN"
    assert "False" in shown(clone, name, **as_production)
    assert "True" in shown(clone, name, **as_production, PORTAL_REGISTRATION_OPEN="true")
    assert "True" in shown(clone, name)
