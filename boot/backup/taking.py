"""Making a backup of a portal that may be at work.

The rows come from one snapshot, and the stored files that it names are copied while a hold keeps
their bytes (`uploads.files.holds`): what was announced before the backup began is in it, whole.
Uploads that are under way are not.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psycopg
from django.conf import settings
from django.utils.crypto import salted_hmac

from boot.backup import postgres
from boot.backup.folder import (
    FORMAT,
    Backup,
    Entry,
    Manifest,
    Progress,
    copy,
    open_new,
    sha256_of,
    write_synced,
)
from boot.errors import CannotRunError
from common.db import database_now
from common.errors import Gone
from common.version import VERSION
from uploads.files.holds import hold_bytes
from uploads.models import IngestFile
from uploads.storage import StoredObject, named

_STORED = """
    SELECT id::text, storage_backend, storage_bucket, storage_key, size_bytes, sha256
    FROM ingest_file WHERE status IN ('checking', 'stored', 'processed') AND purged_at IS NULL
    ORDER BY id
"""
_LISTED_AT_ONCE = 2000


def take(
    target: Path,
    *,
    earlier: Backup | None,
    begin: Callable[[int], Progress],
) -> Manifest:
    """Make the backup `target`. Files that `earlier` has, too, are linked to it, not copied.

    `begin` is told how many bytes there are to copy. Raises CannotRunError; what was made until
    then is removed.
    """
    target = target.absolute()
    if target.exists():
        raise CannotRunError(f"{target} exists already; a backup is a new folder.")
    unfinished = Backup(target.with_name(f"{target.name}.partial"))
    _make_folder(unfinished.path)
    try:
        manifest = _take(unfinished, earlier=earlier, begin=begin)
        unfinished.path.rename(target)
        _sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(unfinished.path, ignore_errors=True)
        raise
    return manifest


def key_check() -> str:
    """Tells whether a secret key is the one that a backup's secrets were encrypted with."""
    return salted_hmac("doorito.backup", "key", algorithm="sha256").hexdigest()[:32]


def _take(backup: Backup, *, earlier: Backup | None, begin: Callable[[int], Progress]) -> Manifest:
    made_at = database_now()
    with hold_bytes("backup"):
        with postgres.snapshot() as (connected, name):
            files, size_bytes = _list_files(connected, backup.listing)
            postgres.dump(backup.database, snapshot_name=name)
        progress = begin(size_bytes)
        lost = [
            entry.id
            for entry in backup.entries()
            if not _keep(entry, backup, earlier=earlier, progress=progress)
        ]
    if settings.GENERATED_SECRET_KEY_FILE:
        write_synced(backup.secret_key, str(settings.SECRET_KEY).encode())
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        made_at=made_at.isoformat(timespec="seconds"),
        database_sha256=sha256_of(backup.database),
        key_check=key_check(),
        files=files - len(lost),
        size_bytes=size_bytes,
        lost=lost,
    )
    backup.write_manifest(manifest)
    for folder, _, _ in os.walk(backup.path):
        _sync_folder(Path(folder))
    return manifest


def _list_files(connected: psycopg.Connection, listing: Path) -> tuple[int, int]:
    """Write down every stored file. Returns how many there are, and their bytes."""
    files = size_bytes = 0
    with open_new(listing) as target, connected.cursor("stored") as cursor:
        cursor.itersize = _LISTED_AT_ONCE
        cursor.execute(_STORED)
        for row in cursor:
            entry = Entry(*row)
            target.write(f"{json.dumps(asdict(entry))}\n".encode())
            files += 1
            size_bytes += entry.size_bytes
    return files, size_bytes


def _keep(entry: Entry, backup: Backup, *, earlier: Backup | None, progress: Progress) -> bool:
    """Copy a file's bytes; False for one that was removed meanwhile.

    Raises CannotRunError when a stored file's bytes are not there, or are others.
    """
    if earlier and _link(entry, backup, earlier):
        progress(entry.size_bytes)
        return True
    stored = StoredObject(entry.backend, entry.bucket, entry.key)
    path = backup.bytes_of(entry)
    try:
        with named(entry.backend).objects.open(stored) as source, open_new(path) as target:
            sha256 = copy(source, target.write, progress=progress)
    except Gone as exc:
        # Its time had come before the hold began: a consumer's link, or a removal under way.
        if not _is_stored(entry):
            return False
        raise CannotRunError(
            f"The bytes of the stored file {entry.id} are missing: see `./doorito doctor`."
        ) from exc
    if sha256 != entry.sha256:
        raise CannotRunError(f"The bytes of the stored file {entry.id} differ from its SHA-256.")
    return True


def _link(entry: Entry, backup: Backup, earlier: Backup) -> bool:
    """Stored bytes never change, so an earlier backup's copy of the same size will do."""
    had, path = earlier.bytes_of(entry), backup.bytes_of(entry)
    try:
        if had.stat().st_size != entry.size_bytes:
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.hardlink_to(had)
    except OSError:  # not there, or on another disk: it is copied
        return False
    return True


def _is_stored(entry: Entry) -> bool:
    file = IngestFile.objects.filter(id=entry.id).first()
    return file is not None and file.status == "stored"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True)
        (path / "files").mkdir(mode=0o700)
    except FileExistsError as exc:
        raise CannotRunError(
            f"{path} is there: another backup is being made, or one was cut short. "
            "In the latter case remove it."
        ) from exc
    except OSError as exc:
        raise CannotRunError(f"Cannot create {path}: {exc.strerror}.") from exc


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
