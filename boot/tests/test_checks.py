import secrets
from pathlib import Path

import pytest

from boot.checks import _RANGES, check_host_names, check_settings


def refused():
    return [problem.msg for problem in check_settings()]


def test_the_defaults_are_fine():
    assert refused() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_HOST", "localhost"),
        ("WEB_HOST", "127.0.0.1:8000"),
        ("WEB_PORT", 0),
        ("WEB_PORT", 65536),
        ("WEB_WORKERS", 0),
        ("WEB_THREADS", 0),
        ("WORKER_CONCURRENCY", 0),
        ("FILE_UPLOAD_MAX_SIZE", 0),
        ("FILE_UPLOAD_TTL_HOURS", 0),
        ("FILE_UPLOAD_EXPIRY_NOTIFY_HOURS", -1),
        ("FILE_UPLOAD_ALLOWED_TYPES", [".pdf"]),
        ("FILE_UPLOAD_ALLOWED_TYPES", ["image/*", "*.pdf"]),
        ("FILE_UPLOAD_ALLOWED_TYPES", ["application/vnd.*"]),
        ("PORTAL_MAX_FILE_SIZE", 0),
        ("PORTAL_CHUNK_SIZE", 1),
        ("PORTAL_CHUNK_SIZE", 2**40),
        ("PORTAL_CHUNK_SIZE_MIN", 0),
        ("PORTAL_SESSION_TTL_HOURS", 0),
        ("PORTAL_MAX_TTL_HOURS", 1),
        ("PORTAL_CONSUME_GRACE_SECONDS", -1),
        ("PORTAL_STALL_TIMEOUT_SECONDS", 0),
        ("AWS_S3_ENDPOINT_URL", "s3.example.com"),
        ("AWS_S3_ENDPOINT_URL", "https://s3.example.com/bucket"),
        ("AWS_S3_ADDRESSING_STYLE", "host"),
        ("AWS_CA_BUNDLE", Path("/nowhere/ca.pem")),
        ("PORTAL_S3_PREFIX", "doorito"),
        ("PORTAL_S3_ENCRYPTION", "rot13"),
        ("PORTAL_S3_CHECKSUMS", "always"),
        ("PORTAL_DOWNLOADS", "elsewhere"),
        ("PORTAL_STORAGE", "floppy"),
        ("PORTAL_DOORS", ["tus", "ftp"]),
        ("PORTAL_DOORS", ["tus", "none"]),
        ("PORTAL_CORS_ORIGINS", ["app.example.com"]),
        ("PORTAL_CORS_ORIGINS", ["https://app.example.com/"]),
        ("PORTAL_BASE_URL", "files.example.com"),
        ("PORTAL_BASE_URL", "https://files.example.com/doorito"),
        ("PORTAL_BASE_URL", "https://files.example.com?a=b"),
        ("PORTAL_BASE_URL", "https://files.example.com#top"),
        ("PORTAL_BASE_URL", "https://user@files.example.com"),
        ("CELERY_BROKER_URL", "garbage"),
        ("CELERY_BROKER_URL", "redis://localhost/0"),
        ("CELERY_BROKER_URL", "sqla+postgresql+psycopg://localhost"),
        ("CLEANUP_UPLOADS_INTERVAL_HOURS", 0),
        ("DOORITO_ADMIN_EMAIL", "admin"),
        ("EMAIL_PORT", 0),
        ("PORTAL_TRUSTED_PROXIES", ["proxy.example.com"]),
        ("PORTAL_TRUSTED_PROXIES", ["::1/128", "10.0.0.1/8"]),
        ("PORTAL_TRUSTED_PROXIES", ["10.0.0.0/33"]),
        *((name, 10**20) for name in _RANGES),
        ("PORTAL_WORKFLOW_RETRY_SCHEDULE", [10**20]),
    ],
)
def test_a_bad_value_is_refused_by_name(settings, name, value):
    setattr(settings, name, value)
    if name == "PORTAL_BASE_URL":
        settings.PUBLIC_URL = value
    assert any(message.startswith(name) for message in refused())


def test_no_host_names_are_refused_by_the_name_of_the_variable(settings):
    settings.ALLOWED_HOSTS = []
    assert any(message.startswith("DJANGO_ALLOWED_HOSTS") for message in refused())


def test_an_empty_secret_key_is_refused_by_the_name_of_the_variable(settings):
    settings.SECRET_KEY = ""
    assert any(message.startswith("DJANGO_SECRET_KEY") for message in refused())


@pytest.fixture
def production(settings):
    settings.IS_PRODUCTION = True
    settings.PORTAL_BASE_URL = settings.PUBLIC_URL = "https://files.example.com"
    settings.ALLOWED_HOSTS = [".example.com"]
    settings.SECRET_KEY = secrets.token_hex(16)
    return settings


@pytest.mark.parametrize("key", ["short", "x" * 50, "abcdefghijklmnopqrstuvwxyz"])
def test_a_secret_key_that_can_be_guessed_is_refused_in_production_only(production, key):
    assert refused() == []
    production.SECRET_KEY = key
    (message,) = refused()
    assert message.startswith("DJANGO_SECRET_KEY is too easy to guess")
    assert key not in message
    production.IS_PRODUCTION = False
    assert refused() == []


def test_production_needs_a_public_address(production):
    production.PORTAL_BASE_URL = ""
    (message,) = refused()
    assert message.startswith("PORTAL_BASE_URL must be set in Production")


def test_an_address_that_the_portal_does_not_answer_is_warned_of(production):
    assert check_host_names() == []
    production.PUBLIC_URL = "https://portal.example.org:8443"
    (warning,) = check_host_names()
    assert "Links lead to portal.example.org" in warning.msg


def test_s3_needs_a_bucket_and_no_keys_or_both(settings):
    settings.PORTAL_STORAGE = "s3"
    assert [message.split()[0] for message in refused()] == ["AWS_STORAGE_BUCKET_NAME"]
    settings.AWS_STORAGE_BUCKET_NAME = "files"
    assert refused() == []
    settings.AWS_ACCESS_KEY_ID = "AKID"
    assert len(refused()) == 1
