"""What we override or rely on inside of kombu, Celery and its beat is as it was when we read it.

These are no public interfaces. When one of these tests fails after an upgrade: read the new source,
see whether ours still fits (boot/broker.py, boot/beat.py, boot/logs.py), then change the digest.
"""

import hashlib
import inspect
import re
from importlib import import_module

import pytest
from celery.beat import Scheduler
from django_celery_beat.schedulers import DatabaseScheduler
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.sqlalchemy import Channel

import boot.celery  # noqa: F401  (registers the transport)
from boot import broker
from boot.tests.portal import ROOT


@pytest.mark.parametrize(
    ("member", "digest"),
    [
        (Channel._get, "607d403ac8724483"),
        (Channel._get_or_create, "27b22df7e291bd81"),
        (Channel._open, "d3fa9e81244d2690"),
        (Channel.close, "26368e1cadfc4ff9"),
        (Scheduler.tick, "cee54aab628fce6d"),
        (DatabaseScheduler.schedule.fget, "df06cb7baa86dea1"),
        (DatabaseScheduler.all_as_schedule, "80ec0f78e99c3074"),
        (DatabaseScheduler.sync, "f62a491e24a346f1"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_what_is_overridden_has_not_changed(member, digest):
    source = inspect.getsource(member)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == digest, source


def test_the_transport_is_found_by_the_scheme_of_the_brokers_address():
    assert TRANSPORT_ALIASES["sqla"] == f"{broker.__name__}:{broker.Transport.__name__}"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("celery.worker.consumer.consumer", "consumer: Connection to broker lost"),
        ("celery.worker.consumer.consumer", "Frequent restarts detected"),
        ("celery.beat", "Message Error"),
        ("django_celery_beat.schedulers", "Database gave error"),
        ("django_celery_beat.schedulers", "Database error while sync"),
        ("psycopg_pool.pool", "error connecting in"),
        ("psycopg_pool.pool", "reconnection attempt in pool"),
    ],
)
def test_what_the_log_cuts_short_is_still_said(module, text):
    assert text in inspect.getsource(import_module(module))
    assert text in (ROOT / "boot" / "logs.py").read_text()


def test_nobody_else_touches_members_of_these_libraries_that_are_private():
    owners = {"kombu": "boot/broker.py", "django_celery_beat": "boot/beat.py"}
    for app in ("boot", "common", "accounts", "uploads", "frontend"):
        for path in (ROOT / app).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if "tests" in path.parts or name in owners.values():
                continue
            imports = re.findall(r"^\s*(?:from|import) (\w+)[.\w]*", path.read_text(), re.MULTILINE)
            assert not owners.keys() & set(imports) or name == "boot/celery.py", name
