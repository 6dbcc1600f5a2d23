"""The text of a token: a prefix, 160 random bits, a checksum.

The fixed prefix lets secret scanners find leaked tokens; the checksum lets them, and us, tell a
token from a look-alike or a typing error without asking the database. Each kind of token has a
prefix of its own: API tokens have ``drt_``.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "drt_"
PREFIX_LENGTH = 4  # of all kinds of tokens
HINT_LENGTH = 10  # prefix and six characters: 36 of the 160 bits, enough to tell tokens apart

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BITS = 160
_RANDOM_WIDTH = 27  # base62 digits that 160 bits need
_CHECKSUM_WIDTH = 6  # base62 digits that 32 bits need
_SHAPE = re.compile(
    rf"[a-z]{{{PREFIX_LENGTH - 1}}}_[0-9A-Za-z]{{{_RANDOM_WIDTH + _CHECKSUM_WIDTH}}}"
)


def generate(*, prefix: str = PREFIX) -> str:
    body = prefix + _base62(secrets.randbits(_RANDOM_BITS), width=_RANDOM_WIDTH)
    return body + _checksum(body)


def looks_valid(text: str, *, prefix: str = PREFIX) -> bool:
    """Whether format and checksum are right. It needs no look-up; the token may still not exist."""
    if not (text.startswith(prefix) and _SHAPE.fullmatch(text)):
        return False
    return text[-_CHECKSUM_WIDTH:] == _checksum(text[:-_CHECKSUM_WIDTH])


def digest(text: str) -> str:
    """SHA-256, hexadecimal. A plain hash is enough: 160 random bits cannot be guessed."""
    return hashlib.sha256(text.encode()).hexdigest()


def hint(text: str) -> str:
    """The beginning of a token, by which its owner can recognise it in a list."""
    return text[:HINT_LENGTH]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), width=_CHECKSUM_WIDTH)


def _base62(number: int, *, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
