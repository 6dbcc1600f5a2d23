"""Stored secrets under the current secret key, so that an earlier one can be forgotten."""

from collections import Counter
from collections.abc import Iterator

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.db import connection
from psycopg import sql

from boot.errors import CannotRunError
from common.encryption import cipher
from common.fields import EncryptedTextField


def reencrypt_all() -> int:
    """Encrypt every secret anew. Returns how many there were.

    Raises CannotRunError when some cannot be decrypted; the others are encrypted anew all the same.
    """
    done = Counter(_reencrypted())
    if done[False]:
        raise CannotRunError(
            f"{done[False]} of {done.total()} stored secrets cannot be decrypted: they were saved "
            "with a key that is neither DJANGO_SECRET_KEY nor in DJANGO_SECRET_KEY_FALLBACKS."
        )
    return done[True]


def _reencrypted() -> Iterator[bool]:
    """For each secret, whether it could be encrypted anew."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, EncryptedTextField):
                yield from _of_column(model._meta.db_table, field.attname)


def _of_column(table: str, column: str) -> Iterator[bool]:
    """The same for one column, in plain SQL, because models decrypt what they read.

    A value that changes meanwhile is encrypted with the current key already.
    """
    names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
    find = sql.SQL("SELECT id, {column} FROM {table} WHERE {column} <> ''").format(**names)
    change = sql.SQL("UPDATE {table} SET {column} = %s WHERE id = %s AND {column} = %s")
    with connection.cursor() as cursor:
        cursor.execute(find)
        for row_id, text in cursor.fetchall():
            try:
                anew = cipher().rotate(text.encode()).decode()
            except InvalidToken:
                yield False
                continue
            cursor.execute(change.format(**names), [anew, row_id, text])
            yield True
