"""Request headers that change what a body means."""

from django.http import HttpRequest

from common.errors import InvalidInput, UnsupportedType


def check_content_encoding(value: str | None) -> None:
    """Refuse compressed bytes, which would be stored as if they were the file.

    Raises UnsupportedType `encoding_unsupported`.
    """
    codings = {coding.strip().lower() for coding in (value or "").split(",")}
    if codings - {"", "identity"}:
        raise UnsupportedType(
            "encoding_unsupported",
            f"Content-Encoding {value} is not decoded here; send the file's own bytes.",
        )


def refuse_content_range(request: HttpRequest, *, instead: str) -> None:
    """A piece of a file must not be stored as if it were the whole (RFC 9110, 14.5).

    `instead` says what to do. Raises InvalidInput `content_range_unsupported`.
    """
    if "Content-Range" in request.headers:
        raise InvalidInput(
            "content_range_unsupported", f"This address takes whole files only. {instead}"
        )
