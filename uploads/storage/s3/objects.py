"""Stored objects of a bucket."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, cast

from uploads.storage.base import KEY, HeldObject, StoredObject
from uploads.storage.refusals import file_purged
from uploads.storage.s3 import rows
from uploads.storage.s3.bucket import Bucket

_BUFFER_BYTES = 256 * 2**10
_CHECK_SECONDS = 5.0


class S3Objects:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def open(self, stored: StoredObject, *, start: int = 0, end: int | None = None) -> BinaryIO:
        name = self._bucket.names.object(stored.key)
        if end is not None and end <= start:
            if self._bucket.head(name) is None:
                raise file_purged()
            return io.BytesIO()
        raw = S3Reader(self._bucket, name, start=start, end=end)
        return cast(BinaryIO, io.BufferedReader(raw, _BUFFER_BYTES))

    def delete(self, stored: StoredObject) -> None:
        self._bucket.delete(self._bucket.names.object(stored.key))
        rows.delete(stored.key)

    def name_of(self, stored: StoredObject) -> str:
        return self._bucket.names.object(stored.key)

    def held(self, *, after: str = "") -> Iterator[HeldObject]:
        config, names = self._bucket.config, self._bucket.names
        folder = names.object("")
        for found in self._bucket.listed(folder, after=names.object(after)):
            key = found.name.removeprefix(folder)
            if KEY.fullmatch(key):
                stored = StoredObject(rows.BACKEND, config.bucket, key)
                yield HeldObject(stored, found.size_bytes, found.changed_at)

    def check(self) -> None:
        quick = replace(self._bucket.config, attempts=1, timeout_seconds=_CHECK_SECONDS)
        Bucket(quick).check()

    def url(
        self, stored: StoredObject, *, expires_seconds: int, disposition: str, content_type: str
    ) -> str:
        return self._bucket.url(
            self._bucket.names.object(stored.key),
            expires_seconds=expires_seconds,
            ResponseContentDisposition=disposition,
            ResponseContentType=content_type,
        )


class S3Reader(io.RawIOBase):
    """An object's bytes from `start` to `end`, as a file that begins there. Where somebody seeks
    and then reads, it is asked for anew.

    Raises Gone `file_purged`, at once or when it goes later.
    """

    def __init__(self, bucket: Bucket, name: str, *, start: int, end: int | None) -> None:
        self._bucket = bucket
        self._name = name
        self._start = start
        self._end = end
        self._position = self._streamed = start
        self._stream: Any = None
        self._open()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._position >= self._known_end:
            return 0
        if self._stream is None or self._streamed != self._position:
            self._open()
        block = self._bucket.read_block(self._stream, len(buffer))
        buffer[: len(block)] = block
        self._position += len(block)
        self._streamed = self._position
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self.tell()
        elif whence == io.SEEK_END:
            offset += self._known_end - self._start
        self._position = self._start + max(offset, 0)
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start

    def close(self) -> None:
        self._let_go()
        super().close()

    def _open(self) -> None:
        self._let_go()
        opened = self._bucket.open(self._name, start=self._position, end=self._end)
        if opened is None:
            raise file_purged()
        self._stream, size_bytes = opened
        self._streamed = self._position
        self._end = self._position + size_bytes

    @property
    def _known_end(self) -> int:
        return self._position if self._end is None else self._end

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
