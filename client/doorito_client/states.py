"""What this machine remembers of uploads that are not finished, in the user's state folder.

One small file per upload. It is written before the portal is asked for anything, so whatever ends
this process, the next one sends the same idempotency key, and the portal answers with what it has.
"""

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from doorito_client.errors import UnusableState


def default_folder() -> Path:
    """Of the one who runs this, as their system has it."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "doorito" / "uploads"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "doorito" / "uploads"
    return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "doorito/uploads"


FOLDER = default_folder()


@dataclass(frozen=True)
class Identity:
    """What makes two uploads the same one. `mtime` in nanoseconds."""

    server: str
    path: str
    size_bytes: int
    mtime: int

    @classmethod
    def of(cls, server: str, path: Path, status: os.stat_result) -> Self:
        return cls(server, str(path.absolute()), status.st_size, status.st_mtime_ns)

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """`values` are what the portal was asked with, `key` tells a repeat of it.

    `stored_id` is the file's id once the portal has it whole.
    """

    key: str
    values: dict[str, Any]
    stored_id: str | None = None

    @classmethod
    def new(cls, values: dict[str, Any]) -> Self:
        return cls(str(uuid4()), values)


class States:
    """The entries of one folder; without a folder, nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, identity: Identity) -> Entry | None:
        if self._folder is None:
            return None
        try:
            document = json.loads(self._path(self._folder, identity).read_bytes())
            return Entry(**document["entry"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # none, or none that can be used: it is begun anew
        except OSError as exc:
            raise self._unusable(exc) from exc

    def keep(self, identity: Identity, entry: Entry) -> Entry:
        """Written to the disk before this returns. Raises UnusableState."""
        if self._folder is None:
            return entry
        path = self._path(self._folder, identity)
        unfinished = path.with_suffix(f".{os.getpid()}-{uuid4().hex[:8]}.new")
        document = json.dumps({"identity": asdict(identity), "entry": asdict(entry)})
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with unfinished.open("w") as writer:
                writer.write(document)
                writer.flush()
                os.fsync(writer.fileno())
            unfinished.replace(path)
        except OSError as exc:
            raise self._unusable(exc) from exc
        return entry

    def mark_stored(self, identity: Identity, entry: Entry, file_id: str) -> None:
        self.keep(identity, replace(entry, stored_id=file_id))

    def forget(self, identity: Identity) -> None:
        if self._folder is not None:
            self._path(self._folder, identity).unlink(missing_ok=True)

    def forget_gone(self, folder: Path) -> None:
        """Forget uploads of files that were in `folder` and are there no longer."""
        for path in self._folder.glob("*.json") if self._folder else ():
            try:
                identity = Identity(**json.loads(path.read_bytes())["identity"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if Path(identity.path).is_relative_to(folder) and not Path(identity.path).exists():
                path.unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, identity: Identity) -> Path:
        return folder / f"{identity.name}.json"

    def _unusable(self, exc: OSError) -> UnusableState:
        return UnusableState(
            f"The folder {self._folder} cannot be used: {exc.strerror}.",
            advice="Make room or set XDG_STATE_HOME to a folder of yours.",
        )
