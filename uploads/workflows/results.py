"""Result files: what a run made, stored as any file is, with the same proofs and expiry.

What may be uploaded (FILE_UPLOAD_ALLOWED_TYPES) does not bind what the portal itself made of it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

from django.db import transaction

from accounts.models import User
from accounts.principals import PORTAL
from common import lengths
from common.db import release_connection
from common.ids import uuid7
from uploads import policy
from uploads.files import states
from uploads.files.content_types import detect_type
from uploads.files.states import NewFile, Proof
from uploads.models import IngestFile, RunStatus, WorkflowRun
from uploads.receiving.intake import Intake, with_head
from uploads.storage import StoredObject, UploadHandle, named, storage_for_new

_SUFFIX_BYTES = 32  # what is longer is none


@dataclass(frozen=True)
class StoredResult:
    """A result whose bytes are stored, before it has a row."""

    filename: str
    size_bytes: int
    sha256: str
    detected_type: str
    stored: StoredObject


class LeaseLostError(Exception):
    """The attempt is another's, or over: nothing of it is kept."""


def store_result(
    run: WorkflowRun, *, filename: str, size_bytes: int, blocks: Iterator[memoryview]
) -> StoredResult:
    """Store exactly `size_bytes` out of `blocks` for a running attempt.

    The run's row names the bytes before they are there, so whatever is cut short is found.
    Raises InsufficientStorage `no_room`, PayloadTooLarge, InvalidInput, LeaseLostError.
    """
    policy.check_filename(filename)
    policy.check_size(size_bytes)
    key = uuid7().hex
    held = WorkflowRun.objects.filter(
        id=run.id, status=RunStatus.RUNNING, lease_id=run.lease_id, result_key=""
    )
    store = storage_for_new()
    if not held.change(result_key=key, result_backend=store.name):
        raise LeaseLostError
    release_connection()
    digest = hashlib.sha256()
    head = bytearray()
    try:
        with store.uploads.put(key, size_bytes=size_bytes) as writer:
            Intake(writer, [digest]).take(_exactly(size_bytes, with_head(head, blocks)))
            return StoredResult(
                filename=filename,
                size_bytes=size_bytes,
                sha256=digest.hexdigest(),
                detected_type=detect_type(bytes(head)),
                stored=writer.commit(),
            )
    except BaseException:
        discard_result(run, key)
        raise


def fitting_name(name: str) -> str:
    """A result's name as a file's can be: one line, at most 255 bytes, its suffix kept."""
    clean = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in name)
    suffix = PurePath(clean).suffix
    if len(suffix.encode()) > _SUFFIX_BYTES:
        suffix = ""
    stem = clean.removesuffix(suffix).encode()[: lengths.FILE_NAME - len(suffix.encode())]
    fitting = stem.decode(errors="ignore") + suffix
    return fitting if fitting.strip(".") else "result"


def insert_result(result: StoredResult, *, owner: User | None) -> IngestFile:
    """The row of a stored result, in the transaction that ends the run. A key is its file's id."""
    return states.store_new(
        NewFile(
            id=UUID(result.stored.key),
            owner=owner,
            filename=result.filename,
            size_bytes=result.size_bytes,
            content_type=result.detected_type,
            is_result=True,
        ),
        Proof(result.sha256, result.detected_type, result.stored),
        actor=PORTAL,
    )


def discard_unfinished(run: WorkflowRun) -> None:
    """Free the bytes of a result that never became a file. Repeating it is harmless."""
    key = WorkflowRun.objects.values_list("result_key", flat=True).get(id=run.id)
    if key:
        discard_result(run, key)


def discard_result(run: WorkflowRun, key: str) -> None:
    """Free these bytes alone: a later attempt, or request, may be writing others."""
    with transaction.atomic():
        rows = WorkflowRun.objects.filter(id=run.id)
        rows.select_for_update().exists()  # who completes the run with them holds it as well
        if not IngestFile.objects.filter(id=UUID(key)).exists():
            backend = rows.values_list("result_backend", flat=True).get()
            named(backend).uploads.discard(UploadHandle(backend, key))
            rows.filter(result_key=key).update(result_key="")


def _exactly(size_bytes: int, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same blocks. Raises OSError unless they have `size_bytes` together."""
    written = 0
    for block in blocks:
        written += block.nbytes
        if written > size_bytes:
            break
        yield block
    if written != size_bytes:
        raise OSError(f"the result has {written} bytes, not {size_bytes}")
