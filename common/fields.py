"""Model fields."""

import json
from typing import Any

from cryptography.fernet import InvalidToken
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from common.encryption import cipher
from common.errors import DooritoError


class _Ciphertext(str):
    """An encrypted value as it is stored in the database."""

    __slots__ = ()

    def plain(self) -> str:
        try:
            return cipher().decrypt(self.encode()).decode()
        except InvalidToken as exc:
            raise DooritoError(
                "secret_unreadable",
                "The stored secret cannot be decrypted: DJANGO_SECRET_KEY is not the one that it "
                "was saved with. Restore that key, or make a new secret.",
            ) from exc


class _DecryptedOnAccess(DeferredAttribute):
    """Decrypts when the attribute is read: rows whose key is lost can still be listed and saved."""

    field: "EncryptedTextField"

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return self.field.decoded(value.plain()) if isinstance(value, _Ciphertext) else value

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):
    """Text that is encrypted in the database and plain in Python.

    Reading the attribute raises DooritoError `secret_unreadable` when no key fits. Saving a row
    does not re-encrypt a value that was not assigned.
    """

    descriptor_class = _DecryptedOnAccess

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: ARG002
        return model_instance.__dict__[self.attname]

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, _Ciphertext):
            return str(value)
        value = super().get_prep_value(self.encoded(value))
        return value if value in (None, "") else cipher().encrypt(value.encode()).decode()

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return _Ciphertext(value) if value else value

    def encoded(self, value: Any) -> Any:
        """The value as text, before encryption."""
        return value

    def decoded(self, text: str) -> Any:
        """The value from its decrypted text."""
        return text


class EncryptedJSONField(EncryptedTextField):
    """A JSON value, encrypted like EncryptedTextField."""

    _pyi_private_set_type: Any  # how django-stubs tells mypy a field's types
    _pyi_private_get_type: Any

    def encoded(self, value: Any) -> Any:
        return None if value is None else json.dumps(value)

    def decoded(self, text: str) -> Any:
        return json.loads(text)


class MoneyField(models.DecimalField):
    """An amount in the portal's currency (PORTAL_CURRENCY), with six decimals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_digits": 19, "decimal_places": 6} | kwargs)
