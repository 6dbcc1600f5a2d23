"""Environment values that name themselves when they are wrong.

django-configurations reports "Cannot interpret integer value" without saying which setting;
an operator needs the name, so every value here raises ImproperlyConfigured with it.
"""

import re
from pathlib import Path
from typing import Any

from configurations import values
from django.core.exceptions import ImproperlyConfigured

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*")


class _Unprefixed:
    """Mixin: the environment variable is the setting's own name, without ``DJANGO_``."""

    # Read when the configuration is set up, which is after .env was; not when it is imported.
    late_binding = True
    expected: str
    environ_name: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("environ_prefix", None)
        super().__init__(*args, **kwargs)

    def setup(self, name: str) -> Any:
        self.environ_name = self.environ_name or name
        return super().setup(name)  # type: ignore[misc]

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)  # type: ignore[misc]
        except (ValueError, TypeError, ImproperlyConfigured) as exc:
            raise ImproperlyConfigured(
                f"{self.environ_name} must be {self.expected}, not {value!r}. "
                "Set it in the environment or .env."
            ) from exc


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
    """A folder; ``~`` is expanded and the path made absolute."""

    expected = "a folder's path"

    def to_python(self, value: Any) -> Path:
        return Path(str(value)).expanduser().absolute()


class Size(_Unprefixed, values.Value):
    """A number of bytes: ``52428800``, ``50MiB``, ``1 TB``."""

    expected = "a number of bytes such as 52428800, 50MiB or 1TiB"

    def to_python(self, value: Any) -> int:
        match = _SIZE.fullmatch(str(value))
        if not match or match[2].upper() not in _UNITS:
            raise ImproperlyConfigured(
                f"{self.environ_name} must be {self.expected}, not {value!r}. "
                "Set it in the environment or .env."
            )
        return int(match[1]) * _UNITS[match[2].upper()]
