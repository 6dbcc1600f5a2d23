"""Digests that clients declare in headers, to compare with the received bytes."""

import base64
import binascii
import re
from dataclasses import dataclass

from django.http import HttpRequest

from common.errors import InvalidInput

_DIGEST_BYTES = {"sha-256": 32, "sha-512": 64}
_DIGEST_MEMBER = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*")


@dataclass(frozen=True)
class Digest:
    """A digest. `algorithm` has the name used in Content-Digest (`sha-256`), or is `blake3` or
    `crc32`.
    """

    algorithm: str
    value: bytes


def content_digest(request: HttpRequest) -> Digest | None:
    """The first supported digest of the Content-Digest header (RFC 9530, section 2).

    Raises InvalidInput `digest_invalid` or `digest_unsupported`.
    """
    header = request.headers.get("Content-Digest")
    if header is None:
        return None
    members = [_DIGEST_MEMBER.fullmatch(member) for member in header.split(",")]
    if not all(members):
        raise InvalidInput("digest_invalid", "Content-Digest must look like sha-256=:<base64>:.")
    for member in filter(None, members):
        if member[1] in _DIGEST_BYTES:
            return Digest(member[1], _digest_bytes(member[1], member[2]))
    raise InvalidInput(
        "digest_unsupported", f"Content-Digest needs one of {', '.join(_DIGEST_BYTES)}."
    )


def _digest_bytes(algorithm: str, encoded: str) -> bytes:
    try:
        value = base64.b64decode(encoded, validate=True)
    except binascii.Error as exc:
        raise InvalidInput("digest_invalid", "Content-Digest holds no valid base64.") from exc
    if len(value) != _DIGEST_BYTES[algorithm]:
        raise InvalidInput(
            "digest_invalid", f"A {algorithm} digest has {_DIGEST_BYTES[algorithm]} bytes."
        )
    return value
