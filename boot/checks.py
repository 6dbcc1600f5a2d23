"""Checks of the settings, made by Django at every start. Each message names the setting.

Those of announcing are in `common.webhooks.checks`.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Error, Warning, register
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import URLValidator, validate_email
from django.http.request import split_domain_port, validate_host

from boot import env_file, logs, values
from boot.places import MOST_PER_ACCOUNT
from common import content_types
from uploads.doors import DOORS, NONE
from uploads.files.acceptance.clamd import parse_address
from uploads.storage import backends

_DAY = 86_400  # seconds
_YEARS = 10  # beyond it dates overflow, sooner or later, and nobody waits
_EXBIBYTE = 2**60  # more does not fit in the database's whole numbers
_RATE = 10**9  # requests a minute
_RANGES = {
    # name: (lowest, highest)
    "WEB_PORT": (1, 65535),
    "WEB_WORKERS": (1, 256),
    "WEB_THREADS": (1, 4096),
    "WORKER_CONCURRENCY": (1, 256),
    "FILE_UPLOAD_MAX_SIZE": (1, _EXBIBYTE),
    "FILE_UPLOAD_TTL_HOURS": (1, _YEARS * 365 * 24),
    "FILE_UPLOAD_EXPIRY_NOTIFY_HOURS": (0, _YEARS * 365 * 24),
    "PORTAL_MAX_FILE_SIZE": (1, _EXBIBYTE),
    "PORTAL_CHUNK_SIZE_MIN": (1, _EXBIBYTE),
    "PORTAL_CHUNK_SIZE_MAX": (1, _EXBIBYTE),
    "PORTAL_QUOTA_BYTES": (0, _EXBIBYTE),
    "PORTAL_QUOTA_FILES": (0, _EXBIBYTE),
    "PORTAL_QUOTA_UPLOADS": (0, _EXBIBYTE),
    "PORTAL_RATE_SESSIONS": (0, _RATE),
    "PORTAL_RATE_FILES": (0, _RATE),
    "PORTAL_RATE_RUNS": (0, _RATE),
    "PORTAL_RATE_LINKS": (0, _RATE),
    "PORTAL_RATE_TOKEN_FAILURES": (0, _RATE),
    "PORTAL_STORAGE_CHECK_HOURS": (0, _YEARS * 365 * 24),
    "PORTAL_DISK_RESERVE": (0, _EXBIBYTE),
    "PORTAL_SESSION_TTL_HOURS": (1, _YEARS * 365 * 24),
    "PORTAL_BATCH_IDLE_HOURS": (1, _YEARS * 365 * 24),
    "PORTAL_WAIT_PAST_EXPIRY_HOURS": (0, _YEARS * 365 * 24),
    "PORTAL_AUDIT_DAYS": (1, _YEARS * 365),
    "PORTAL_TOMBSTONE_DAYS": (1, _YEARS * 365),
    "PORTAL_MAX_TTL_HOURS": (1, _YEARS * 365 * 24),
    "PORTAL_CONSUME_GRACE_SECONDS": (0, _YEARS * 365 * _DAY),
    "PORTAL_STALL_TIMEOUT_SECONDS": (1, _DAY),
    "PORTAL_TRANSFER_MIN_RATE": (0, _EXBIBYTE),
    "PORTAL_TRANSFER_RATE_SECONDS": (1, _DAY),
    "PORTAL_TRANSFERS_PER_ACCOUNT": (1, MOST_PER_ACCOUNT),
    "PORTAL_SCANNER_MAX_SIZE": (1, 2**32 - 1),  # what clamd can take
    "PORTAL_SCANNER_TIMEOUT_SECONDS": (1, 300),
    "PORTAL_CHECK_WAIT_HOURS": (1, _YEARS * 365 * 24),
    "PORTAL_QUARANTINE_HOURS": (0, _YEARS * 365 * 24),
    "PORTAL_ARCHIVE_MAX_BYTES": (0, _EXBIBYTE),
    "PORTAL_ARCHIVE_MAX_RATIO": (0, _RATE),
    "PORTAL_ARCHIVE_MAX_ENTRIES": (0, _RATE),
    "CLEANUP_UPLOADS_INTERVAL_HOURS": (1, 365 * 24),
    "AWS_QUERYSTRING_EXPIRE": (1, 7 * _DAY),  # what S3 signs for
    "EMAIL_PORT": (1, 65535),
    "WORKFLOW_CONCURRENCY": (1, 256),
    "PORTAL_WORKFLOW_MEMORY": (64 * 2**20, _EXBIBYTE),
    "PORTAL_WORKFLOW_RESULT_MAX": (1, _EXBIBYTE),
    "PORTAL_WORKFLOW_OUTPUT_MAX": (1, 2**20),
    "PORTAL_WORKFLOW_RETENTION_DAYS": (1, _YEARS * 365),
    "SECURE_HSTS_SECONDS": (0, _YEARS * 365 * _DAY),
}
_CHOICES = {
    "AWS_S3_ADDRESSING_STYLE": ["", "auto", "path", "virtual"],
    "PORTAL_S3_ENCRYPTION": ["", "AES256", "aws:kms", "aws:kms:dsse"],
    "PORTAL_S3_CHECKSUMS": ["when_required", "when_supported"],
    "PORTAL_DOWNLOADS": ["redirect", "portal"],
}
_PREFIX = re.compile(r"(?:[\w-]+/)+", re.ASCII)
_SECRET_LENGTH = 32  # characters: even if they are hexadecimal digits, 128 bits
_SECRET_VARIETY = 8  # different ones among them: `aaaa…` is none
_BROKER = "sqla+postgresql+psycopg"  # the broker is PostgreSQL, by SQLAlchemy and psycopg


@register("doorito")
def check_settings(**_: Any) -> list[Error]:
    problems = [
        *_out_of_range(),
        *_chunk_sizes(),
        *_lifetimes(),
        *_workflows(),
        *_types(),
        *_scanner(),
        *_storage(),
        *_doors(),
        *_web_host(),
        *_addresses(),
        *_networks(),
        *_logs(),
        *_administrator(),
        *_production(),
    ]
    return [
        Error(message, hint="Set it in the environment or .env.", id=f"doorito.{name}")
        for name, message in problems
    ]


@register("doorito")
def check_names(**_: Any) -> list[Warning]:
    return [
        Warning(
            f"{settings.ENV_FILE} sets {name}, which is no setting: is {alike} meant?",
            id=f"doorito.{name}",
        )
        for name, alike in env_file.misspelt(settings.ENV_FILE, settings.KNOWN_NAMES)
    ]


@register("doorito")
def check_host_names(**_: Any) -> list[Warning]:
    host, _port = split_domain_port(urlsplit(settings.PUBLIC_URL).netloc.lower())
    if validate_host(host, settings.ALLOWED_HOSTS):
        return []
    return [
        Warning(
            f"Links lead to {host} (PORTAL_BASE_URL), a name that DJANGO_ALLOWED_HOSTS does not "
            "list: the portal answers them only if a proxy asks by another name.",
            id="doorito.DJANGO_ALLOWED_HOSTS",
        )
    ]


def _out_of_range() -> Iterator[tuple[str, str]]:
    for name, (lowest, highest) in _RANGES.items():
        value = getattr(settings, name)
        if value < lowest:
            yield name, f"{name} must be at least {lowest}, not {value}."
        elif value > highest:
            yield name, f"{name} must be at most {highest}, not {value}."


def _chunk_sizes() -> Iterator[tuple[str, str]]:
    low, size, high = (
        settings.PORTAL_CHUNK_SIZE_MIN,
        settings.PORTAL_CHUNK_SIZE,
        settings.PORTAL_CHUNK_SIZE_MAX,
    )
    if not low <= size <= high:
        yield (
            "PORTAL_CHUNK_SIZE",
            f"PORTAL_CHUNK_SIZE ({size}) must lie between PORTAL_CHUNK_SIZE_MIN ({low}) "
            f"and PORTAL_CHUNK_SIZE_MAX ({high}).",
        )


def _lifetimes() -> Iterator[tuple[str, str]]:
    if settings.PORTAL_MAX_TTL_HOURS < settings.FILE_UPLOAD_TTL_HOURS:
        yield (
            "PORTAL_MAX_TTL_HOURS",
            f"PORTAL_MAX_TTL_HOURS ({settings.PORTAL_MAX_TTL_HOURS}) must not be less than "
            f"FILE_UPLOAD_TTL_HOURS ({settings.FILE_UPLOAD_TTL_HOURS}).",
        )


def _workflows() -> Iterator[tuple[str, str]]:
    schedule = settings.PORTAL_WORKFLOW_RETRY_SCHEDULE
    if not schedule or min(schedule) < 0 or max(schedule) > 30 * _DAY:
        yield (
            "PORTAL_WORKFLOW_RETRY_SCHEDULE",
            "PORTAL_WORKFLOW_RETRY_SCHEDULE must name at least one wait, in seconds, "
            f"and none below 0 or above {30 * _DAY} (30 days).",
        )


def _types() -> Iterator[tuple[str, str]]:
    for pattern in settings.FILE_UPLOAD_ALLOWED_TYPES:
        if pattern != "*" and not content_types.is_pattern(pattern.lower()):
            yield (
                "FILE_UPLOAD_ALLOWED_TYPES",
                f"FILE_UPLOAD_ALLOWED_TYPES: {pattern!r} is not a content type such as "
                "application/pdf or image/*.",
            )


def _scanner() -> Iterator[tuple[str, str]]:
    if not settings.PORTAL_SCANNER:
        return
    try:
        parse_address(settings.PORTAL_SCANNER)
    except ValueError:
        yield (
            "PORTAL_SCANNER",
            "PORTAL_SCANNER must be the address of a clamd, such as clamd://127.0.0.1:3310 or "
            f"clamd:///run/clamav/clamd.ctl, not {settings.PORTAL_SCANNER!r}.",
        )


def _storage() -> Iterator[tuple[str, str]]:
    if settings.PORTAL_STORAGE not in backends():
        yield (
            "PORTAL_STORAGE",
            f"PORTAL_STORAGE must be {' or '.join(backends())}, not {settings.PORTAL_STORAGE!r}.",
        )
    if settings.PORTAL_STORAGE == "s3" and not settings.AWS_STORAGE_BUCKET_NAME:
        yield (
            "AWS_STORAGE_BUCKET_NAME",
            "AWS_STORAGE_BUCKET_NAME must name the bucket, since PORTAL_STORAGE is s3.",
        )
    if bool(settings.AWS_ACCESS_KEY_ID) != bool(settings.AWS_SECRET_ACCESS_KEY):
        yield (
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set both, or neither (then the "
            "machine's role counts).",
        )
    if settings.AWS_S3_ENDPOINT_URL and not _is_endpoint(settings.AWS_S3_ENDPOINT_URL):
        yield (
            "AWS_S3_ENDPOINT_URL",
            "AWS_S3_ENDPOINT_URL must be an address such as https://s3.example.com, without the "
            f"bucket or anything else behind it, not {settings.AWS_S3_ENDPOINT_URL!r}.",
        )
    if settings.AWS_CA_BUNDLE and not settings.AWS_CA_BUNDLE.is_file():
        yield "AWS_CA_BUNDLE", f"AWS_CA_BUNDLE: there is no file {settings.AWS_CA_BUNDLE}."
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            told = ", ".join(choice or "empty" for choice in choices)
            yield name, f"{name} must be one of {told}, not {getattr(settings, name)!r}."
    if settings.PORTAL_S3_PREFIX and not _PREFIX.fullmatch(settings.PORTAL_S3_PREFIX):
        yield (
            "PORTAL_S3_PREFIX",
            "PORTAL_S3_PREFIX must be letters, digits, -, _ and /, and end with /, not "
            f"{settings.PORTAL_S3_PREFIX!r}.",
        )


def _doors() -> Iterator[tuple[str, str]]:
    for name in settings.PORTAL_DOORS:
        if name not in DOORS and settings.PORTAL_DOORS != [NONE]:
            yield (
                "PORTAL_DOORS",
                f"PORTAL_DOORS: {name!r} is no door; there are: {', '.join(DOORS)}, or {NONE} "
                "alone.",
            )
    for origin in settings.PORTAL_CORS_ORIGINS:
        if origin != "*" and not _is_origin(origin):
            yield (
                "PORTAL_CORS_ORIGINS",
                f"PORTAL_CORS_ORIGINS: {origin!r} is no origin such as https://app.example.com, "
                "without a path or a slash behind it.",
            )


def _addresses() -> Iterator[tuple[str, str]]:
    if settings.PORTAL_BASE_URL and not _is_origin(settings.PUBLIC_URL):
        yield (
            "PORTAL_BASE_URL",
            "PORTAL_BASE_URL must be an address such as https://files.example.com, "
            f"without a path or anything else behind it, not {settings.PORTAL_BASE_URL!r}.",
        )
    if not values.is_database_address(settings.CELERY_BROKER_URL, _BROKER):
        # Without its value, which may hold a password.
        yield (
            "CELERY_BROKER_URL",
            "CELERY_BROKER_URL must be an address such as "
            f"{_BROKER}://user:password@host:5432/name.",
        )


def _web_host() -> Iterator[tuple[str, str]]:
    try:
        ipaddress.ip_address(settings.WEB_HOST)
    except ValueError:
        yield (
            "WEB_HOST",
            "WEB_HOST must be an IP address of this machine, such as 127.0.0.1, 0.0.0.0 (all) "
            f"or ::1, not {settings.WEB_HOST!r}.",
        )


def _is_origin(address: str) -> bool:
    """Scheme, host and port, and no more: links are made by appending to them."""
    try:
        URLValidator(schemes=["http", "https"])(address)
    except ValidationError:
        return False
    parts = urlsplit(address)
    return address == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc


def _is_endpoint(address: str) -> bool:
    """As `_is_origin`; it may be a name of the internal network, such as http://store:9000."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (raises ValueError for what is no number)
    except ValueError:
        return False
    origin = f"{parts.scheme}://{parts.netloc}"
    is_web = parts.scheme in {"http", "https"} and parts.hostname is not None
    return is_web and address.rstrip("/") == origin and "@" not in parts.netloc


def _logs() -> Iterator[tuple[str, str]]:
    if settings.LOG_FORMAT not in logs.FORMATS:
        yield (
            "PORTAL_LOG_FORMAT",
            f"PORTAL_LOG_FORMAT must be json or text, not {settings.PORTAL_LOG_FORMAT!r}.",
        )
    if settings.PORTAL_LOG_LEVEL not in logs.LEVELS:
        yield (
            "PORTAL_LOG_LEVEL",
            f"PORTAL_LOG_LEVEL must be {', '.join(logs.LEVELS[:-1])} or {logs.LEVELS[-1]}, "
            f"not {settings.PORTAL_LOG_LEVEL!r}.",
        )


def _networks() -> Iterator[tuple[str, str]]:
    for name in ("PORTAL_TRUSTED_PROXIES", "PORTAL_METRICS_NETWORKS"):
        for block in getattr(settings, name):
            try:
                ipaddress.ip_network(block)
            except ValueError:
                yield name, f"{name}: {block!r} is not a network such as 10.1.0.0/16."


def _administrator() -> Iterator[tuple[str, str]]:
    if settings.DOORITO_ADMIN_EMAIL:
        try:
            validate_email(settings.DOORITO_ADMIN_EMAIL)
        except ValidationError:
            yield (
                "DOORITO_ADMIN_EMAIL",
                "DOORITO_ADMIN_EMAIL must be an e-mail address, "
                f"not {settings.DOORITO_ADMIN_EMAIL!r}.",
            )


def _production() -> Iterator[tuple[str, str]]:
    if problem := _secret_key_problem():
        yield (
            "DJANGO_SECRET_KEY",
            f"DJANGO_SECRET_KEY {problem}: a random text of {_SECRET_LENGTH} characters or more, "
            "kept secret.",
        )
    if not settings.ALLOWED_HOSTS:
        yield (
            "DJANGO_ALLOWED_HOSTS",
            "DJANGO_ALLOWED_HOSTS must list the host names that the portal is reached by.",
        )
    if settings.IS_PRODUCTION and not settings.PORTAL_BASE_URL:
        yield (
            "PORTAL_BASE_URL",
            "PORTAL_BASE_URL must be set in Production: the public address, for links in events "
            "and e-mails, such as https://files.example.com.",
        )


def _secret_key_problem() -> str | None:
    try:
        key = str(settings.SECRET_KEY)  # Django refuses to give out an empty one
    except ImproperlyConfigured:
        return "must be set in Production"
    is_weak = len(key) < _SECRET_LENGTH or len(set(key)) < _SECRET_VARIETY
    return "is too easy to guess for Production" if settings.IS_PRODUCTION and is_weak else None
