from threading import Thread

from celery import current_app, shared_task

from boot.celery import app


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
