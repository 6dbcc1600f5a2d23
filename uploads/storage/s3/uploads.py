"""Uploads into a bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice

from uploads.models import StoreUpload
from uploads.storage.base import (
    PartRules,
    PartUrl,
    RangeWriter,
    Receipt,
    StoredObject,
    UploadHandle,
)
from uploads.storage.leases import LeaseLocks
from uploads.storage.s3 import rows
from uploads.storage.s3.bucket import Bucket
from uploads.storage.s3.config import MAX_PART_BYTES, MAX_PARTS
from uploads.storage.s3.finishing import Finish, part_receipt
from uploads.storage.s3.writers import (
    Append,
    ObjectPutBack,
    RangeOfKnownSize,
    StreamedSender,
    WholeObject,
    multipart_token,
    object_sender,
    piece_name,
    whole_sender,
)


class S3Uploads:
    """Numbered ranges are parts of one multipart upload, which is begun with the first of them; a
    file of one range is one object at once. Ranges without a number, whose order is told last, are
    objects for a time, that finishing puts together inside the store. Ranges without a size follow
    one another: see `Append`.
    """

    def __init__(self, bucket: Bucket, locks: LeaseLocks) -> None:
        config = bucket.config
        self.rules = PartRules(config.min_part_bytes, MAX_PART_BYTES, MAX_PARTS)
        self._bucket = bucket
        self._locks = locks

    def create(self, key: str, *, size_bytes: int | None) -> UploadHandle:
        return rows.insert(key, size_bytes=size_bytes)

    def resize(self, handle: UploadHandle, *, size_bytes: int) -> None:
        rows.set_size(handle.key, size_bytes=size_bytes)

    @contextmanager
    def write(
        self,
        handle: UploadHandle,
        *,
        offset: int,
        size_bytes: int | None,
        number: int | None = None,
    ) -> Iterator[RangeWriter]:
        row = rows.get(handle.key)
        writer = self._writer(row, offset=offset, size_bytes=size_bytes, number=number)
        try:
            yield writer
        finally:
            writer.close()

    def finish(
        self, handle: UploadHandle, receipts: list[Receipt], *, size_bytes: int
    ) -> StoredObject:
        row = rows.get(handle.key)
        Finish(self._bucket, row, size_bytes=size_bytes).of(receipts)
        rows.finish(handle.key)
        return self._object(handle.key)

    @contextmanager
    def put(self, key: str, *, size_bytes: int) -> Iterator[WholeObject]:
        handle = rows.insert(key, size_bytes=size_bytes)
        writer: WholeObject | None = None
        try:
            with self._locks.writing(handle, offset=0, size_bytes=None):
                sender = whole_sender(self._bucket, key, size_bytes=size_bytes)
                writer = WholeObject(sender, self._object(key), size_bytes=size_bytes)
                yield writer
        finally:
            if writer is not None:
                writer.close()
            if writer is None or not writer.is_committed:
                self.discard(handle)
        rows.delete(key)

    @contextmanager
    def put_back(self, key: str, *, size_bytes: int) -> Iterator[ObjectPutBack]:
        sender = whole_sender(self._bucket, key, size_bytes=size_bytes)
        try:
            yield ObjectPutBack(sender, self._object(key))
        finally:
            sender.close()

    def discard(self, handle: UploadHandle) -> None:
        row = rows.find(handle.key)
        if row is not None and row.token:
            self._bucket.abort(handle.key, row.token)
        self._bucket.delete(self._bucket.names.object(handle.key))
        self._bucket.remove_pieces(handle.key)
        rows.delete(handle.key)

    def unfinished(self, *, older_than: datetime) -> Iterator[UploadHandle]:
        for row in rows.unfinished(older_than=older_than):
            yield UploadHandle(rows.BACKEND, row.key)

    def settle(self, handle: UploadHandle) -> None:
        """Of what was put at once no more is needed; of an upload, its row says who may ask."""
        self._bucket.remove_pieces(handle.key)
        rows.delete(handle.key)

    # --- Parts that clients send to the store themselves -----------------------------------------

    def part_urls(
        self, handle: UploadHandle, parts: list[tuple[int, int]], *, expires_seconds: int
    ) -> list[PartUrl]:
        token = multipart_token(self._bucket, handle.key)
        return [
            self._part_url(handle.key, token, *part, expires_seconds=expires_seconds)
            for part in parts
        ]

    def listed_parts(
        self, handle: UploadHandle, *, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, int, str]]:
        row = rows.get(handle.key)
        if not row.token:
            return
        found = self._bucket.parts(handle.key, row.token, after=after, limit=limit)
        for part in islice(found, limit):
            yield part.number, part.size_bytes, part_receipt(part)

    def _writer(
        self, row: StoreUpload, *, offset: int, size_bytes: int | None, number: int | None
    ) -> RangeOfKnownSize | Append:
        key = row.key
        if size_bytes is None:
            first = self._bucket.config.append_part_bytes
            return Append(self._bucket, key, offset=offset, first_part_bytes=first)
        if number is None:
            piece = piece_name()
            name = self._bucket.names.piece(key, piece)
            sender = object_sender(self._bucket, name, size_bytes=size_bytes)
            return RangeOfKnownSize(sender, offset=offset, size_bytes=size_bytes, piece=piece)
        if offset == 0 and size_bytes == row.size_bytes:
            name = self._bucket.names.object(key)
            sender = object_sender(self._bucket, name, size_bytes=size_bytes)
            return RangeOfKnownSize(sender, offset=0, size_bytes=size_bytes, whole=True)
        token = multipart_token(self._bucket, key)
        body = self._bucket.part_body(key, token, number=number, size_bytes=size_bytes)
        return RangeOfKnownSize(
            StreamedSender(body), offset=offset, size_bytes=size_bytes, part=number
        )

    def _part_url(
        self, key: str, token: str, number: int, size_bytes: int, *, expires_seconds: int
    ) -> PartUrl:
        url, headers = self._bucket.part_url(
            key, token, number=number, size_bytes=size_bytes, expires_seconds=expires_seconds
        )
        return PartUrl(number, size_bytes, url, headers)

    def _object(self, key: str) -> StoredObject:
        return StoredObject(rows.BACKEND, self._bucket.config.bucket, key)
