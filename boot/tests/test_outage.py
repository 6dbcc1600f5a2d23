"""How long one waits for a database that is gone, or busy, and what one is told."""

import threading
import time
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from accounts.tests.factories import make_user
from boot.outage import FIRST_WAIT, outage
from common.tests.outage import database_gone, few_connections
from uploads.tests.factories import Api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _afterwards():
    yield
    outage.end()


def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_a_database_that_is_gone_is_waited_for_two_seconds_by_the_first_who_needs_it(settings):
    assert settings.DATABASES["default"]["OPTIONS"]["pool"]["timeout"] == FIRST_WAIT == 2
    with database_gone(patience=0.2):
        start = time.monotonic()
        with pytest.raises(OperationalError):
            ask()
        assert time.monotonic() - start < FIRST_WAIT


def test_it_is_found_again_as_soon_as_it_is_back(tmp_path):
    sockets = tmp_path / "s"
    there = connection.settings_dict["OPTIONS"]["host"]
    with database_gone(patience=0.2, host=str(sockets), port=5432):
        for _ in range(2):
            with pytest.raises(OperationalError):
                ask()
        sockets.symlink_to(Path(there))
        ask()
        assert not outage.is_known
        sockets.unlink()


def test_connections_that_others_have_are_waited_for_longer():
    with few_connections(most=1, patience=0.1):
        lent, give_back = threading.Event(), threading.Event()

        def keep():
            ask()
            lent.set()
            give_back.wait()
            connection.close()

        other = threading.Thread(target=keep)
        other.start()
        lent.wait()
        timer = threading.Timer(0.5, give_back.set)
        timer.start()
        start = time.monotonic()
        ask()
        assert time.monotonic() - start > 0.2
        other.join()
        timer.join()


def test_the_api_says_that_the_database_does_not_answer(caplog):
    api = Api()
    with database_gone():
        answer = api.http.get("/api/v1/files")
    assert answer.status_code == 503
    assert answer.json()["code"] == "database_unavailable"
    assert answer.headers["Retry-After"] == "5"
    assert "Traceback" not in caplog.text


def test_a_page_says_that_the_database_does_not_answer(client, caplog):
    client.force_login(make_user())
    with database_gone():
        answer = client.get("/app/uploads/")
    assert answer.status_code == 503
    assert "The database does not answer" in answer.content.decode()
    assert answer.headers["Retry-After"] == "5"
    assert "Traceback" not in caplog.text
    assert client.get("/app/uploads/").status_code == 200


FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file "base/1/2"' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk();
"""  # what PostgreSQL answers where its disk has no room for another row


def fill_disk(table):
    with connection.cursor() as cursor:
        cursor.execute(FULL.format(table=table))


@pytest.mark.django_db
def test_the_api_says_that_the_disk_of_the_database_is_full():
    api = Api()
    fill_disk("upload_session")
    answer = api.create_session()
    assert answer.status_code == 507
    assert answer.json()["code"] == "database_full"
    assert "has to make room" in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "60"


@pytest.mark.django_db
def test_a_page_says_that_the_disk_of_the_database_is_full(client):
    client.force_login(make_user())
    fill_disk("api_token")
    answer = client.post("/app/tokens/", {"name": "a", "scopes": ["read"], "days": "30"})
    assert answer.status_code == 507
    assert "The disk of the portal&#x27;s database is full" in answer.content.decode()
