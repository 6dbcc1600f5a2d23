"""What a backup looks like on disk.

    manifest.json   what it is, of when, and how much; written last
    database.dump   PostgreSQL's custom format
    files.jsonl     a line for each stored file (`Entry`)
    files/xx/<id>   its bytes, named by its id; xx are the id's last two digits
    secret_key      where the portal made its own; secrets in the database need it

While it is made it is named `<name>.partial`: a folder under its own name is a whole backup.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from boot.errors import CannotRunError

FORMAT = 1
BLOCK_BYTES = 2**20

type Progress = Callable[[int], None]  # is told of bytes as they are read


@dataclass(frozen=True)
class Entry:
    """A stored file: where its bytes belong, and what they are."""

    id: str
    backend: str
    bucket: str
    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`lost` are ids of files that were removed while the backup was made."""

    format: int
    version: str
    made_at: str
    database_sha256: str
    key_check: str  # tells secret keys apart without giving one away
    files: int
    size_bytes: int
    lost: list[str]


class Backup:
    """A backup's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        return self.path / "database.dump"

    @property
    def secret_key(self) -> Path:
        return self.path / "secret_key"

    @property
    def listing(self) -> Path:
        return self.path / "files.jsonl"

    def bytes_of(self, entry: Entry) -> Path:
        return self.path / "files" / entry.id[-2:] / entry.id

    def entries(self) -> Iterator[Entry]:
        with self.listing.open() as lines:
            for line in lines:
                yield Entry(**json.loads(line))

    def manifest(self) -> Manifest:
        """Raises CannotRunError for a folder that is no backup, or one of another time."""
        try:
            found: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        except (OSError, ValueError) as exc:
            raise CannotRunError(f"{self.path} is not a backup: it has no manifest.") from exc
        if found.get("format") != FORMAT:
            raise CannotRunError(
                f"{self.path} has format {found.get('format')}; this version reads {FORMAT}."
            )
        return Manifest(**found)

    def write_manifest(self, manifest: Manifest) -> None:
        write_synced(self.path / "manifest.json", json.dumps(asdict(manifest), indent=2).encode())


def write_synced(path: Path, content: bytes) -> None:
    """Readable by its owner only: a backup has secrets and everybody's files."""
    with open_new(path) as target:
        target.write(content)


def open_new(path: Path) -> "SyncedFile":
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SyncedFile(path)


class SyncedFile:
    """A new file that is on the disk once its block has ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> BinaryIO:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def copy(source: BinaryIO, write: Callable[[bytes], object], *, progress: Progress) -> str:
    """Copy to the end. Returns the SHA-256 of what went by, in hex."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        write(block)
        progress(len(block))
    return digest.hexdigest()


def sha256_of(path: Path, *, progress: Progress = lambda _: None) -> str:
    with path.open("rb") as source:
        return copy(source, lambda _: None, progress=progress)


def verify(backup: Backup, *, progress: Progress) -> Manifest:
    """Read all of a backup and compare it with what it says of itself.

    Raises CannotRunError that names the first thing that differs.
    """
    manifest = backup.manifest()
    if sha256_of(backup.database) != manifest.database_sha256:
        raise CannotRunError(f"{backup.database} is damaged: its SHA-256 differs.")
    lost = set(manifest.lost)
    for entry in backup.entries():
        if entry.id not in lost:
            require_whole(backup, entry, progress=progress)
    return manifest


def require_whole(backup: Backup, entry: Entry, *, progress: Progress) -> None:
    path = backup.bytes_of(entry)
    try:
        found = sha256_of(path, progress=progress)
    except FileNotFoundError as exc:
        raise CannotRunError(f"{path} is missing in the backup.") from exc
    if found != entry.sha256:
        raise CannotRunError(f"{path} is damaged: its SHA-256 differs.")
