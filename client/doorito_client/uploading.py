"""One file's way to the portal: in one request where it is small, else in parts.

Whatever is interrupted is asked for again with the same idempotency key, and goes on with what the
portal has. A file counts as stored only once the portal says so and names the SHA-256 of what was
read here.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO, cast
from uuid import UUID

from doorito_client.checking import stored_file
from doorito_client.errors import (
    Conflict,
    DigestDiffers,
    DooritoError,
    FileChanged,
    PortalError,
    TooLarge,
)
from doorito_client.flows import Core, Do, Flow, Request, Together, address, call, order
from doorito_client.parts import BeginAnew, send_in_parts
from doorito_client.results import File
from doorito_client.sources import Source
from doorito_client.states import Entry, Identity, States

ONE_REQUEST_BYTES = 8 * 2**20  # larger files go in parts
LONGEST_ADDRESS = 3500  # characters; servers and proxies take some 4,000 at least
RESTARTS = 3  # of an upload that the portal gave up, or that met other bytes of the same name

type OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class Upload:
    """A file and what the portal is told of it; without a `filename`, the path's last part.

    `on_progress` gets how many bytes the portal has, from any thread. With `is_kept`, the upload
    stays in the state folder as stored until `settle` forgets it: whoever repeats it gets the same
    file.
    """

    path: Path
    filename: str = ""
    content_type: str = ""
    relative_path: str = ""
    batch_id: UUID | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    on_progress: OnProgress = lambda _sent: None
    is_kept: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """As the API takes them; repeated, they must be the same."""
        name = self.filename or self.path.name
        return {
            "filename": name,
            "content_type": self.content_type or guess_type(name)[0] or "",
            "relative_path": self.relative_path,
            "batch_id": str(self.batch_id) if self.batch_id else None,
            "metadata": self.metadata,
        }


@dataclass(frozen=True)
class Outcome:
    """What became of one of several uploads: `file`, or else `error`."""

    upload: Upload
    file: File | None = None
    error: DooritoError | None = None


class Ticket:
    """The remembered entry of one upload: its idempotency key, for the values it was made with."""

    def __init__(self, core: Core, upload: Upload, source: Source) -> None:
        self._states = States(core.states)
        self._identity = Identity.of(core.server, upload.path, source.status)

    def entry(self, values: dict[str, Any]) -> Entry:
        """The one from before, if it was for the same; on the disk before anything is sent."""
        known = self._states.find(self._identity)
        if known is not None and known.values == values:
            return known
        return self._states.keep(self._identity, Entry.new(values))

    @property
    def part_bytes(self) -> int | None:
        """What an earlier try was down to, below what a proxy refused."""
        known = self._states.find(self._identity)
        return known.values.get("chunk_size_bytes") if known else None

    def stored(self, values: dict[str, Any], file: File, *, is_kept: bool) -> None:
        if is_kept:
            self._states.mark_stored(self._identity, self.entry(values), str(file.id))
        else:
            self.forget()

    def forget(self) -> None:
        self._states.forget(self._identity)


def upload(core: Core, path: Path | str, **values: Any) -> Flow[File]:
    """Upload one file; `values` are those of `Upload`. The stored file.

    Raises FileChanged, DigestDiffers, PortalError, NoAnswer, UnusableState, OSError.
    """
    return upload_one(core, Upload(Path(path), **values))


def upload_one(core: Core, what: Upload) -> Flow[File]:
    """As `upload`."""
    with Source(what.path) as source:
        ticket = Ticket(core, what, source)
        core.limits.part_bytes = core.limits.part_bytes or ticket.part_bytes
        for attempt in range(RESTARTS + 1):
            try:
                return (yield from _send(core, what, source, ticket))
            except BeginAnew as anew:
                ticket.forget()
                if attempt == RESTARTS:
                    raise anew.why from None
            except (FileChanged, DigestDiffers):
                ticket.forget()
                raise
    raise AssertionError  # the loop returns or raises


def upload_stream(core: Core, stream: BinaryIO, filename: str, **values: Any) -> Flow[File]:
    """Upload what a program writes, by way of a temporary file; `values` are those of `Upload`."""
    with tempfile.TemporaryDirectory(prefix="doorito-") as folder:
        path = Path(folder) / "stream"
        yield Do(partial(_spool, stream, path))
        what = Upload(path, filename=filename, **values)
        return (yield from upload_one(replace(core, states=None), what))


def upload_all(
    core: Core, uploads: Sequence[Upload], *, on_outcome: Callable[[Outcome], None] = lambda _: None
) -> Flow[list[Outcome]]:
    """Several files: small ones at the same time, large ones one after another in parallel parts.

    One that fails keeps none of the others. `on_outcome` may be called from any thread.
    """
    small = [each for each in uploads if _size_of(each.path) <= ONE_REQUEST_BYTES]
    large = [each for each in uploads if _size_of(each.path) > ONE_REQUEST_BYTES]
    outcomes: dict[Path, Outcome] = {}
    for waiting, at_once in ((small, core.connections), (large, 1)):
        left = iter(waiting)
        flows = [_one_by_one(core, left, outcomes, on_outcome) for _ in range(at_once)]
        yield Together(flows, stop=partial(_drain, left))
    return [outcomes[each.path] for each in uploads if each.path in outcomes]


def settle(core: Core, uploads: Sequence[Upload]) -> None:
    """Forget what `is_kept` had remembered: the same files, uploaded again, are new ones."""
    for each in uploads:
        try:
            identity = Identity.of(core.server, each.path, each.path.stat())
        except OSError:
            continue
        States(core.states).forget(identity)


def _send(core: Core, what: Upload, source: Source, ticket: Ticket) -> Flow[File]:
    if _fits_one_request(core, what, source):
        try:
            return (yield from _in_one_request(core, what, source, ticket))
        except TooLarge as error:
            if "max_bytes" not in error.extra and not error.is_of_proxy:
                raise
            if error.is_of_proxy:
                core.limits.part_bytes = _smaller(core, source.size_bytes, error)
    return (yield from _in_parts(core, what, source, ticket))


def _in_one_request(core: Core, what: Upload, source: Source, ticket: Ticket) -> Flow[File]:
    values = what.values | {"route": "one request"}
    data = cast(bytes, (yield Do(lambda: source.read(0, source.size_bytes))))
    source.require_unchanged()
    digest = hashlib.sha256(data)
    entry = ticket.entry(values)
    request = Request(
        "POST",
        _address(what, key=entry.key, sha256=digest.hexdigest()),
        headers={
            "Content-Type": what.values["content_type"] or "application/octet-stream",
            "Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
        },
        body=data,
        on_sent=what.on_progress,
    )
    try:
        response = yield from call(core, request)
    except Conflict as error:
        if error.code == "idempotency_key_reused":
            raise BeginAnew(error) from error
        raise
    file = yield from stored_file(core, response)
    yield from _require_proof(core, file, sha256=digest.hexdigest(), size_bytes=len(data))
    ticket.stored(values, file, is_kept=what.is_kept)
    return file


def _in_parts(core: Core, what: Upload, source: Source, ticket: Ticket) -> Flow[File]:
    while True:
        asked = core.limits.part_bytes
        values = what.values | {"size_bytes": source.size_bytes, "chunk_size_bytes": asked}
        try:
            entry = partial(ticket.entry, values)
            sent = yield from send_in_parts(core, source, entry, what.on_progress)
        except TooLarge as error:
            refused = error.extra.get("part_bytes")
            if refused is None:
                raise
            core.limits.part_bytes = _smaller(core, refused, error)
            continue
        yield from _require_proof(core, sent.file, sha256=sent.sha256, size_bytes=source.size_bytes)
        ticket.stored(values, sent.file, is_kept=what.is_kept)
        return sent.file


def _require_proof(core: Core, file: File, *, sha256: str, size_bytes: int) -> Flow[None]:
    """Raises DigestDiffers unless the portal stored what was read here; BeginAnew for a file that
    was stored at an earlier try and is gone by now."""
    if (file.sha256, file.size_bytes) != (sha256, size_bytes) or file.stored_at is None:
        with_other = DigestDiffers(
            f"The portal has {file.size_bytes} bytes with the SHA-256 {file.sha256 or 'none'}; "
            f"read were {size_bytes} with {sha256}. What it has was removed.",
            advice="Upload the file again.",
        )
        try:
            yield from order(core, "DELETE", f"files/{file.id}")
        except DooritoError as exc:
            raise DigestDiffers(f"{with_other.message} Removing it failed: {exc.message}") from exc
        raise with_other
    if file.status not in {"stored", "processed"}:
        gone = "The file was stored before and has been removed since."
        raise BeginAnew(PortalError(gone, status=410, code=f"file_{file.status}"))


def _fits_one_request(core: Core, what: Upload, source: Source) -> bool:
    most = min(ONE_REQUEST_BYTES, core.limits.part_bytes or ONE_REQUEST_BYTES)
    longest = _address(what, key="0" * 36, sha256="0" * 64)
    return source.size_bytes <= most and len(longest) <= LONGEST_ADDRESS


def _address(what: Upload, *, key: str, sha256: str) -> str:
    values = what.values
    query = {name: values[name] or None for name in ("filename", "relative_path", "batch_id")}
    metadata = json.dumps(what.metadata) if what.metadata else None
    return address(
        "files", query | {"metadata": metadata, "sha256": sha256, "idempotency_key": key}
    )


def _smaller(core: Core, refused_bytes: int, error: TooLarge) -> int:
    """What to try next after a proxy refused a body. Another upload may have learned it already."""
    known = core.limits.part_bytes
    if known is not None and known < refused_bytes:
        return known
    if refused_bytes < 2:
        raise error
    return refused_bytes // 2


def _one_by_one(
    core: Core,
    left: Iterator[Upload],
    outcomes: dict[Path, Outcome],
    on_outcome: Callable[[Outcome], None],
) -> Flow[None]:
    for what in left:
        try:
            outcome = Outcome(what, file=(yield from upload_one(core, what)))
        except DooritoError as error:
            outcome = Outcome(what, error=error)
        except OSError as exc:
            outcome = Outcome(what, error=DooritoError(f"Cannot read it: {exc.strerror}."))
        outcomes[what.path] = outcome
        on_outcome(outcome)


def _drain(left: Iterator[Upload]) -> None:
    for _ in left:
        pass


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # opening it tells why


def _spool(stream: BinaryIO, path: Path) -> None:
    with path.open("wb") as writer:
        copyfileobj(stream, writer, 2**20)
