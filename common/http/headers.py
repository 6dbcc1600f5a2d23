"""Request headers that change what a body means."""

from common.errors import UnsupportedType


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
