"""Model fields of our own."""

import base64
import hashlib
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models
from django.utils.encoding import force_bytes


def _cipher() -> MultiFernet:
    """Encrypts with the current key, decrypts also with SECRET_KEY_FALLBACKS (rotation)."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(secret: str | bytes) -> bytes:
    digest = hashlib.blake2b(force_bytes(secret), digest_size=32, person=b"doorito-field").digest()
    return base64.urlsafe_b64encode(digest)


class EncryptedTextField(models.TextField):
    """Text that is encrypted in the database and plain in Python."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value if value in (None, "") else _cipher().encrypt(value.encode()).decode()

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return _cipher().decrypt(value.encode()).decode() if value else value
