"""Request headers that change what a body means."""

from django.http import HttpRequest

from common.errors import InvalidInput, UnsupportedType


def check_content_encoding(value: str | None) -> None:
    """Refuse a compressed body, which would be stored as if it were the file itself.

    Raises UnsupportedType `encoding_unsupported`.
    """
    codings = {coding.strip().lower() for coding in (value or "").split(",")}
    if codings - {"", "identity"}:
        raise UnsupportedType(
            "encoding_unsupported",
            f"Content-Encoding {value} is not decoded here; send the file's own bytes.",
        )


def refuse_content_range(request: HttpRequest, *, instead: str) -> None:
    """Refuse a part of a file, which must not be stored as the whole (RFC 9110, 14.5).

    `instead` tells the client what to do. Raises InvalidInput `content_range_unsupported`.
    """
    if "Content-Range" in request.headers:
        raise InvalidInput(
            "content_range_unsupported", f"This address takes whole files only. {instead}"
        )
