import logging
import subprocess
from threading import Thread

import pytest
from celery import current_app, shared_task

from boot.celery import app
from boot.tests.portal import ROOT, clean_environment


def test_tasks_are_sent_by_our_app_from_any_thread():
    @shared_task(name="boot.tests.nothing")
    def nothing():
        pass

    found = []
    thread = Thread(target=lambda: found.append((current_app._get_current_object(), nothing.app)))
    thread.start()
    thread.join()
    assert found == [(app, app)]
    del app.tasks["boot.tests.nothing"]


CELERY = [".venv/bin/celery", "--app=boot.celery:app", "--quiet"]
GUNICORN = [".venv/bin/gunicorn", "--config=python:boot.gunicorn", "boot.wsgi"]


@pytest.mark.parametrize("command", [[*CELERY, "worker"], [*CELERY, "beat"], GUNICORN])
@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "DJANGO_SECRET_KEY must be set in Production"),
        ({"WORKER_CONCURRENCY": "x"}, "WORKER_CONCURRENCY must be a whole number"),
        ({"PORTAL_EXTRA_APPS": "no_such_app"}, "PORTAL_EXTRA_APPS names no_such_app"),
    ],
)
def test_a_process_by_itself_refuses_bad_settings_in_one_line(command, environment, told):
    refused = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert f"Error: {told}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_lost_broker_is_told_of_once_in_a_while_and_other_news_at_once(caplog):
    logger = logging.getLogger("celery.worker.consumer.consumer")
    for number in range(9):
        logger.warning("%s (%r)", "consumer: Connection to broker lost. Trying ...", number)
        logger.critical("Frequent restarts detected: %r", number)
        logger.error("Received an unknown task %r", number)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "unknown task" in line]) == 9
    assert len(told) == 10


def test_a_lost_database_is_no_traceback_of_beat(caplog):
    try:
        raise OSError("the database is gone")
    except OSError as exc:
        logger = logging.getLogger("django_celery_beat.schedulers")
        logger.exception("Database gave error: %r", exc)
    assert "the database is gone" in caplog.text
    assert "Traceback" not in caplog.text
