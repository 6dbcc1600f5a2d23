"""Takes the bytes of one range, or of a whole object, as they come."""

import json
from typing import Protocol

from common.ids import uuid7
from uploads.storage.base import Receipt, StoredObject
from uploads.storage.s3 import rows
from uploads.storage.s3.appended import Grid
from uploads.storage.s3.bucket import Bucket, StoredPart, seal
from uploads.storage.s3.client import Body

IN_MEMORY_BYTES = 2**20  # what is smaller is kept until it is sent, so that it can be sent again


class Sender(Protocol):
    """A body of known length on its way to the store."""

    def send(self, block: memoryview) -> None: ...
    def finish(self) -> str: ...
    def close(self) -> None: ...


class StreamedSender:
    def __init__(self, body: Body) -> None:
        self._body = body

    def send(self, block: memoryview) -> None:
        self._body.send(block)

    def finish(self) -> str:
        return self._body.finish()

    def close(self) -> None:
        self._body.__exit__()


class SmallObjectSender:
    """Keeps a small object in memory, so that it can be sent again when the store is busy."""

    def __init__(self, bucket: Bucket, name: str, *, size_bytes: int) -> None:
        self._bucket = bucket
        self._name = name
        self._size_bytes = size_bytes
        self._data = bytearray()

    def send(self, block: memoryview) -> None:
        if len(self._data) + block.nbytes > self._size_bytes:
            raise OSError("the body is longer than was announced")
        self._data += block

    def finish(self) -> str:
        if len(self._data) != self._size_bytes:
            raise OSError(f"{len(self._data)} of {self._size_bytes} bytes came")
        return self._bucket.put(self._name, self._data)

    def close(self) -> None:
        self._data.clear()


def object_sender(bucket: Bucket, name: str, *, size_bytes: int) -> Sender:
    if size_bytes <= IN_MEMORY_BYTES:
        return SmallObjectSender(bucket, name, size_bytes=size_bytes)
    return StreamedSender(bucket.body(name, size_bytes=size_bytes))


class PartsSender:
    """A whole object that is too large for one request, in parts of known length.

    A kill leaves parts, which the lifecycle of the bucket removes.
    """

    def __init__(self, bucket: Bucket, key: str, *, size_bytes: int) -> None:
        self._bucket = bucket
        self._key = key
        self._left = size_bytes
        self._room = 0  # of the part under way
        self._body: Body | None = None
        self._parts: list[StoredPart] = []
        self._token = bucket.begin(key)

    def send(self, block: memoryview) -> None:
        while block.nbytes:
            body = self._body or self._begin_part()
            sent = block[: self._room]
            body.send(sent)
            self._room -= sent.nbytes
            block = block[sent.nbytes :]
            if not self._room:
                self._end_part(body)

    def finish(self) -> str:
        if self._left or self._body:
            raise OSError("the body is shorter than was announced")
        self._bucket.complete(self._key, self._token, self._parts)
        self._token = ""
        return seal([part.etag for part in self._parts])

    def close(self) -> None:
        if self._body:
            self._body.__exit__()
            self._body = None
        if self._token:
            self._bucket.abort(self._key, self._token)
            self._token = ""

    def _begin_part(self) -> Body:
        self._room = min(self._bucket.config.put_bytes, self._left)
        if not self._room:
            raise OSError("the body is longer than was announced")
        self._left -= self._room
        self._body = self._bucket.part_body(
            self._key, self._token, number=len(self._parts) + 1, size_bytes=self._room
        )
        return self._body

    def _end_part(self, body: Body) -> None:
        etag = body.finish()
        body.__exit__()
        self._body = None
        self._parts.append(StoredPart(len(self._parts) + 1, etag, 0))


def whole_sender(bucket: Bucket, key: str, *, size_bytes: int) -> Sender:
    """Of the object itself, whatever its size."""
    if size_bytes > bucket.config.put_bytes:
        return PartsSender(bucket, key, size_bytes=size_bytes)
    return object_sender(bucket, bucket.names.object(key), size_bytes=size_bytes)


class RangeOfKnownSize:
    """A range that is a part of a multipart upload, an object for a time, or the whole file."""

    def __init__(self, sender: Sender, *, offset: int, size_bytes: int, **what: object) -> None:
        self._sender = sender
        self._offset = offset
        self._size_bytes = size_bytes
        self._what = what

    def write(self, block: memoryview) -> None:
        self._sender.send(block)

    def commit(self) -> Receipt:
        etag = self._sender.finish()
        return Receipt(self._offset, self._size_bytes, json.dumps({"etag": etag, **self._what}))

    def close(self) -> None:
        self._sender.close()


def piece_name() -> str:
    """Used once: nothing that is on its way late can take another's place."""
    return f"piece-{uuid7().hex}"


class Append:
    """What follows the end of an upload. Keeps at most one part in memory."""

    def __init__(self, bucket: Bucket, key: str, *, offset: int, first_part_bytes: int) -> None:
        self._bucket = bucket
        self._key = key
        self._grid = Grid(first_part_bytes)
        self._offset = self._position = offset
        _, self._begins = self._grid.whole_cells(offset)  # where the next part does
        self._previous_tail = offset if offset > self._begins else None
        self._data = bytearray(self._read_tail())
        self._etags: list[str] = []

    def write(self, block: memoryview) -> None:
        while block.nbytes:
            cell = self._grid.cell(self._begins)
            room = cell.size_bytes - len(self._data)
            self._data += block[:room]
            self._position += min(room, block.nbytes)
            block = block[room:]
            if len(self._data) == cell.size_bytes:
                self._send_part(cell.number)

    def commit(self) -> Receipt:
        if self._data:
            self._bucket.put(self._tail_name(self._position), self._data)
        token = {"tail": len(self._data), "seal": seal(self._etags)}
        return Receipt(self._offset, self._position - self._offset, json.dumps(token))

    def close(self) -> None:
        self._data.clear()

    def _send_part(self, number: int) -> None:
        token = multipart_token(self._bucket, self._key)
        part = self._bucket.put_part(self._key, token, number=number, data=bytes(self._data))
        self._etags.append(part.etag)
        self._begins += len(self._data)
        self._data.clear()

    def _read_tail(self) -> bytes:
        if self._previous_tail is None:
            return b""
        tail = self._bucket.read(self._tail_name(self._offset))
        wanted = self._offset - self._begins
        if tail is None or len(tail) != wanted:
            raise OSError(f"upload {self._key} lacks the {wanted} bytes before {self._offset}")
        return tail

    def _tail_name(self, end: int) -> str:
        return self._bucket.names.piece(self._key, tail_name(end))


def tail_name(end: int) -> str:
    return f"tail-{end}"


class WholeObject:
    """A small file at once. It is kept once the row says that nobody has discarded it."""

    def __init__(self, sender: Sender, stored: StoredObject, *, size_bytes: int) -> None:
        self._sender = sender
        self._stored = stored
        self._size_bytes = size_bytes
        self.is_committed = False

    def write(self, block: memoryview) -> None:
        self._sender.send(block)

    def commit(self) -> StoredObject:
        self._sender.finish()
        rows.touch(self._stored.key)
        self.is_committed = True
        return self._stored

    def close(self) -> None:
        self._sender.close()


class ObjectPutBack:
    """A whole object that no row is about yet."""

    def __init__(self, sender: Sender, stored: StoredObject) -> None:
        self._sender = sender
        self._stored = stored

    def write(self, block: memoryview) -> None:
        self._sender.send(block)

    def commit(self) -> StoredObject:
        self._sender.finish()
        return self._stored


def multipart_token(bucket: Bucket, key: str) -> str:
    """The multipart upload of an upload; begun now if it has none. Two may try at once."""
    known = rows.get(key).token
    if known:
        return known
    begun = bucket.begin(key)
    counts = ""
    try:
        counts = rows.claim_token(key, begun)
    finally:
        if counts != begun:
            bucket.abort(key, begun)
    return counts
