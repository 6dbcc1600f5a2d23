"""Tables of what the text of the code tells: services, signals, settings, dependencies."""

import re
from collections.abc import Iterator

from django.conf import settings

from boot.aikb import source
from boot.aikb.markdown import code, codes, first_sentence, table
from boot.aikb.tables import APPS

# Where services are: whoever reads or changes something calls one of these.
_SERVICES = (
    "accounts/services.py",
    "accounts/principals.py",
    "accounts/throttle.py",
    "common/outbox",
    "common/webhooks",
    "uploads/selectors.py",
    "uploads/policy.py",
    "uploads/files",
    "uploads/receiving",
    "uploads/storage",
    "uploads/workflows",
)
# Modules in these places that others do not call.
_NO_SERVICES = {"admin", "admin_filters", "admin_forms", "checks", "child", "forms"}
_PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)
_REQUIRED = re.compile(r"^(\w[\w.-]*)[^#\n]*?\s*(?:#\s*(.*))?$", re.MULTILINE)


def services() -> str:
    rows = [
        (code(module.name), first_sentence(module.doc), codes(module.functions))
        for module in source.modules(*_SERVICES)
        if module.name.rsplit(".", maxsplit=1)[-1] not in _NO_SERVICES
    ]
    return table(["module", "subject", "functions"], rows)


def signal_receivers() -> str:
    rows = [
        (code(found.signal), code(f"{found.module}.{found.function}"), first_sentence(found.doc))
        for found in source.receivers(APPS)
    ]
    return table(["signal", "receiver", "what it does"], sorted(rows))


def settings_read() -> str:
    rows = [
        (code(setting.variable), setting.kind, code(setting.default), _only_in(setting))
        for setting in source.settings_read()
    ]
    return table(["variable", "kind", "default", "configuration"], rows)


def _only_in(setting: source.Setting) -> str:
    return "" if setting.configuration == "Base" else setting.configuration


def dependencies() -> str:
    rows = [*_dependencies("requirements", "run"), *_dependencies("requirements-dev", "test")]
    return table(["package", "locked at", "for", "why"], rows)


def _dependencies(name: str, use: str) -> Iterator[tuple[str, str, str, str]]:
    locked = {
        _normal(package): version
        for package, version in _PINNED.findall((settings.BASE_DIR / f"{name}.txt").read_text())
    }
    for package, why in _REQUIRED.findall((settings.BASE_DIR / f"{name}.in").read_text()):
        yield code(package), locked[_normal(package)], use, why


def _normal(package: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", package).lower()
