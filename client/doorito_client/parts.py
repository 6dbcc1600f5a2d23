"""An upload session: begun or gone on with, its parts over several connections, finalized."""

import base64
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from doorito_client.checking import SESSIONS, finalized
from doorito_client.errors import (
    Conflict,
    DooritoError,
    FileChanged,
    Gone,
    InvalidRequest,
    NotFound,
    PortalError,
    TooLarge,
)
from doorito_client.flows import (
    Core,
    Do,
    Flow,
    Request,
    Together,
    address,
    ask,
    call,
    order,
)
from doorito_client.results import File, Session
from doorito_client.sources import Part, PartReader, Source, numbers
from doorito_client.states import Entry

MEMORY = 256 * 2**20  # bytes that parts under way may take together
ROUNDS = 5  # of parts that the portal lost after it had taken them


class BeginAnew(Exception):
    """What was begun leads nowhere: another session, with another key, may go well."""

    def __init__(self, why: PortalError) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True)
class Sent:
    """The portal's file, and the SHA-256 of what was read here."""

    file: File
    sha256: str


class Meter:
    """How many bytes the portal has or is getting, told whenever it changes."""

    def __init__(self, done: int, on_progress: Callable[[int], None]) -> None:
        self._done = done
        self._under_way: dict[int, int] = {}
        self._on_progress = on_progress
        self._lock = threading.Lock()
        on_progress(done)

    def sending(self, number: int, size: int) -> None:
        with self._lock:
            self._under_way[number] = size
            self._tell()

    def arrived(self, number: int, size: int) -> None:
        with self._lock:
            self._under_way.pop(number, None)
            self._done += size
            self._tell()

    def _tell(self) -> None:
        self._on_progress(self._done + sum(self._under_way.values()))


def send_in_parts(
    core: Core, source: Source, entry: Callable[[], Entry], on_progress: Callable[[int], None]
) -> Flow[Sent]:
    """Store the file through the session of `entry`, which may be one from before.

    Raises BeginAnew, FileChanged, PortalError; TooLarge with `part_bytes` where a proxy refuses
    parts of this size, once the session is given up for another.
    """
    session = yield from _session(core, entry())
    try:
        sha256 = yield from _send_parts(core, source, session, on_progress, is_hashed=True)
        source.require_unchanged()
        file = yield from _finalize(core, source, session, on_progress)
    except FileChanged:
        yield from _give_up(core, session, is_replaced=False)
        raise
    except TooLarge as error:
        if error.is_of_proxy:
            yield from _give_up(core, session, is_replaced=True)
            error.extra["part_bytes"] = min(session.chunk_size_bytes, session.size_bytes)
        raise
    except (Gone, NotFound) as error:
        raise BeginAnew(error) from error
    except Conflict as error:
        if error.code != "part_differs":
            raise
        yield from _give_up(core, session, is_replaced=True)
        raise BeginAnew(error) from error
    return Sent(file, sha256)


def _session(core: Core, entry: Entry) -> Flow[Session]:
    body = {name: value for name, value in entry.values.items() if value is not None}
    try:
        session = yield from ask(
            core, Session, "POST", SESSIONS, body=body | {"idempotency_key": entry.key}
        )
    except Conflict as error:
        if error.code == "idempotency_key_reused":
            raise BeginAnew(error) from error
        raise
    if session.status in {"failed", "aborted"}:
        said = session.error.message if session.error else "The upload was given up."
        raise BeginAnew(PortalError(said, status=410, code=f"session_{session.status}"))
    return session


def _send_parts(
    core: Core,
    source: Source,
    session: Session,
    on_progress: Callable[[int], None],
    *,
    is_hashed: bool,
) -> Flow[str]:
    """Send what the session lacks; the SHA-256 of the whole, "" unless `is_hashed`."""
    is_complete = session.status == "complete"
    received = (
        set(range(1, session.total_parts + 1)) if is_complete else numbers(session.received_parts)
    )
    reader = PartReader(
        source,
        part_bytes=session.chunk_size_bytes,
        total=session.total_parts,
        received=received,
        is_hashed=is_hashed,
    )
    meter = Meter(sum(reader.size_of(number) for number in received), on_progress)
    at_once = max(1, min(core.connections, MEMORY // session.chunk_size_bytes))
    flows = [_sender(core, session, reader, meter) for _ in range(at_once)]
    yield Together(flows, stop=reader.stop)
    return reader.sha256() if is_hashed else ""


def _sender(core: Core, session: Session, reader: PartReader, meter: Meter) -> Flow[None]:
    part: Part | None
    while (part := (yield Do(reader.next_part))) is not None:
        try:
            yield from _put(core, session, part, meter)
        except Gone as error:
            if error.code != "session_complete":
                raise
            reader.skip_the_rest()  # another process sent the same file


def _put(core: Core, session: Session, part: Part, meter: Meter) -> Flow[None]:
    digest = base64.b64encode(hashlib.sha256(part.data).digest()).decode()
    yield from call(
        core,
        Request(
            "PUT",
            address(f"{SESSIONS}/{session.session_id}/parts/{part.number}"),
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Digest": f"sha-256=:{digest}:",
            },
            body=part.data,
            on_sent=lambda size: meter.sending(part.number, size),
        ),
    )
    meter.arrived(part.number, len(part.data))


def _finalize(
    core: Core, source: Source, session: Session, on_progress: Callable[[int], None]
) -> Flow[File]:
    """After a power failure the portal may miss parts that it had: they are sent again."""
    path = f"{SESSIONS}/{session.session_id}"
    for _ in range(ROUNDS):
        try:
            return (yield from finalized(core, path))
        except InvalidRequest as error:
            if error.code != "parts_missing":
                raise
            missing = error
        now = yield from ask(core, Session, "GET", path)
        yield from _send_parts(core, source, now, on_progress, is_hashed=False)
        source.require_unchanged()
    raise missing


def _give_up(core: Core, session: Session, *, is_replaced: bool) -> Flow[None]:
    """The portal gives up by itself what nobody goes on with: a failure here changes nothing."""
    query = {"replaced": "true"} if is_replaced else None
    try:
        yield from order(core, "DELETE", f"{SESSIONS}/{session.session_id}", query)
    except DooritoError:
        return
