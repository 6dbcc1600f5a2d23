"""A backup is whole or is none, and a portal comes back from it."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

import httpx
import pytest

from accounts.tests.factories import principal_of
from boot.backup import postgres, restoring, taking
from boot.backup.folder import Backup, Progress, verify
from boot.errors import CannotRunError
from boot.tests.portal import Portal, free_port
from uploads.models import IngestFile
from uploads.receiving.finalizing import FinalizeUnderWay, finalize_session
from uploads.receiving.reading import finalize_next
from uploads.storage import object_of, storage_for
from uploads.tests.factories import make_session, make_stored, send_part, some_bytes

pytestmark = pytest.mark.process

_LOOPBACK = {"PORTAL_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"}


def _quiet(_: int) -> Progress:
    return lambda _: None


@pytest.fixture
def portal_data(settings, tmp_path, transactional_db) -> Path:
    settings.DOORITO_DATA_DIR = tmp_path / "data"
    settings.PORTAL_CHUNK_SIZE_MIN = 1
    return tmp_path


def take(target: Path, **options) -> Backup:
    taking.take(target, earlier=options.get("earlier"), begin=_quiet)
    return Backup(target)


def test_a_backup_is_whole_and_private(portal_data):
    files = [make_stored(some_bytes(size, seed=size)) for size in (0, 1, 300)]
    make_session(b"under way")
    backup = take(portal_data / "backup")
    manifest = verify(backup, progress=lambda _: None)
    assert (manifest.files, manifest.lost) == (3, [])
    assert {entry.sha256 for entry in backup.entries()} == {file.sha256 for file in files}
    modes = {path.stat().st_mode & 0o077 for path in [backup.path, *backup.path.rglob("*")]}
    assert modes == {0}
    assert not list(portal_data.glob("*.partial"))


def test_files_of_an_earlier_backup_are_linked(portal_data):
    old = make_stored(some_bytes(50))
    first = take(portal_data / "first")
    new = make_stored(some_bytes(60, seed=2))
    second = take(portal_data / "second", earlier=first)
    verify(second, progress=lambda _: None)
    links = {e.sha256: second.bytes_of(e).stat().st_nlink for e in second.entries()}
    assert links == {old.sha256: 2, new.sha256: 1}


@pytest.mark.parametrize("damage", ["flip", "remove", "database"])
def test_damage_is_found_and_named(portal_data, damage):
    make_stored(some_bytes(50))
    backup = take(portal_data / "backup")
    [entry] = backup.entries()
    victim = backup.database if damage == "database" else backup.bytes_of(entry)
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    with pytest.raises(CannotRunError, match=victim.name):
        verify(backup, progress=lambda _: None)


def test_a_stored_file_without_its_bytes_makes_no_backup(portal_data):
    file = make_stored()
    storage_for(file).objects.delete(object_of(file))
    with pytest.raises(CannotRunError, match=str(file.id)):
        take(portal_data / "backup")
    assert {path.name for path in portal_data.iterdir()} == {"data"}


def test_what_was_removed_just_before_is_said_and_does_not_matter(portal_data, monkeypatch):
    file, kept = make_stored(), make_stored(some_bytes(10))
    listed = taking._list_files

    def then_remove(*arguments) -> tuple[int, int]:
        found = listed(*arguments)
        storage_for(file).objects.delete(object_of(file))
        IngestFile.objects.filter(id=file.id).update(status="deleted")
        return found

    monkeypatch.setattr(taking, "_list_files", then_remove)
    backup = take(portal_data / "backup")
    manifest = verify(backup, progress=lambda _: None)
    assert (manifest.files, manifest.lost) == (1, [str(file.id)])
    assert backup.bytes_of(next(e for e in backup.entries() if e.id == str(kept.id))).exists()


def test_a_file_that_is_being_checked_is_in_it_and_is_checked_once_it_is_back(
    portal_data, settings
):
    settings.PORTAL_SCANNER = f"clamd://127.0.0.1:{free_port()}"
    waiting, under_way = make_session(chunk=100), make_session()
    send_part(waiting, 1, b"0123456789ABCDE")
    with pytest.raises(FinalizeUnderWay):
        finalize_session(principal=principal_of(waiting.created_by), session_id=waiting.id)
    backup = take(portal_data / "backup")
    assert [entry.id for entry in backup.entries()] == [str(waiting.file_id)]

    assert restoring._end_uploads() == 1  # as after a restore
    waiting.refresh_from_db()
    under_way.refresh_from_db()
    assert (waiting.finalizing_until, under_way.status) == (None, "aborted")
    settings.PORTAL_SCANNER = ""
    finalize_next()
    assert IngestFile.objects.get(id=waiting.file_id).status == "stored"


def test_only_an_empty_database_is_restored_into(portal_data):
    backup = take(portal_data / "backup")
    assert not postgres.is_empty()
    with pytest.raises(CannotRunError, match="not empty"):
        restoring.restore(backup, keep_for=timedelta(hours=1), begin=_quiet)


def test_a_folder_that_is_no_backup_is_refused(tmp_path):
    with pytest.raises(CannotRunError, match="no manifest"):
        Backup(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(CannotRunError, match="format 99"):
        Backup(tmp_path).manifest()


# --- A portal at work -----------------------------------------------------------------------------


class Client:
    """Calls the API of a portal with an administrator's token; a context manager."""

    def __init__(self, portal: Portal, token: str) -> None:
        self.http = httpx.Client(
            base_url=f"{portal.url}/api/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, data: bytes) -> str:
        answer = self.http.post("/files", params={"filename": "note.bin"}, content=data)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


def token_of(portal: Portal) -> str:
    made = portal.run("token", "create", "--email", Portal.admin_email, "--name", "backup")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@contextmanager
def busy(client: Client) -> Iterator[None]:
    """Files come and go all the time."""
    is_over = threading.Event()
    failures: list[Exception] = []

    def work() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                file_id = client.send(some_bytes(2000, seed=number))
                assert client.http.delete(f"/files/{file_id}").status_code == 204
            except Exception as exc:
                failures.append(exc)
                return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join()
        assert failures == []


@pytest.mark.long
def test_a_busy_portal_comes_back_with_all_that_it_had_announced(tmp_path):
    tmp_path.chmod(0o711)
    folder = tmp_path / "backup"
    with ExitStack() as stack, Portal(environment=_LOOPBACK) as portal:
        portal.start()
        token = token_of(portal)
        client = stack.enter_context(Client(portal, token))
        endpoint = {"url": "http://127.0.0.1:9/doorito", "description": "runner"}
        made = client.http.post("/webhooks", json=endpoint)
        assert made.status_code == 201, made.text
        secret = made.json()["secret"]
        announced = {client.send(data): data for data in map(bytes_of, range(12))}
        session = client.http.post(
            "/uploads/sessions", json={"filename": "under-way.bin", "size_bytes": 10}
        ).json()
        with busy(client):
            backup = portal.run("backup", "create", str(folder), "--json")
        assert backup.returncode == 0, backup.stderr
        assert json.loads(backup.stdout)["files"] >= 12
        # The portal's own bytes go at last, and with it what it would have sent.
        for file_id in announced:
            client.http.delete(f"/files/{file_id}")

    with ExitStack() as stack, Portal(folder=tmp_path / "again", environment=_LOOPBACK) as again:
        again.folder.mkdir(mode=0o711)
        restored = again.run("backup", "restore", str(folder))
        assert restored.returncode == 0, restored.stderr
        assert "1 uploads were under way" in restored.stdout
        again.start()
        client = stack.enter_context(Client(again, token))
        for file_id, data in announced.items():
            content = client.http.get(f"/files/{file_id}/content")
            assert hashlib.sha256(content.content).digest() == hashlib.sha256(data).digest()
        gone = client.http.put(
            f"/uploads/sessions/{session['session_id']}/parts/1", content=b"0" * 10
        )
        assert (gone.status_code, gone.json()["code"]) == (410, "session_aborted")
        [found] = client.http.get("/webhooks").json()["items"]
        shown = client.http.get(f"/webhooks/{found['id']}/secret").json()
        assert shown["secret"] == secret


def bytes_of(number: int) -> bytes:
    return some_bytes(1000 * number, seed=number)
