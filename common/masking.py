"""Masks secrets in logs, alone and in URLs: whoever reads one there could use it."""

import re

SECRET_PATHS = ("/f/", "/c/", "/send/", "/share/", "/api/v1/runs/callback/", "/app/password/reset/")
_SECRET = re.compile(
    # At the start of a path or of a URL's path: a folder on the way to a source file is no secret.
    rf"((?:^|[\s\"'(<=]|://[^/\s]+)(?:{'|'.join(map(re.escape, SECRET_PATHS))}))[^\s\"'<>)\\]+",
    re.MULTILINE,
)
_TOKEN = re.compile(r"\b(dr[a-z]_|whsec_)[0-9A-Za-z+/=]{16,}")


def mask(text: str) -> str:
    """The text with everything after one of SECRET_PATHS hidden, and tokens but for their kind."""
    return _TOKEN.sub(r"\1[hidden]", _SECRET.sub(r"\1[hidden]", text))
