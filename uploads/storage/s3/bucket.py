"""The requests that are made of a bucket, with our errors."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from common.errors import NotFound
from uploads.storage.s3.client import Body, client_of, signed
from uploads.storage.s3.config import Names, S3Config
from uploads.storage.s3.errors import MISSING_OBJECT, code_of, store_errors_explained

ABORTS = 10  # of one multipart upload: parts that were under way may still come


@dataclass(frozen=True)
class StoredPart:
    """What the store says of a part."""

    number: int
    etag: str
    size_bytes: int


@dataclass(frozen=True)
class Listed:
    name: str
    size_bytes: int
    changed_at: datetime


class Bucket:
    """Raises what `store_errors_explained` does."""

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self.names = Names(config)

    # --- Multipart uploads -----------------------------------------------------------------------

    def begin(self, key: str) -> str:
        """The id of a new multipart upload."""
        with store_errors_explained():
            made = self._client.create_multipart_upload(
                Bucket=self.config.bucket,
                Key=self.names.object(key),
                **self.config.of_objects,
            )
        return made["UploadId"]

    def part_body(self, key: str, token: str, *, number: int, size_bytes: int) -> Body:
        return Body(
            self.config,
            "upload_part",
            size_bytes=size_bytes,
            Key=self.names.object(key),
            UploadId=token,
            PartNumber=number,
        )

    def part_url(
        self, key: str, token: str, *, number: int, size_bytes: int, expires_seconds: int
    ) -> tuple[str, dict[str, str]]:
        """An address to PUT a part to, and the headers that go with it."""
        with store_errors_explained():
            return signed(
                self.config,
                "upload_part",
                size_bytes=size_bytes,
                expires_seconds=expires_seconds,
                Key=self.names.object(key),
                UploadId=token,
                PartNumber=number,
            )

    def put_part(self, key: str, token: str, *, number: int, data: bytes | bytearray) -> StoredPart:
        """Send a part that is in memory; repeated where the store is busy."""
        with store_errors_explained():
            made = self._client.upload_part(
                Bucket=self.config.bucket,
                Key=self.names.object(key),
                UploadId=token,
                PartNumber=number,
                Body=data,
            )
        return StoredPart(number, made["ETag"], len(data))

    def copy_part(
        self, key: str, token: str, *, number: int, source: str, start: int, end: int
    ) -> StoredPart | None:
        """Make bytes of another object a part; None where the store cannot copy."""
        with store_errors_explained():
            made = self._client.upload_part_copy(
                Bucket=self.config.bucket,
                Key=self.names.object(key),
                UploadId=token,
                PartNumber=number,
                CopySource={"Bucket": self.config.bucket, "Key": source},
                CopySourceRange=f"bytes={start}-{end - 1}",
            )
        etag = made.get("CopyPartResult", {}).get("ETag")
        return StoredPart(number, etag, end - start) if etag else None

    def parts(
        self, key: str, token: str, *, after: int = 0, limit: int | None = None
    ) -> Iterator[StoredPart]:
        """The parts that the store has, by number. Raises NotFound `upload_missing`."""
        marker = after
        while True:
            with store_errors_explained():
                page = self._client.list_parts(
                    Bucket=self.config.bucket,
                    Key=self.names.object(key),
                    UploadId=token,
                    PartNumberMarker=marker,
                    MaxParts=min(limit or 1000, 1000),
                )
            for part in page.get("Parts", []):
                if part["PartNumber"] > after:  # some stores take no marker
                    yield StoredPart(part["PartNumber"], part["ETag"], part["Size"])
            if not page.get("IsTruncated") or limit is not None:
                return
            marker = page["NextPartNumberMarker"]

    def complete(self, key: str, token: str, parts: list[StoredPart]) -> None:
        """Make an object of parts. (An answer of 200 that holds an error is one for boto too.)"""
        told = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with store_errors_explained():
            self._client.complete_multipart_upload(
                Bucket=self.config.bucket,
                Key=self.names.object(key),
                UploadId=token,
                MultipartUpload={"Parts": told},
            )

    def abort(self, key: str, token: str) -> None:
        """Until the store has nothing of it. Repeating it is harmless."""
        name = self.names.object(key)
        try:
            for _ in range(ABORTS):
                with store_errors_explained():
                    self._client.abort_multipart_upload(
                        Bucket=self.config.bucket, Key=name, UploadId=token
                    )
                if next(self.parts(key, token, limit=1), None) is None:
                    return
        except NotFound:
            return

    # --- Objects ---------------------------------------------------------------------------------

    def body(self, name: str, *, size_bytes: int) -> Body:
        return Body(
            self.config, "put_object", size_bytes=size_bytes, Key=name, **self.config.of_objects
        )

    def put(self, name: str, data: bytes | bytearray) -> str:
        """Send an object that is in memory; repeated where the store is busy. Its ETag."""
        with store_errors_explained():
            made = self._client.put_object(
                Bucket=self.config.bucket,
                Key=name,
                Body=bytes(data),
                **self.config.of_objects,
            )
        return made["ETag"]

    def head(self, name: str) -> tuple[int, str] | None:
        """Its size and ETag; None if it is not there."""
        with store_errors_explained():
            try:
                found = self._client.head_object(Bucket=self.config.bucket, Key=name)
            except ClientError as exc:
                if code_of(exc) in MISSING_OBJECT:
                    return None
                raise
        return found["ContentLength"], found["ETag"]

    def open(self, name: str, *, start: int = 0, end: int | None = None) -> tuple[Any, int] | None:
        """A stream of its bytes, and how many there are; None if it is not there."""
        span = {} if start == 0 and end is None else {"Range": _span(start, end)}
        with store_errors_explained():
            try:
                answer = self._client.get_object(Bucket=self.config.bucket, Key=name, **span)
            except ClientError as exc:
                if code_of(exc) in MISSING_OBJECT:
                    return None
                raise
        return answer["Body"], answer["ContentLength"]

    def read(self, name: str) -> bytes | None:
        """A small object; None if it is not there."""
        opened = self.open(name)
        if opened is None:
            return None
        stream, _ = opened
        with store_errors_explained(), stream:
            return bytes(stream.read())

    def read_block(self, stream: Any, size: int) -> bytes:
        """The next bytes of what `open` gave."""
        with store_errors_explained():
            return bytes(stream.read(size))

    def remove_pieces(self, key: str) -> None:
        """Everything of an upload that was there for a time only."""
        for found in self.listed(self.names.pieces(key)):
            self.delete(found.name)

    def delete(self, name: str) -> None:
        with store_errors_explained():
            self._client.delete_object(Bucket=self.config.bucket, Key=name)

    def listed(self, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """Objects, in the order of their names."""
        with store_errors_explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.config.bucket, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for found in page.get("Contents", []):
                    yield Listed(found["Key"], found["Size"], found["LastModified"])

    def check(self) -> None:
        """Raises ServiceUnavailable `storage_failed`, which names the setting, if it is no use."""
        with store_errors_explained():
            self._client.head_bucket(Bucket=self.config.bucket)

    def url(self, name: str, *, expires_seconds: int, **overrides: str) -> str:
        """An address from which everybody can read an object for a time."""
        with store_errors_explained():
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.config.bucket, "Key": name, **overrides},
                ExpiresIn=expires_seconds,
            )

    @property
    def _client(self) -> Any:
        return client_of(self.config)


def seal(etags: list[str]) -> str:
    """One short text for many ETags."""
    return hashlib.sha256("\n".join(etags).encode()).hexdigest()[:32]


def _span(start: int, end: int | None) -> str:
    return f"bytes={start}-{'' if end is None else end - 1}"
