import os
import threading

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from boot import health, heartbeats, lifeline, process_report, readiness
from boot.process_report import ProcessState
from common.version import VERSION
from uploads.tests import scanner

pytestmark = pytest.mark.django_db


@pytest.fixture
def supervised(settings, monkeypatch, tmp_path):
    """As a web server is that a supervisor, this process, has started."""
    settings.DOORITO_DATA_DIR = tmp_path
    monkeypatch.setenv(lifeline.SUPERVISOR_VARIABLE, str(os.getpid()))
    return tmp_path


@pytest.fixture(autouse=True)
def _looked_at_anew(monkeypatch):
    """What an earlier test found stands for a while."""
    for name in ("storage", "broker"):
        watched = readiness.Watched(name, lambda name=name: getattr(readiness, name)())
        monkeypatch.setattr(health, f"_{name}", watched)


@pytest.fixture
def working(settings):
    """As a portal is whose tasks are done by workers, all of which live."""
    settings.CELERY_TASK_ALWAYS_EAGER = False
    heartbeats.note("celery@one default", ["default"])
    heartbeats.note("celery@one workflows", ["workflows"])
    heartbeats.note("beat@one", ["beat"])


def silence(name, *, seconds):
    with connection.cursor() as cursor:
        age = "UPDATE heartbeat SET at = at - make_interval(secs => %s) WHERE name = %s"
        cursor.execute(age, [seconds, name])


def problems(client):
    answer = client.get("/readyz/")
    assert (answer.status_code == 200) == (answer.json()["problems"] == [])
    return answer.json()["problems"]


def test_a_portal_whose_processes_somebody_else_looks_after_is_ready(client):
    answer = client.get("/readyz/")
    assert answer.status_code == 200
    document = answer.json()
    checks = document.pop("checks")
    assert document == {"status": "ok", "processes": {}, "problems": [], "version": VERSION}
    assert {name: check["status"] for name, check in checks.items()} == dict.fromkeys(
        ("database", "migrations", "workers", "broker", "storage", "disk"), "ok"
    )
    assert all(0 <= check["milliseconds"] < 60_000 for check in checks.values())
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("path", ["/readyz/", "/readyz"])
def test_it_answers_whatever_host_name_is_asked_for(client, settings, path):
    settings.ALLOWED_HOSTS = ["files.example.com"]
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_it_reads_the_migrations_of_the_code_once_only(client, django_assert_max_num_queries):
    client.get("/readyz/")
    with django_assert_max_num_queries(4):
        client.get("/readyz/")


def test_missing_migrations_are_told_until_they_are_there(client):
    client.get("/readyz/")
    recorder = MigrationRecorder(connection)
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("uploads")
    recorder.record_unapplied(*newest)
    for _ in range(2):
        answer = client.get("/readyz/")
        assert answer.status_code == 503
        assert answer.json()["checks"]["migrations"]["status"] == "failed"
        assert answer.json()["problems"] == ["The database lacks migrations."]
    recorder.record_applied(*newest)
    assert client.get("/readyz/").status_code == 200


def test_an_unreachable_database_is_told(client):
    connection.ensure_connection()
    connection.connection.close()
    answer = client.get("/readyz/")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"]["status"] == "failed"
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


def test_workers_and_beat_that_are_heard_of_are_ready(client, working):
    assert problems(client) == []


def test_who_was_never_heard_of_is_missed(client, settings):
    settings.CELERY_TASK_ALWAYS_EAGER = False
    assert problems(client) == [
        "A worker of default has not been heard of.",
        "A worker of workflows has not been heard of.",
        "The scheduler (beat) has not been heard of.",
    ]


def test_each_worker_that_falls_silent_is_missed(client, working):
    heartbeats.note("celery@two default", ["default"])
    silence("celery@two default", seconds=100)
    assert problems(client) == ["A worker of default was last heard of 100 s ago."]
    heartbeats.end("celery@two default")
    assert problems(client) == []


def test_one_that_was_killed_for_good_is_forgotten_once_another_does_its_work(client, working):
    heartbeats.note("celery@two default", ["default"])
    silence("celery@two default", seconds=heartbeats.FORGOTTEN_AFTER + 1)
    silence("beat@one", seconds=heartbeats.FORGOTTEN_AFTER + 1)
    heartbeats.forget()
    assert {sign.name for sign in heartbeats.read()} >= {"beat@one", "celery@one default"}
    assert "celery@two default" not in {sign.name for sign in heartbeats.read()}
    assert problems(client) == ["The scheduler (beat) was last heard of 601 s ago."]


def test_a_storage_that_takes_nothing_is_told_without_its_place(client, settings, tmp_path):
    (tmp_path / "spool").write_text("in the way of the folder")
    settings.DOORITO_DATA_DIR = tmp_path
    assert problems(client) == ["The storage does not take a file."]


def test_the_storage_check_leaves_nothing(client, settings, tmp_path):
    settings.DOORITO_DATA_DIR = tmp_path
    assert problems(client) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_without_room_is_told(client, settings):
    settings.PORTAL_DISK_RESERVE = 2**60
    assert problems(client) == ["The disk is full: uploads are refused."]


def test_a_scanner_that_does_not_answer_is_told_where_there_is_to_be_one(
    client, settings, monkeypatch
):
    def looked_at_anew() -> None:
        watched = readiness.Watched("scanner", readiness.scanner)
        monkeypatch.setattr(readiness, "watched_scanner", watched)

    looked_at_anew()
    with scanner.running() as running:
        settings.PORTAL_SCANNER = running.address
        assert problems(client) == []
    looked_at_anew()
    said = "The virus scanner does not answer. Files wait to be checked."
    assert problems(client) == [said]
    settings.PORTAL_SCANNER = ""
    assert problems(client) == []


def test_a_broker_that_does_not_answer_is_told_without_its_address(client, monkeypatch):
    nowhere = "sqla+postgresql+psycopg://portal:secret@127.0.0.1:1/none"
    monkeypatch.setattr(readiness.app.conf, "broker_read_url", nowhere)
    answer = client.get("/readyz/")
    assert answer.json()["problems"] == ["The broker does not answer."]
    assert "secret" not in answer.content.decode()


def test_what_hangs_is_told_and_looked_at_once(monkeypatch):
    """However many ask. It is looked at again once it has answered."""
    monkeypatch.setattr(readiness, "PATIENCE", 0.01)
    monkeypatch.setattr(readiness, "FRESH", 0)
    looks = []
    answers = threading.Event()

    def hang():
        looks.append(1)
        answers.wait()

    watched = readiness.Watched("storage", hang)
    for _ in range(3):
        assert "without an answer" in watched.outcome().problems[0]
    assert len(looks) == 1
    answers.set()
    monkeypatch.setattr(readiness, "PATIENCE", 60)
    assert watched.outcome().problems == ()
    watched.outcome()
    assert len(looks) == 2
