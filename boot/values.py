"""Environment values that name themselves when they are wrong.

django-configurations reports "Cannot interpret integer value" without saying which setting;
an operator needs the name, so every value here raises ImproperlyConfigured with it.

One rule for all kinds: a variable that is set and empty means the default.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from configurations import values
from django.core.exceptions import ImproperlyConfigured

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*")
_CHECKOUT = Path(__file__).resolve().parent.parent

# Every environment variable that is read through a value below.
NAMES: set[str] = set()


def is_database_address(text: str, *schemes: str) -> bool:
    """Whether `text` is an address with one of the schemes that names a database."""
    try:
        address = urlsplit(text)
        address.port  # noqa: B018  (raises ValueError for what is no number)
    except ValueError:
        return False
    return address.scheme in schemes and len(address.path) > 1


class _Unprefixed:
    """Mixin: the environment variable is the setting's own name, without ``DJANGO_``."""

    # Read when the configuration is set up, which is after .env was; not when it is imported.
    late_binding = True
    expected: str
    environ_name: str | None
    default: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("environ_prefix", None)
        super().__init__(*args, **kwargs)

    def __set_name__(self, _owner: type, name: str) -> None:
        NAMES.add(self.environ_name or name)

    def setup(self, name: str) -> Any:
        self.environ_name = self.environ_name or name
        return super().setup(name)  # type: ignore[misc]

    def to_python(self, value: str) -> Any:
        if not value.strip():
            return self.default
        try:
            return self.parsed(value)
        except (ValueError, TypeError, RuntimeError, ImproperlyConfigured) as exc:
            raise ImproperlyConfigured(
                f"{self.environ_name} must be {self.expected}, not {value!r}. "
                "Set it in the environment or .env."
            ) from exc

    def parsed(self, value: str) -> Any:
        return super().to_python(value)  # type: ignore[misc]


class Integer(_Unprefixed, values.IntegerValue):
    expected = "a whole number"


class Boolean(_Unprefixed, values.BooleanValue):
    expected = "true or false"


class Text(_Unprefixed, values.Value):
    expected = "text"


class TextList(_Unprefixed, values.ListValue):
    expected = "a comma-separated list"


class IntegerList(_Unprefixed, values.ListValue):
    expected = "a comma-separated list of whole numbers"
    converter = int


class Directory(_Unprefixed, values.Value):
    """A folder; ``~`` is expanded, and a relative path starts at the checkout."""

    expected = "a folder's path"

    def parsed(self, value: str) -> Path:
        return _CHECKOUT / Path(value).expanduser()


class File(Directory):
    expected = "a file's path"


class Size(_Unprefixed, values.Value):
    """A number of bytes: ``52428800``, ``50MiB``, ``1 TB``."""

    expected = "a number of bytes such as 52428800, 50MiB or 1TiB"

    def parsed(self, value: str) -> int:
        match = _SIZE.fullmatch(value)
        if not match or match[2].upper() not in _UNITS:
            raise ValueError(value)
        return int(match[1]) * _UNITS[match[2].upper()]
