"""Walks through a store's objects and the rows of files side by side, in the order of keys.

A key is its file's id in hex, so that rows in the order of ids are in the order of keys. Both come
in pages, and nothing is kept in mind but one of each. As both change meanwhile, whatever looks
wrong is looked at again before it is told, and what is younger than GRACE is left alone.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from common.db import release_connection
from common.errors import Gone, NotFound
from uploads.checking.findings import Finding, Kind, Tally
from uploads.models import FileStatus, IngestFile, RunStatus, UploadSession, WorkflowRun
from uploads.receiving import abandoned
from uploads.storage import Storage, StoredObject, handle_of, object_of
from uploads.storage.base import HeldObject, ListsObjects, ReadsBack

GRACE = timedelta(hours=1)
PAGE = 1000  # rows that are read at a time
_BLOCK_BYTES = 2**20
_NONE_LEFT = "g"  # behind every key: they are hex


@dataclass
class Walk:
    """One walk through a store. `position` is the last key that was compared."""

    store: Storage
    with_digests: bool = False
    position: str = ""
    tally: Tally = field(default_factory=Tally)

    def files(self, *, most: int | None = None) -> Iterator[Finding]:
        """Compare up to `most` keys behind the position. Afterwards `position` is "" at the end.

        Raises TypeError for a store that does not list what it has.
        """
        objects = self.store.objects
        if not isinstance(objects, ListsObjects):
            raise TypeError(f"The store {self.store.name!r} does not list its objects.")
        rows, held = _rows(after=self.position), objects.held(after=self.position)
        row, each = next(rows, None), next(held, None)
        compared = 0
        while row or each:
            if most is not None and compared >= most:
                return
            key = min(row.id.hex if row else _NONE_LEFT, each.stored.key if each else _NONE_LEFT)
            of_key = row if row and row.id.hex == key else None
            at_key = each if each and each.stored.key == key else None
            yield from self._told(self._compare(of_key, at_key))
            if of_key:
                row = next(rows, None)
            if at_key:
                each = next(held, None)
            self.position, compared = key, compared + 1
        self.position = ""

    def uploads(self) -> Iterator[Finding]:
        """Compare the uploads under way with what the store has of them."""
        yield from self._told(chain(_sessions_without_bytes(self.store), _spools(self.store)))

    def _told(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        for finding in findings:
            self.tally.count(finding)
            yield finding

    def _compare(self, row: IngestFile | None, held: HeldObject | None) -> Iterator[Finding]:
        self.tally.rows += row is not None
        if held:
            self.tally.objects += 1
            self.tally.size_bytes += held.size_bytes
            old = timezone.now() - held.changed_at > GRACE
            if old and _is_ownerless(row, held.stored) and is_still_ownerless(held.stored):
                yield _of_object(Kind.BYTES_WITHOUT_ROW, held)
        if row is None or row.storage_backend != self.store.name or not _must_have_bytes(row):
            return
        if held is None:
            if is_still_lost(self.store, row.id):
                yield _of_row(Kind.ROW_WITHOUT_BYTES, row)
        elif held.size_bytes != row.size_bytes:
            yield _of_row(Kind.WRONG_SIZE, row, str(row.size_bytes), str(held.size_bytes))
        elif self.with_digests:
            yield from self._compare_digest(row)

    def _compare_digest(self, row: IngestFile) -> Iterator[Finding]:
        release_connection()  # it may take long
        try:
            found = _digest(self.store, row)
        except Gone:
            return  # removed meanwhile, or the next walk tells
        if found != row.sha256:
            yield _of_row(Kind.WRONG_DIGEST, row, row.sha256, found)


def _is_ownerless(row: IngestFile | None, stored: StoredObject) -> bool:
    """Whether bytes are nobody's by their row; an upload may be finishing."""
    if row is None:
        return True
    if row.status == FileStatus.FAILED:  # some are kept apart until they are purged
        return row.purge_at is None or row.purged_at is not None or object_of(row) != stored
    if row.status == FileStatus.UPLOADING:
        return False
    return row.purged_at is not None or object_of(row) != stored


def is_still_ownerless(stored: StoredObject) -> bool:
    """The same, asked of the database now. A run's unfinished result has a sweep of its own."""
    row = IngestFile.objects.filter(id=UUID(hex=stored.key)).first()
    if not _is_ownerless(row, stored):
        return False
    kept = Q(status=RunStatus.RUNNING) | Q(completed_at__isnull=False) & ~Q(result_key="")
    return not WorkflowRun.objects.filter(kept, result_key=stored.key).exists()


def is_still_lost(store: Storage, file_id: UUID) -> bool:
    """Whether a file's row says even now that its bytes are there, and they are not."""
    row = _rows_with_bytes().filter(id=file_id).first()
    if row is None:
        return False
    try:
        with store.objects.open(object_of(row)) as content:
            content.read(1)
    except Gone:
        return _rows_with_bytes().filter(id=file_id).exists()
    return False


def is_upload_lost(store: Storage, session: UploadSession) -> bool:
    """Whether an open session has no bytes; no store but those that read back can tell."""
    if not isinstance(store.uploads, ReadsBack):
        return False
    try:
        with store.uploads.reader(handle_of(session)):
            return False
    except NotFound:
        return _open_sessions(store).filter(id=session.id).exists()


def _rows(*, after: str) -> Iterator[IngestFile]:
    """All files with an id behind `after`, the tombstones too: every page costs the same."""
    page = list(_page(after))
    while page:
        yield from page
        page = list(_page(page[-1].id.hex))


def _page(after: str) -> QuerySet[IngestFile]:
    rows = IngestFile.objects.filter(id__gt=UUID(hex=after)) if after else IngestFile.objects.all()
    fields = ("status", "size_bytes", "sha256", "updated_at", "purge_at", "purged_at")
    pointer = ("storage_backend", "storage_bucket", "storage_key")
    return rows.timed().only(*fields, *pointer).order_by("id")[:PAGE]


def _must_have_bytes(row: IngestFile) -> bool:
    """Of a consumed file only until its bytes are to go; of no file that has just changed."""
    if row.updated_at > row.read_at - GRACE or row.purged_at is not None:
        return False
    if row.status == FileStatus.PROCESSED:
        return row.purge_at is not None and row.purge_at > row.read_at
    return row.status == FileStatus.STORED


def _rows_with_bytes() -> QuerySet[IngestFile]:
    """As `_must_have_bytes`."""
    kept = Q(status=FileStatus.STORED) | Q(status=FileStatus.PROCESSED, purge_at__gt=Now())
    return IngestFile.objects.filter(kept, purged_at__isnull=True, updated_at__lte=Now() - GRACE)


def _open_sessions(store: Storage) -> QuerySet[UploadSession]:
    return UploadSession.objects.filter(
        status__in=UploadSession.OPEN,
        storage_backend=store.name,
        last_activity_at__lte=Now() - GRACE,
    )


def _sessions_without_bytes(store: Storage) -> Iterator[Finding]:
    after = UUID(int=0)
    while page := list(_open_sessions(store).filter(id__gt=after).order_by("id")[:PAGE]):
        for session in page:
            if is_upload_lost(store, session):
                kind = Kind.UPLOAD_WITHOUT_BYTES
                yield Finding(kind, store.name, session.spool_key, file_id=session.file_id)
        after = page[-1].id


def _spools(store: Storage) -> Iterator[Finding]:
    for handle in abandoned.orphan_spools(store):
        yield Finding(Kind.SPOOL_WITHOUT_UPLOAD, handle.backend, handle.key, token=handle.token)


def _digest(store: Storage, row: IngestFile) -> str:
    digest = hashlib.sha256()
    with store.objects.open(object_of(row)) as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _of_object(kind: Kind, held: HeldObject) -> Finding:
    stored = held.stored
    return Finding(kind, stored.backend, stored.key, stored.bucket)


def _of_row(kind: Kind, row: IngestFile, expected: str = "", found: str = "") -> Finding:
    return Finding(
        kind,
        row.storage_backend,
        row.storage_key,
        row.storage_bucket,
        file_id=row.id,
        expected=expected,
        found=found,
    )
