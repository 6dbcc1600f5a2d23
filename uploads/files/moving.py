"""Moves stored files from one storage backend to another, one after the other.

A file is copied and its digest compared first, then its row is told where it lies now, and only
then the old bytes go: whatever is killed, every file is whole where its row says. The old place is
kept in a row until it is empty, so that a repeat removes what a kill left.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.db import release_connection
from common.errors import DooritoError
from common.models import TimeStampedQuerySet
from uploads.files import holds, states
from uploads.models import FileStatus, IngestFile, LeftObject
from uploads.storage import UploadHandle, named, object_of, storage_for
from uploads.storage.base import ObjectWriter, StoredObject

_PAGE = 100
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Moved:
    """What became of one file; `problem` says why it stayed."""

    file_id: UUID
    size_bytes: int
    problem: str = ""


@dataclass(frozen=True)
class Amount:
    files: int
    size_bytes: int


def files_elsewhere(*, to: str) -> Iterator[IngestFile]:
    """Stored files that do not lie in the backend `to`, oldest first."""
    last: UUID | None = None
    while True:
        after = Q(id__gt=last) if last else Q()
        page = list(_elsewhere(to).filter(after).order_by("id")[:_PAGE])
        yield from page
        if not page:
            return
        last = page[-1].id


def count_elsewhere(*, to: str) -> Amount:
    sizes = _elsewhere(to).values_list("size_bytes", flat=True).iterator()
    files = size_bytes = 0
    for size in sizes:
        files, size_bytes = files + 1, size_bytes + size
    return Amount(files, size_bytes)


def move(file: IngestFile, *, to: str) -> Moved:
    """Move one file. A second mover of the same file changes nothing."""
    if LeftObject.objects.filter(file_id=file.id).exists():  # it may be where the file would go
        return Moved(file.id, file.size_bytes, "its old bytes are held, such as by a backup")
    target = named(to)
    handle = UploadHandle(to, file.id.hex)
    release_connection()
    try:
        with target.locks.try_idle(handle) as idle:
            if not idle:
                return Moved(file.id, file.size_bytes, "somebody else is moving it")
            target.uploads.discard(handle)  # what an earlier try left
        with target.uploads.put(handle.key, size_bytes=file.size_bytes) as writer:
            _copy(file, writer)
            stored = writer.commit()
            if not _point_at(file, stored):
                target.uploads.discard(handle)
                return Moved(file.id, file.size_bytes, "it was removed meanwhile")
    except (DooritoError, OSError) as exc:
        return Moved(file.id, file.size_bytes, str(exc))
    remove_left_objects(file.id)
    return Moved(file.id, file.size_bytes)


def remove_left_objects(file_id: UUID | None = None) -> int:
    """Remove the bytes of places that files were moved from: of one file, or a page of all.

    None while somebody holds stored bytes, such as a backup that reads them there.
    """
    left = LeftObject.objects.filter(file_id=file_id) if file_id else LeftObject.objects.all()
    page = list(left.filter(~holds.held()).order_by("id")[:_PAGE])
    for each in page:
        store = named(each.storage_backend)
        store.objects.delete(
            StoredObject(each.storage_backend, each.storage_bucket, each.storage_key)
        )
        each.delete()
    return len(page)


def _elsewhere(to: str) -> TimeStampedQuerySet:
    return IngestFile.objects.filter(status=FileStatus.STORED).exclude(storage_backend=to)


def _copy(file: IngestFile, writer: ObjectWriter) -> None:
    """Raises OSError unless the bytes are those that were stored."""
    digest = hashlib.sha256()
    with storage_for(file).objects.open(object_of(file)) as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
            writer.write(memoryview(block))
    if digest.hexdigest() != file.sha256:
        raise OSError(f"its bytes have the SHA-256 {digest.hexdigest()}, not {file.sha256}")


def _point_at(file: IngestFile, stored: StoredObject) -> bool:
    was = object_of(file)
    with transaction.atomic():
        moved = states.point_at(file.id, stored, was=was)
        if moved:
            LeftObject.objects.create(
                file_id=file.id,
                storage_backend=was.backend,
                storage_bucket=was.bucket,
                storage_key=was.key,
            )
    return moved
