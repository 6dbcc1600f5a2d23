"""What all tests share: a database server, and the whole product running."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import settings
from django.db.models.signals import post_save

from boot import embedded_postgres, startup
from boot.tests import database, kinds
from boot.tests.portal import Portal, sharing_preparations
from common.models import OutboxEvent
from uploads.tests.event_validation import Observer, validator


def pytest_configure(config: pytest.Config) -> None:
    """Run the embedded PostgreSQL during the tests; processes of pytest-xdist share it."""
    # Ignored in what a shell starts in the background, and inherited; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _keep_bytecode()
    stack = ExitStack()
    config.add_cleanup(stack.close)
    if not hasattr(config, "workerinput"):
        stack.enter_context(sharing_preparations())
    if settings.EMBEDDED_POSTGRES:
        stack.enter_context(embedded_postgres.running(settings.DOORITO_DATA_DIR))
        database.stop_syncing(settings.DOORITO_DATA_DIR)
    if not hasattr(config, "workerinput"):
        database.forget_migrated()
    database.stop_syncing_files()
    database.empty_filled_tables_after_tests()
    config.stash[kinds.StartedProcesses.key] = kinds.StartedProcesses()


def _keep_bytecode() -> None:
    """Modules are compiled once, not by each of the hundreds of processes that tests start."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_itemcollected(item: pytest.Item) -> None:
    kinds.mark(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=kinds.costly_first)


def pytest_collection_finish(session: pytest.Session) -> None:
    if getattr(session.config.option, "loadgroup", False):  # one of pytest-xdist's processes
        kinds.require_groups(session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> kinds.Scheduling | None:
    return kinds.Scheduling(config, log) if config.option.dist == "loadgroup" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[kinds.StartedProcesses.key].forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Nothing is skipped on CI: whatever a test needs has to be there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,  # noqa: ARG001
    request: pytest.FixtureRequest,
    django_db_blocker: Any,
) -> None:
    """Before the test database is made.

    A pool that is there already would go on with the database that is not the tests' own.
    """
    startup.release_connections()
    if hasattr(request.config, "workerinput"):
        with django_db_blocker.unblock():
            database.share_migrations()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:  # noqa: ARG001
    """A thread that outlives its test does not keep the test database from being removed."""
    yield
    with django_db_blocker.unblock():
        database.end_other_sessions()


@pytest.fixture(scope="session")
def portal() -> Iterator[Portal]:
    """`./doorito up` in a data directory of its own, with everything that belongs to it.

    A test that stops or kills some of it brings it back before it ends (`portal.wait`).
    """
    with Portal() as portal:
        portal.start()
        yield portal


@pytest.fixture
def event_validator():
    """The validator of an event type's schema, by its name."""
    return validator


@pytest.fixture(autouse=True)
def _only_marked_tests_start_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    request.config.stash[kinds.StartedProcesses.key].refuse_unless_marked(request.node)


@pytest.fixture(autouse=True)
def _only_valid_events() -> Iterator[None]:
    """Whatever event a test lets happen is valid against its published schema."""
    observer = Observer()
    post_save.connect(observer, sender=OutboxEvent)
    yield
    post_save.disconnect(observer, sender=OutboxEvent)
    assert observer.problems() == []
