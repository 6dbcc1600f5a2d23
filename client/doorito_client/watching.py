"""A folder whose finished files are uploaded, each once: of a scanner, a camera, a mount.

A file's steps are: remembered with an idempotency key, uploaded, remembered as stored, moved away,
forgotten. After a kill in any of them the next watch goes on: what is remembered is asked for with
the same key, and the portal answers with the file that it has.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from doorito_client.client import Client
from doorito_client.errors import DooritoError, FileChanged, PortalError
from doorito_client.states import Identity, States
from doorito_client.uploading import Outcome, Upload

if sys.platform == "linux":
    import fcntl

type Version = tuple[int, int, int]  # size in bytes, mtime in nanoseconds, inode


@dataclass(frozen=True)
class Seen:
    """A file as it has been since a moment of the monotonic clock, in seconds."""

    version: Version
    since: float


class Watch:
    """The files of a folder, on their way. `client` must remember uploads (`states`).

    `settle_seconds` is for how long a file must not change before it counts as finished. Uploaded
    files go to `done`, or stay and are remembered where that is None. `on_outcome` is told of each,
    from any thread.
    """

    def __init__(
        self,
        client: Client,
        folder: Path,
        *,
        settle_seconds: float,
        done: Path | None,
        is_recursive: bool,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        if client.core.states is None:
            raise ValueError("A watch needs a client that remembers uploads.")
        self._client = client
        self._states = States(client.core.states)
        self._folder = folder.absolute()
        self._settle_seconds = settle_seconds
        self._done = done.absolute() if done else None
        self._is_recursive = is_recursive
        self._on_outcome = on_outcome
        self._seen: dict[Path, Seen] = {}
        self._refused: dict[Path, Version] = {}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises DooritoError where another watch has the folder."""
        folder = self._client.core.states
        if sys.platform != "linux" or folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = sha256(str(self._folder).encode()).hexdigest()[:32]
        with (folder / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise DooritoError(f"Another watch has the folder {self._folder}.") from exc
            yield

    def look(self) -> list[Outcome]:
        """Upload what has come to rest, and put it away; what became of each.

        Several looks, `settle_seconds` apart, are needed to see that.
        Raises OSError, UnusableState.
        """
        self._states.forget_gone(self._folder)
        return self._client.upload_all(self._ready(), on_outcome=self._end)

    def _ready(self) -> list[Upload]:
        now = time.monotonic()
        before, self._seen = self._seen, {}
        ready = []
        for path, version in self._files():
            seen = before.get(path)
            if seen is None or seen.version != version:
                seen = Seen(version, now)
            self._seen[path] = seen
            is_settled = now - seen.since >= self._settle_seconds
            if is_settled and not self._is_over(path, version) and not _is_written_to(path):
                ready.append(self._upload(path))
        return ready

    def _files(self) -> Iterator[tuple[Path, Version]]:
        """Regular files that are not hidden; links and what is put away are passed over."""
        for place, folders, names in os.walk(self._folder, onerror=_raise):
            inside = Path(place)
            folders[:] = [
                name
                for name in sorted(folders)
                if self._is_recursive and name[0] != "." and inside / name != self._done
            ]
            for name in sorted(names):
                path = inside / name
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue
                if name[0] != "." and path.is_file() and not path.is_symlink():
                    yield path, _version(status)

    def _is_over(self, path: Path, version: Version) -> bool:
        """Refused for good, or uploaded and left where it is."""
        if self._refused.get(path) == version:
            return True
        if self._done is not None:
            return False
        try:
            entry = self._states.find(self._identity(path))
        except FileNotFoundError:
            return True
        return entry is not None and entry.stored_id is not None

    def _upload(self, path: Path) -> Upload:
        inside = path.relative_to(self._folder)
        relative = inside.as_posix() if len(inside.parts) > 1 else ""
        return Upload(path, relative_path=relative, is_kept=True)

    def _end(self, outcome: Outcome) -> None:
        if outcome.file is not None and self._done is not None:
            try:
                self._put_away(outcome.upload.path, self._done)
            except OSError as exc:
                error = DooritoError(
                    f"It is stored, and cannot be moved to {self._done}: {exc.strerror}.",
                    advice="Name a --done folder of yours on the same file system, or --keep.",
                )
                outcome = replace(outcome, error=error)
        if isinstance(outcome.error, FileChanged):
            self._seen.pop(outcome.upload.path, None)  # it is not finished: wait again
        elif isinstance(outcome.error, PortalError) and is_final(outcome.error):
            seen = self._seen.get(outcome.upload.path)
            if seen:
                self._refused[outcome.upload.path] = seen.version
        self._on_outcome(outcome)

    def _put_away(self, path: Path, done: Path) -> None:
        """Move a stored file, unless it is another one by now."""
        identity = self._identity(path)
        if self._states.find(identity) is None:
            return  # it was written to after it was read: what is there now is yet to be uploaded
        target = done / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(_free(target))
        self._states.forget(identity)

    def _identity(self, path: Path) -> Identity:
        return Identity.of(self._client.core.server, path, path.stat())


def is_final(error: DooritoError) -> bool:
    """Whether the same file would be refused again, and others might not."""
    return isinstance(error, PortalError) and error.status in {400, 409, 413, 415, 422}


def _version(status: os.stat_result) -> Version:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _is_written_to(path: Path) -> bool:
    """Whether a process of this machine has the file open for writing, where the system tells.

    A read lease is given for files that nobody writes to (fcntl(2), F_SETLEASE).
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False  # uploading it tells why
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without leases, or somebody else's file
    else:
        return False
    finally:
        os.close(descriptor)


def _free(target: Path) -> Path:
    """The path, with a number if it is taken."""
    number = 2
    free = target
    while free.exists():
        free = target.with_name(f"{target.stem}-{number}{target.suffix}")
        number += 1
    return free


def _raise(error: OSError) -> None:
    raise error
