"""Makes one object of what an upload's receipts stand for."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from common.errors import NotFound
from uploads.models import StoreUpload
from uploads.storage.base import PartsLost, Receipt
from uploads.storage.refusals import upload_missing
from uploads.storage.s3.appended import Grid
from uploads.storage.s3.bucket import Bucket, StoredPart, seal
from uploads.storage.s3.config import MAX_PART_BYTES
from uploads.storage.s3.writers import multipart_token, tail_name

_READ_BYTES = 2**20


def part_receipt(part: StoredPart) -> str:
    return json.dumps({"etag": part.etag, "part": part.number})


@dataclass(frozen=True)
class Piece:
    """An object for a time that becomes a range of the file."""

    name: str
    size_bytes: int


class Finish:
    """Raises OSError for another size, PartsLost, NotFound `upload_missing`; whatever it raises,
    it can be tried again.
    """

    def __init__(self, bucket: Bucket, row: StoreUpload, *, size_bytes: int) -> None:
        self._bucket = bucket
        self._key = row.key
        self._row = row
        self._size_bytes = size_bytes
        self._name = bucket.names.object(row.key)

    def of(self, receipts: list[Receipt]) -> None:
        self._require_size(sum(receipt.size_bytes for receipt in receipts))
        if self._row.finished_at is not None:
            self._require_object()
            return
        tokens = [json.loads(receipt.token) for receipt in receipts]
        if any("whole" in token for token in tokens):
            self._require_whole(receipts[0], tokens[0])
        elif any("part" in token for token in tokens):
            self._complete_numbered(receipts, tokens)
        elif tokens and all("tail" in token for token in tokens):
            self._complete_appended(receipts, tokens)
        else:
            self._compose([self._piece(*pair) for pair in zip(receipts, tokens, strict=True)])
            self._bucket.remove_pieces(self._key)

    # --- A file of one range ---------------------------------------------------------------------

    def _require_whole(self, receipt: Receipt, token: dict[str, Any]) -> None:
        if self._bucket.head(self._name) != (self._size_bytes, token["etag"]):
            raise PartsLost([receipt.offset_bytes])

    # --- Numbered parts --------------------------------------------------------------------------

    def _complete_numbered(self, receipts: list[Receipt], tokens: list[dict[str, Any]]) -> None:
        there = self._listed()
        if there is None:
            return
        parts = [
            StoredPart(token["part"], token["etag"], receipt.size_bytes)
            for receipt, token in zip(receipts, tokens, strict=True)
        ]
        lost = [
            receipt.offset_bytes
            for receipt, part in zip(receipts, parts, strict=True)
            if there.get(part.number) != part
        ]
        if lost:
            raise PartsLost(lost)
        self._complete(parts)

    def _listed(self) -> dict[int, StoredPart] | None:
        """The parts that the store has; None if it has made the object of them already."""
        try:
            if not self._row.token:
                raise upload_missing()
            found = self._bucket.parts(self._key, self._row.token)
            return {part.number: part for part in found}
        except NotFound:
            self._require_object()
            return None

    def _complete(self, parts: list[StoredPart]) -> None:
        token = multipart_token(self._bucket, self._key)
        with suppress(NotFound):  # an answer was lost: it had been done
            self._bucket.complete(self._key, token, parts)
        self._require_object()

    # --- Appended bytes --------------------------------------------------------------------------

    def _complete_appended(self, receipts: list[Receipt], tokens: list[dict[str, Any]]) -> None:
        cells, end = Grid(self._bucket.config.append_part_bytes).whole_cells(self._size_bytes)
        tail = self._tail(self._size_bytes - end)
        if not cells:
            self._bucket.put(self._name, tail)
            self._bucket.remove_pieces(self._key)
            return
        there = self._listed()
        if there is None:
            return
        parts = [part for cell in cells if (part := there.get(cell.number))]
        if [part.size_bytes for part in parts] != [cell.size_bytes for cell in cells]:
            raise PartsLost([0])
        self._require_seals(receipts, tokens, parts)
        if tail:
            number = parts[-1].number + 1
            parts.append(
                self._bucket.put_part(self._key, self._row.token, number=number, data=tail)
            )
        self._complete(parts)
        self._bucket.remove_pieces(self._key)

    def _tail(self, size_bytes: int) -> bytes:
        if not size_bytes:
            return b""
        name = self._bucket.names.piece(self._key, tail_name(self._size_bytes))
        tail = self._bucket.read(name)
        if tail is None or len(tail) != size_bytes:
            self._require_object()  # it was finished, and its pieces are gone
            return b""
        return tail

    def _require_seals(
        self, receipts: list[Receipt], tokens: list[dict[str, Any]], parts: list[StoredPart]
    ) -> None:
        """That the parts are those which the receipts were given for."""
        left = iter(parts)
        position, part_end = 0, 0
        for receipt, token in zip(receipts, tokens, strict=True):
            position += receipt.size_bytes
            etags = []
            while part_end < position - token["tail"]:
                part = next(left)
                part_end += part.size_bytes
                etags.append(part.etag)
            if seal(etags) != token["seal"]:
                raise PartsLost([0])

    # --- Ranges whose order was told last --------------------------------------------------------

    def _piece(self, receipt: Receipt, token: dict[str, Any]) -> Piece:
        name = token.get("piece") or tail_name(receipt.offset_bytes + receipt.size_bytes)
        return Piece(self._bucket.names.piece(self._key, name), receipt.size_bytes)

    def _compose(self, pieces: list[Piece]) -> None:
        """Copy what is large enough inside the store, and carry what is not through here."""
        if self._size_bytes <= self._bucket.config.min_part_bytes:
            data = b"".join(bytes(block) for piece in pieces for block in self._blocks(piece))
            self._bucket.put(self._name, data)
            return
        composed = _Composition(self._bucket, self._key)
        for piece in pieces:
            composed.add(piece)
        self._complete(composed.parts())

    def _blocks(self, piece: Piece) -> Iterator[bytes]:
        yield from blocks_of(self._bucket, piece, start=0)

    # --- Checks ----------------------------------------------------------------------------------

    def _require_size(self, actual: int) -> None:
        if actual != self._size_bytes:
            raise OSError(f"upload {self._key} has {actual} bytes, not {self._size_bytes}")

    def _require_object(self) -> None:
        found = self._bucket.head(self._name)
        if found is None:
            raise upload_missing()
        self._require_size(found[0])


class _Composition:
    """Parts, in order, out of pieces of any size: each part but the last has the least size."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._token = multipart_token(bucket, key)
        self._least = bucket.config.min_part_bytes
        self._data = bytearray()
        self._parts: list[StoredPart] = []

    def add(self, piece: Piece) -> None:
        start = 0
        if self._data or piece.size_bytes < self._least:
            start = self._gather(piece)
        while piece.size_bytes - start >= self._least:
            end = min(start + MAX_PART_BYTES, piece.size_bytes)
            if 0 < piece.size_bytes - end < self._least:
                end -= self._least
            self._copy(piece, start, end)
            start = end
        if start < piece.size_bytes:
            self._gather(piece, start=start)

    def parts(self) -> list[StoredPart]:
        if self._data:
            self._flush()
        return self._parts

    def _gather(self, piece: Piece, *, start: int = 0) -> int:
        """Take bytes of the piece until there are enough for a part. Returns where that was."""
        end = min(piece.size_bytes, start + self._least - len(self._data))
        for block in blocks_of(self._bucket, piece, start=start, end=end):
            self._data += block
        if len(self._data) >= self._least:
            self._flush()
        return end

    def _flush(self) -> None:
        number = len(self._parts) + 1
        data = bytes(self._data)
        self._parts.append(self._bucket.put_part(self._key, self._token, number=number, data=data))
        self._data.clear()

    def _copy(self, piece: Piece, start: int, end: int) -> None:
        number = len(self._parts) + 1
        part = self._bucket.copy_part(
            self._key, self._token, number=number, source=piece.name, start=start, end=end
        )
        self._parts.append(part or self._carry(piece, start, end, number=number))

    def _carry(self, piece: Piece, start: int, end: int, *, number: int) -> StoredPart:
        """For a store that cannot copy."""
        size = end - start
        with self._bucket.part_body(self._key, self._token, number=number, size_bytes=size) as body:
            for block in blocks_of(self._bucket, piece, start=start, end=end):
                body.send(memoryview(block))
            return StoredPart(number, body.finish(), size)


def blocks_of(
    bucket: Bucket, piece: Piece, *, start: int, end: int | None = None
) -> Iterator[bytes]:
    """Raises NotFound `upload_missing`, OSError if there are fewer bytes."""
    end = piece.size_bytes if end is None else end
    if start >= end:
        return
    opened = bucket.open(piece.name, start=start, end=end)
    if opened is None:
        raise upload_missing()
    stream, _ = opened
    with stream:
        left = end - start
        while left:
            block = bucket.read_block(stream, min(left, _READ_BYTES))
            if not block:
                raise OSError(f"{piece.name} ends {left} bytes early")
            left -= len(block)
            yield block
