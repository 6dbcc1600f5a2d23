"""The file `.env`: settings for whoever does not set them in the environment, which wins.

django-configurations reads such files too, and passes over in silence what it cannot read.
"""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv.parser import parse_stream

# `NAME=# what it is for`, which the parser takes for a value.
_BARE_COMMENT = re.compile(r"^[^=]*=#\s")
_ALIKE = 0.85  # of `difflib`, from which on a name is taken for a misspelt other


def load(path: Path) -> None:
    """Put what the file says into the environment. Raises ImproperlyConfigured."""
    entries = _entries(path)
    if "DJANGO_CONFIGURATION" in entries:
        raise ImproperlyConfigured(
            f"DJANGO_CONFIGURATION cannot be set in {path}: it decides what is read from there. "
            "Set it in the environment."
        )
    for name, value in entries.items():
        os.environ.setdefault(name, value)


def misspelt(path: Path, known: Iterable[str]) -> list[tuple[str, str]]:
    """Names in the file that are none of `known`, each with the one that it resembles."""
    known = set(known)
    found = []
    for name in _entries(path).keys() - known:
        if alike := get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE):
            found.append((name, alike[0]))
    return sorted(found)


def _entries(path: Path) -> dict[str, str]:
    entries = {}
    for binding in parse_stream(StringIO(_text(path))):
        if binding.error or (binding.key is not None and binding.value is None):
            line = binding.original.line + _blank_lines(binding.original.string)
            raise ImproperlyConfigured(f"Line {line} of {path} cannot be read: write NAME=value.")
        if binding.key is not None:
            is_comment = _BARE_COMMENT.search(binding.original.string)
            entries[binding.key] = "" if is_comment else binding.value or ""
    return entries


def _blank_lines(text: str) -> int:
    """A statement begins, for the parser, with the empty lines above it."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise ImproperlyConfigured(f"Cannot read {path}: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ImproperlyConfigured(f"{path} is not UTF-8 text: save it as such.") from exc
