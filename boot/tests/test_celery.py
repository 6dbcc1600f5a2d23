import subprocess
from threading import Thread

import pytest
from celery import current_app, shared_task

from boot.celery import app
from boot.tests.portal import ROOT, clean_environment

pytestmark = pytest.mark.process


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
