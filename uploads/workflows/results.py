"""Result files of runs. They are stored like uploads, with the same expiry, once their content has
passed the same checks.

FILE_UPLOAD_ALLOWED_TYPES limits uploads only, not results.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.principals import PORTAL
from common import lengths
from common.db import release_connection
from common.ids import uuid7
from uploads import policy
from uploads.files import states
from uploads.files.acceptance import checks
from uploads.files.acceptance.base import Candidate, Patience, Proof
from uploads.files.acceptance.checks import Accepted
from uploads.files.content_types import detect_type
from uploads.files.states import NewFile
from uploads.models import IngestFile, RunStatus, WorkflowRun
from uploads.receiving.intake import Intake, with_head
from uploads.storage import StoredObject, UploadHandle, named, storage_for_new

_CHECK_SECONDS = 120.0  # that a result may take to be checked
_SUFFIX_BYTES = 32  # a longer ending is not treated as a suffix


@dataclass(frozen=True)
class StoredResult:
    """A result whose bytes are stored and accepted, before it has a row."""

    filename: str
    size_bytes: int
    accepted: Accepted

    @property
    def sha256(self) -> str:
        return self.accepted.proof.sha256

    @property
    def detected_type(self) -> str:
        return self.accepted.proof.detected_type

    @property
    def stored(self) -> StoredObject:
        return self.accepted.proof.stored


class LeaseLostError(Exception):
    """The attempt has ended or another worker has it. Nothing was changed."""


def store_result(
    run: WorkflowRun,
    *,
    filename: str,
    size_bytes: int,
    blocks: Iterator[memoryview],
    on_beat: Callable[[], None] = lambda: None,
) -> StoredResult:
    """Store `blocks`, exactly `size_bytes` long, for a running attempt, and check them.

    The key is saved in the run's row before any byte is written, so that an interrupted write is
    found and cleaned up. `on_beat` is called while the checks take their time.
    Raises InsufficientStorage `no_room`, PayloadTooLarge, InvalidInput, LeaseLostError, and what
    `checks.check_content` refuses it for, or ServiceUnavailable while that cannot judge.
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
            proof = Proof(digest.hexdigest(), detect_type(bytes(head)), writer.commit())
            candidate = Candidate(
                filename=filename,
                size_bytes=size_bytes,
                content_type=proof.detected_type,
                detected_type=proof.detected_type,
            )
            silent = float(settings.PORTAL_SCANNER_TIMEOUT_SECONDS)
            patience = Patience(silent_seconds=silent, seconds=_CHECK_SECONDS, on_beat=on_beat)
            accepted = checks.check_content(candidate, proof, patience=patience)
            return StoredResult(filename, size_bytes, accepted)
    except BaseException:
        discard_result(run, key)
        raise


def fitting_name(name: str) -> str:
    """A valid file name: one line, at most 255 bytes, with the original suffix."""
    clean = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in name)
    suffix = PurePath(clean).suffix
    if len(suffix.encode()) > _SUFFIX_BYTES:
        suffix = ""
    stem = clean.removesuffix(suffix).encode()[: lengths.FILE_NAME - len(suffix.encode())]
    fitting = stem.decode(errors="ignore") + suffix
    return fitting if fitting.strip(".") else "result"


def insert_result(result: StoredResult, *, owner: User | None) -> IngestFile:
    """Insert the file row of a stored result. Its id is the storage key.

    Call in the transaction that ends the run.
    """
    return states.store_new(
        NewFile(
            id=UUID(result.stored.key),
            owner=owner,
            filename=result.filename,
            size_bytes=result.size_bytes,
            content_type=result.detected_type,
            is_result=True,
        ),
        result.accepted,
        actor=PORTAL,
    )


def discard_unfinished(run: WorkflowRun) -> None:
    """Delete the bytes of a result that never became a file. Safe to repeat."""
    key = WorkflowRun.objects.values_list("result_key", flat=True).get(id=run.id)
    if key:
        discard_result(run, key)


def discard_result(run: WorkflowRun, key: str) -> None:
    """Delete the bytes under `key` only: a later attempt or request may be writing others."""
    with transaction.atomic():
        rows = WorkflowRun.objects.filter(id=run.id)
        rows.select_for_update().exists()  # completing the run takes this lock too
        if not IngestFile.objects.filter(id=UUID(key)).exists():
            backend = rows.values_list("result_backend", flat=True).get()
            named(backend).uploads.discard(UploadHandle(backend, key))
            rows.filter(result_key=key).update(result_key="")


def _exactly(size_bytes: int, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Pass the blocks on. Raises OSError unless they add up to `size_bytes`."""
    written = 0
    for block in blocks:
        written += block.nbytes
        if written > size_bytes:
            break
        yield block
    if written != size_bytes:
        raise OSError(f"the result has {written} bytes, not {size_bytes}")
