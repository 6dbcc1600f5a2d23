"""A portal of an older version: its database and data directory go on after the migrations."""

import json
import shutil
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
import standardwebhooks
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from psycopg import sql

from accounts.models import ApiToken, User
from boot import startup
from common.models import OutboxEvent
from common.outbox import kicks
from common.tests.receiver import Receiver
from common.webhooks import dispatch, endpoints
from uploads.files import usage

VERSION_0 = Path(__file__).with_name("data") / "version_0"
CONTENTS = json.loads((VERSION_0 / "contents.json").read_text())
HALF = (VERSION_0 / "half.bin").read_bytes()
PART_BYTES = 1024

# What has passed since the dump was made is no part of the upgrade.
JUST_NOW = """
    UPDATE public.ingest_file SET expires_at = now() + interval '1 day'
        WHERE expires_at IS NOT NULL;
    UPDATE public.upload_session SET last_activity_at = now();
"""


@pytest.fixture(scope="module")
def migrated(django_db_setup, django_db_blocker):
    """The name of a database that was loaded and migrated: each test gets a copy."""
    name = f"upgraded_{uuid4().hex}"
    with django_db_blocker.unblock(), _database(name):
        with _connected_to(name):
            _load(VERSION_0 / "database.sql")
            assert startup.pending_migrations() > 0
            startup.migrate()
            assert startup.pending_migrations() == 0
        yield name


@pytest.fixture
def upgraded(migrated, django_db_blocker, settings, tmp_path, monkeypatch):
    """Its owner's calls; no event is sent unless a test does so."""
    settings.SECRET_KEY = CONTENTS["secret_key"]
    settings.DOORITO_DATA_DIR = tmp_path
    for folder in ("files", "spool"):
        shutil.copytree(VERSION_0 / folder, tmp_path / folder)
    monkeypatch.setattr(kicks, "_senders", [lambda *_: None])
    http = Client(headers={"authorization": f"Bearer {CONTENTS['token']}"})
    copy = f"{migrated}_copy"
    with django_db_blocker.unblock(), _database(copy, template=migrated), _connected_to(copy):
        yield SimpleNamespace(http=http, owner=User.objects.get(email=CONTENTS["owner"]))


@contextmanager
def _database(name, template="template0"):
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute(create.format(*map(sql.Identifier, (name, template))))
        try:
            yield
        finally:
            server.execute(drop.format(sql.Identifier(name)))


@contextmanager
def _connected_to(name):
    """Django's connections are to this database inside the block."""
    usual = connection.settings_dict["NAME"]
    _connect_to(name)
    try:
        yield
    finally:
        _connect_to(usual)


def _connect_to(name):
    startup.release_connections()
    connection.settings_dict["NAME"] = name
    ContentType.objects.clear_cache()


def _load(dump):
    with connection.cursor() as cursor:
        cursor.execute(dump.read_text() + JUST_NOW)
    startup.release_connections()  # the dump empties the search path of its session


def ok(reply):
    assert reply.status_code == 200, reply.content
    return reply


def content(reply):
    return b"".join(ok(reply).streaming_content)


def finish_the_half(http):
    """Send what lacks of the upload that is half there; the stored file."""
    session = f"/api/v1/uploads/sessions/{CONTENTS['session']['id']}"
    assert ok(http.get(session)).json()["received_parts"] == "1,3"
    for number in (2, 4):
        part = HALF[(number - 1) * PART_BYTES : number * PART_BYTES]
        ok(http.put(f"{session}/parts/{number}", part, content_type="application/octet-stream"))
    return ok(http.post(f"{session}/finalize")).json()


def test_its_files_are_read_with_its_token(upgraded):
    for file_id, digest in CONTENTS["files"].items():
        file = ok(upgraded.http.get(f"/api/v1/files/{file_id}")).json()
        assert (file["status"], file["sha256"]) == ("stored", digest)
        data = content(upgraded.http.get(f"/api/v1/files/{file_id}/content"))
        assert sha256(data).hexdigest() == digest
    assert ApiToken.objects.get().last_used_at is not None


def test_an_upload_that_is_half_there_goes_on(upgraded):
    file = finish_the_half(upgraded.http)

    assert file["id"] == CONTENTS["session"]["file_id"]
    assert file["sha256"] == CONTENTS["session"]["sha256"] == sha256(HALF).hexdigest()
    data = content(upgraded.http.get(f"/api/v1/files/{file['id']}/content"))
    assert data == HALF
    batch = f"/api/v1/batches/{CONTENTS['batch_id']}"
    closed = ok(upgraded.http.post(f"{batch}/close")).json()
    assert (closed["status"], closed["stored_count"]) == ("complete", 2)


def test_events_that_wait_are_sent_with_the_endpoints_own_secret_and_header(upgraded):
    kept = CONTENTS["webhook"]
    endpoint = endpoints.get(endpoint_id=kept["id"])
    assert endpoint.secret == kept["secret"]
    with Receiver() as receiver:
        endpoints.change_some(endpoint_id=endpoint.id, changes={"url": receiver.url})
        assert dispatch.run() == OutboxEvent.objects.count() == len(receiver.received) > 0
    for request in receiver.received:
        standardwebhooks.Webhook(kept["secret"]).verify(request.body, request.headers)
        name, value = kept["header"]
        assert request.headers[name.lower()] == value


def test_the_link_in_an_event_of_before_is_good(upgraded):
    (url,) = {
        event.payload["file"]["url"]
        for event in OutboxEvent.objects.filter(event_type="file.uploaded")
        if event.payload["file"]["original_filename"] == "stored.txt"
    }
    data = content(Client().get(url.removeprefix("https://files.example.com")))
    assert data.decode() == CONTENTS["run"]["output"]


def test_runs_and_their_output_are_there(upgraded):
    expected = CONTENTS["run"]
    run = ok(upgraded.http.get(f"/api/v1/runs/{expected['id']}")).json()
    assert (run["status"], run["workflow"]["slug"]) == ("completed", expected["workflow"])
    assert run["output_text"] == expected["output"]
    assert run["result"]["file_id"] == expected["result_id"]
    output = ok(upgraded.http.get(f"/api/v1/runs/{expected['id']}/output"))
    assert output.content.decode() == expected["output"]
    assert ok(upgraded.http.get(f"/api/v1/runs/{expected['id']}/log")).json()["items"]


def test_what_the_owner_takes_up_is_counted_and_stays_so(upgraded):
    counted = usage.usage_of(upgraded.owner.id)
    assert counted == usage.recount(upgraded.owner.id)
    assert (counted.files, counted.open_sessions) == (len(CONTENTS["files"]) + 1, 1)
    finish_the_half(upgraded.http)
    assert usage.usage_of(upgraded.owner.id) == usage.recount(upgraded.owner.id)
    assert usage.usage_of(upgraded.owner.id).open_sessions == 0
