"""Encryption of stored secrets, with a key derived from SECRET_KEY."""

import base64
import hashlib

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.utils.encoding import force_bytes


def cipher() -> MultiFernet:
    """Encrypts with the current key; decrypts with SECRET_KEY_FALLBACKS too (key rotation)."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(secret: str | bytes) -> bytes:
    digest = hashlib.blake2b(force_bytes(secret), digest_size=32, person=b"doorito-field").digest()
    return base64.urlsafe_b64encode(digest)
