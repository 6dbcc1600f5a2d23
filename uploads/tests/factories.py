"""A client of the API over Django's test client, and uploads in every state."""

import base64
import hashlib
import io
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts import principals
from accounts.models import User
from accounts.tests.factories import make_token, make_user, principal_of
from common.models import OutboxEvent
from uploads.files import grants, lifecycle, sharing
from uploads.files.new_grants import NewGrant
from uploads.models import (
    FileStatus,
    IngestFile,
    ShareLink,
    UploadBatch,
    UploadGrant,
    UploadSession,
)
from uploads.receiving import finalizing, sessions
from uploads.receiving.parts import receive_part
from uploads.receiving.requests import UploadRequest
from uploads.storage import StoredObject, handle_of, open_object, storage_for
from uploads.storage.base import Receipt
from uploads.tests.description import DescribedClient

SESSIONS = "/api/v1/uploads/sessions"
FILES = "/api/v1/files"
BATCHES = "/api/v1/batches"
GRANTS = "/api/v1/grants"


def some_bytes(size: int, *, seed: int = 1) -> bytes:
    """The same bytes for the same seed, unlike text or any known format."""
    return b"\xfe\xff\x00\x01"[:size] + random.Random(seed).randbytes(max(size - 4, 0))  # noqa: S311


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_digest(data: bytes, algorithm: str = "sha-256") -> str:
    value = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


class Api:
    """One user's calls, authenticated with a bearer token."""

    def __init__(self, user: User | None = None, *, scopes: tuple[str, ...] | None = None) -> None:
        self.user = user or make_user()
        made, self.token = make_token(user=self.user, scopes=scopes)
        self.principal = principals.of_token(made)
        self.http = DescribedClient(headers={"authorization": f"Bearer {self.token}"})

    def as_actor(self) -> dict[str, Any]:
        """As events name who did something of their own files."""
        actor = self.principal.actor
        return {
            "user_id": str(self.user.id),
            "email": self.user.email,
            "kind": actor.kind.value,
            "id": str(actor.id),
            "label": actor.label,
        }

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(path, query)

    def head(self, path: str) -> Any:
        return self.http.head(path)

    def delete(self, path: str) -> Any:
        return self.http.delete(path)

    def patch(self, path: str, body: Any) -> Any:
        return self.http.patch(path, body, content_type="application/json")

    def post(self, path: str, body: Any = None) -> Any:
        if body is None:
            return self.http.post(path)
        return self.http.post(path, body, content_type="application/json")

    def create_session(self, **values: Any) -> Any:
        return self.post(SESSIONS, {"filename": "report.bin", "size_bytes": 10} | values)

    def session_of(self, data: bytes, *, chunk: int = 10, **values: Any) -> dict[str, Any]:
        """A new session for `data`, in parts of `chunk` bytes."""
        reply = self.create_session(size_bytes=len(data), chunk_size_bytes=chunk, **values)
        assert reply.status_code == 201, reply.content
        return reply.json()

    def get_session(self, session_id: str) -> Any:
        return self.get(f"{SESSIONS}/{session_id}")

    def put_part(self, session_id: str, number: int | str, data: bytes, **headers: str) -> Any:
        """Send a part; further headers as Content_Digest="…"."""
        return self.http.put(
            f"{SESSIONS}/{session_id}/parts/{number}",
            data,
            content_type="application/octet-stream",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def put_stream(
        self, session_id: str, number: int, stream: Any, *, length: int | str, **extra: str
    ) -> Any:
        """Send a part whose body need not be as long as announced."""
        return self.http.generic(
            "PUT",
            f"{SESSIONS}/{session_id}/parts/{number}",
            content_type="application/octet-stream",
            **{"CONTENT_LENGTH": str(length), "wsgi.input": stream},
            **extra,
        )

    def put_all(self, session: dict[str, Any], data: bytes) -> None:
        size = session["chunk_size_bytes"]
        for number in range(1, session["total_parts"] + 1):
            reply = self.put_part(
                session["session_id"], number, data[(number - 1) * size : number * size]
            )
            assert reply.status_code == 200, reply.content

    def finalize(self, session_id: str) -> Any:
        return self.post(f"{SESSIONS}/{session_id}/finalize")

    def abort(self, session_id: str) -> Any:
        return self.delete(f"{SESSIONS}/{session_id}")

    def upload(self, data: bytes = b"0123456789ABCDE", **values: Any) -> dict[str, Any]:
        """A stored file, through a session."""
        session = self.session_of(data, **values)
        self.put_all(session, data)
        reply = self.finalize(session["session_id"])
        assert reply.status_code == 200, reply.content
        return reply.json()

    def post_raw(self, data: bytes, *, content_type: str = "text/plain", **query: str) -> Any:
        return self.http.post(FILES, data, content_type=content_type, query_params=query)

    def post_form(self, fields: dict[str, Any], **query: str) -> Any:
        return self.http.post(FILES, fields, query_params=query)

    def create_batch(self, **values: Any) -> dict[str, Any]:
        reply = self.post(BATCHES, values)
        assert reply.status_code == 201, reply.content
        return reply.json()

    def close_batch(self, batch_id: str) -> Any:
        return self.post(f"{BATCHES}/{batch_id}/close")


class Guest(Api):
    """The calls of somebody who has a grant of `user`, with the values of a NewGrant."""

    def __init__(self, user: User | None = None, **values: Any) -> None:
        self.user = user or make_user()
        self.grant, self.token = make_grant(user=self.user, **values)
        self.principal = grants.principal_of(self.grant)
        self.http = DescribedClient(headers={"authorization": f"Bearer {self.token}"})

    def begun(self) -> tuple[int, int]:
        """Files and bytes, as the grant counts them."""
        self.grant.refresh_from_db()
        return self.grant.files_begun, self.grant.bytes_begun


class CutStream(io.BytesIO):
    """A body whose connection fails with `error` after its bytes."""

    def __init__(self, data: bytes, error: OSError) -> None:
        super().__init__(data)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise self.error
        return block


def body(response: HttpResponseBase) -> bytes:
    """All bytes of an answer, streamed or not. Reading a stream to its end closes it."""
    return b"".join(response.streaming_content) if response.streaming else response.content


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """A complete problem document (RFC 9457) with this status and code."""
    assert response["Content-Type"] == "application/problem+json", response.content
    document = response.json()
    assert (response.status_code, document["code"]) == (status, code), document
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    return document


# --- Without HTTP ---------------------------------------------------------------------------------


def make_grant(*, user: User | None = None, **values: Any) -> tuple[UploadGrant, str]:
    """A grant and its token's text."""
    new = NewGrant(**{"name": "the suppliers"} | values)
    return grants.create_grant(principal=principal_of(user or make_user()), new=new)


def make_share(file: IngestFile, **values: Any) -> tuple[ShareLink, str]:
    """A share link and its token's text."""
    principal = principal_of(file.uploaded_by)
    return sharing.create_share(principal=principal, file_id=file.id, **values)


def make_session(
    data: bytes = b"0123456789ABCDE", *, user: User | None = None, chunk: int = 10, **values: Any
) -> UploadSession:
    request = UploadRequest(
        **{"filename": "a.bin", "size_bytes": len(data), "chunk_size_bytes": chunk} | values
    )
    return sessions.create_session(principal=principal_of(user or make_user()), request=request)[0]


def send_part(session: UploadSession, number: int, data: bytes) -> None:
    """Send part `number` of the whole `data`."""
    start = (number - 1) * session.chunk_size_bytes
    part = data[start : start + session.chunk_size_bytes]
    receive_part(
        principal=principal_of(session.created_by),
        session_id=session.id,
        part_number=number,
        length=len(part),
        blocks=iter([memoryview(part)]),
    )


def held(
    session: UploadSession, *, offset: int, size_bytes: int | None
) -> AbstractContextManager[None]:
    """The sole right to write a range of an upload."""
    locks = storage_for(session).locks
    return locks.writing(handle_of(session), offset=offset, size_bytes=size_bytes)


def written(session: UploadSession, data: bytes, *, offset: int) -> Receipt:
    """Write behind the back of everybody."""
    uploads = storage_for(session).uploads
    with uploads.write(handle_of(session), offset=offset, size_bytes=len(data)) as writer:
        writer.write(memoryview(data))
        return writer.commit()


def finish(session: UploadSession, size_bytes: int) -> StoredObject:
    """The first half of finalizing, as a kill may leave it."""
    receipts = [Receipt(0, size_bytes)]
    return storage_for(session).uploads.finish(handle_of(session), receipts, size_bytes=size_bytes)


def spool_path(session: UploadSession) -> Path:
    """Where the bytes of an upload under way lie."""
    key = session.spool_key
    return Path(settings.DOORITO_DATA_DIR) / "spool" / key[-2:] / key


def send_parts(session: UploadSession, data: bytes, order: Iterable[int] | None = None) -> None:
    for number in order or range(1, session.total_parts + 1):
        send_part(session, number, data)


def make_stored(
    data: bytes = b"0123456789ABCDE", *, user: User | None = None, **values: Any
) -> IngestFile:
    session = make_session(data, user=user, **values)
    send_parts(session, data)
    return finalizing.finalize_session(
        principal=principal_of(session.created_by), session_id=session.id
    )


def make_expired(**values: Any) -> IngestFile:
    file = make_stored(**values)
    IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    file.refresh_from_db()
    return file


def make_consumed(**values: Any) -> lifecycle.Consumption:
    file = make_stored(**values)
    return lifecycle.consume_file(principal=principal_of(file.uploaded_by), file_id=file.id)


def make_rows(count: int, *, user: User, batch: UploadBatch | None = None, **values: Any) -> None:
    """Stored files as rows only, for queries over many of them."""
    now = timezone.now()
    defaults: dict[str, Any] = {
        "status": FileStatus.STORED,
        "size_bytes": 1,
        "sha256": "0" * 64,
        "storage_backend": "local",
        "storage_key": "k",
        "stored_at": now,
        "expires_at": now + timedelta(hours=24),
    }
    IngestFile.objects.bulk_create(
        [
            IngestFile(
                **{"original_filename": f"row {number}.txt"} | defaults | values,
                uploaded_by=user,
                batch=batch,
            )
            for number in range(count)
        ],
        batch_size=5000,
    )


def events(event_type: str | None = None) -> list[OutboxEvent]:
    rows = OutboxEvent.objects.order_by("id")
    return list(rows.filter(event_type=event_type) if event_type else rows)


def stored_bytes(file: IngestFile) -> bytes:
    with open_object(file) as content:
        return content.read()


def on_disk() -> set[str]:
    """Every upload that has bytes: `spool/<key>` or `files/<key>`."""
    root = Path(settings.DOORITO_DATA_DIR)
    return {
        f"{path.parts[-3]}/{path.name}"
        for folder in ("spool", "files")
        for path in (root / folder).glob("??/*")
    }


def assert_nothing_is_left() -> None:
    """No bytes, no rows, no events."""
    assert on_disk() == set()
    assert not UploadSession.objects.exists()
    assert not IngestFile.objects.exists()
    assert events() == []


def repeated(call: Callable[[], Any], times: int) -> list[Callable[[], Any]]:
    return [call] * times
