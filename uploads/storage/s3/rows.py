"""The rows of uploads in an object store: each is there before the store is asked for anything."""

from collections.abc import Iterator
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from common.db import release_connection
from common.models import TimeStampedQuerySet
from uploads.models import StoreUpload
from uploads.storage.base import UploadHandle
from uploads.storage.refusals import upload_missing

BACKEND = "s3"
_PAGE = 500


def insert(key: str, *, size_bytes: int | None) -> UploadHandle:
    """Raises FileExistsError: a key is used once."""
    try:
        with transaction.atomic():
            StoreUpload.objects.create(
                backend=BACKEND, key=key, size_bytes=size_bytes, written_at=Now()
            )
    except IntegrityError as exc:
        raise FileExistsError(key) from exc
    return UploadHandle(BACKEND, key)


def find(key: str) -> StoreUpload | None:
    found = _rows(key).first()
    release_connection()  # what follows is slow
    return found


def get(key: str) -> StoreUpload:
    """Raises NotFound `upload_missing`."""
    found = find(key)
    if found is None:
        raise upload_missing()
    return found


def touch(key: str) -> None:
    """Raises NotFound `upload_missing`."""
    if not _rows(key).update(written_at=Now()):
        raise upload_missing()
    release_connection()


def set_size(key: str, *, size_bytes: int) -> None:
    _rows(key).update(size_bytes=size_bytes)


def claim_token(key: str, token: str) -> str:
    """Make `token` the multipart upload's, unless it has one; the one that counts.

    Raises NotFound `upload_missing`.
    """
    _rows(key).filter(token="").update(token=token)
    return get(key).token


def finish(key: str) -> None:
    """Raises NotFound `upload_missing`."""
    if not _rows(key).update(finished_at=Now()):
        raise upload_missing()


def delete(key: str) -> None:
    _rows(key).delete()


def unfinished(*, older_than: datetime) -> Iterator[StoreUpload]:
    """A page at a time: whoever asks may remove what was given."""
    waiting = StoreUpload.objects.filter(
        backend=BACKEND, finished_at__isnull=True, written_at__lt=older_than
    ).order_by("written_at", "id")
    page = list(waiting[:_PAGE])
    while page:
        yield from page
        last = page[-1]
        follows = Q(written_at__gt=last.written_at) | Q(written_at=last.written_at, id__gt=last.id)
        page = list(waiting.filter(follows)[:_PAGE])


def _rows(key: str) -> TimeStampedQuerySet:
    return StoreUpload.objects.filter(backend=BACKEND, key=key)
