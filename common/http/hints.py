"""Hints for common mistakes, added to the error messages of unknown calls."""

import re
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import Resolver404, resolve


@dataclass(frozen=True)
class Hint:
    """A hint for a call that does not exist. Methods and paths are regular expressions."""

    method: str
    path: str
    text: str

    def is_for(self, request: HttpRequest) -> bool:
        return bool(
            re.fullmatch(self.method, request.method or "")
            and re.fullmatch(self.path, request.path)
        )


_hints: list[Hint] = []


def add_hints(*hints: Hint) -> None:
    """Register hints. Called by doors that know which calls exist instead."""
    _hints.extend(hints)


def hint_for(request: HttpRequest) -> str:
    """A sentence to append to a 404 or 405, with a leading space; "" if there is none."""
    for hint in _hints:
        if hint.is_for(request):
            return f" {hint.text}"
    without = request.path.rstrip("/")
    if without != request.path and _is_address(without):
        return f" Leave out the slash at the end: {without}."
    return ""


def _is_address(path: str) -> bool:
    """Whether the path is served by a view other than the one for unknown paths."""
    try:
        return bool(resolve(path).url_name)
    except Resolver404:
        return False
