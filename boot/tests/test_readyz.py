import os

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from boot import lifeline, process_report
from boot.process_report import ProcessState
from common.version import VERSION

pytestmark = pytest.mark.django_db


@pytest.fixture
def supervised(settings, monkeypatch, tmp_path):
    """As a web server is that a supervisor, this process, has started."""
    settings.DOORITO_DATA_DIR = tmp_path
    monkeypatch.setenv(lifeline.SUPERVISOR_VARIABLE, str(os.getpid()))
    return tmp_path


def test_a_portal_whose_processes_somebody_else_looks_after_is_ready(client):
    answer = client.get("/readyz/")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "database": "ok",
        "migrations": "ok",
        "processes": {},
        "problems": [],
        "version": VERSION,
    }
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("path", ["/readyz/", "/readyz"])
def test_it_answers_whatever_host_name_is_asked_for(client, settings, path):
    settings.ALLOWED_HOSTS = ["files.example.com"]
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_it_reads_the_migrations_of_the_code_once_only(client, django_assert_max_num_queries):
    client.get("/readyz/")
    with django_assert_max_num_queries(3):
        client.get("/readyz/")


def test_missing_migrations_are_told_until_they_are_there(client):
    client.get("/readyz/")
    recorder = MigrationRecorder(connection)
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("uploads")
    recorder.record_unapplied(*newest)
    for _ in range(2):
        answer = client.get("/readyz/")
        assert answer.status_code == 503
        assert answer.json()["migrations"] == "missing"
        assert answer.json()["problems"] == ["The database lacks migrations."]
    recorder.record_applied(*newest)
    assert client.get("/readyz/").status_code == 200


def test_an_unreachable_database_is_told(client):
    connection.ensure_connection()
    connection.connection.close()
    answer = client.get("/readyz/")
    assert answer.status_code == 503
    assert (answer.json()["database"], answer.json()["migrations"]) == ("unreachable", "unknown")
    assert answer.json()["problems"] == ["The database does not answer."]


def test_processes_that_are_down_are_told_by_name(client, supervised):
    states = {
        "web": ProcessState(is_up=True, stops_in_a_row=0),
        "worker": ProcessState(is_up=False, stops_in_a_row=6, last_stop="exit code 1"),
        "beat": ProcessState(is_up=False, stops_in_a_row=0),
    }
    process_report.write(supervised, states)
    answer = client.get("/readyz/")
    assert answer.status_code == 503
    assert answer.json()["processes"] == {"web": "up", "worker": "down", "beat": "down"}
    assert answer.json()["problems"] == [
        "worker is down. It has stopped 6 times in a row, at last with exit code 1.",
        "beat has not started yet.",
    ]
    process_report.write(supervised, {name: ProcessState(True, 0) for name in states})
    assert client.get("/readyz/").status_code == 200


def test_a_silent_supervisor_is_told(client, supervised):
    answer = client.get("/readyz/")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["The supervisor does not tell which processes run."]
