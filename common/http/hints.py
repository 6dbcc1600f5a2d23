"""Where people stumble: what to do instead, told with the error."""

import re
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import Resolver404, resolve


@dataclass(frozen=True)
class Hint:
    """What to say of a call that is not there: methods and paths are regular expressions."""

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
    """For the doors that know which calls others offer in place of theirs."""
    _hints.extend(hints)


def hint_for(request: HttpRequest) -> str:
    """A sentence to add to a 404 or 405, with a blank before it; "" for none."""
    for hint in _hints:
        if hint.is_for(request):
            return f" {hint.text}"
    without = request.path.rstrip("/")
    if without != request.path and _is_address(without):
        return f" Leave out the slash at the end: {without}."
    return ""


def _is_address(path: str) -> bool:
    """Whether something is served there, other than the answer that nothing is."""
    try:
        return bool(resolve(path).url_name)
    except Resolver404:
        return False
