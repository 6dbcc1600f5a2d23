"""Masks URLs that contain secrets: whoever reads one in a log could use it."""

import logging
import re

SECRET_PATHS = ("/f/", "/c/", "/api/v1/runs/callback/", "/app/password/reset/")
_SECRET = re.compile(
    # At the start of a path or of a URL's path: a folder on the way to a source file is no secret.
    rf"((?:^|[\s\"'(<=]|://[^/\s]+)(?:{'|'.join(map(re.escape, SECRET_PATHS))}))[^\s\"'<>)]+",
    re.MULTILINE,
)


def mask(text: str) -> str:
    """The text with everything after one of SECRET_PATHS hidden."""
    return _SECRET.sub(r"\1[hidden]", text)


class MaskingFormatter(logging.Formatter):
    """Masks the whole log record: a path may be an argument or part of an error message."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
