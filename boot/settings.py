"""All configuration, read once from the environment (and `.env`), one class per way of running.

Base is what all share, with the portal's own in `boot.portal_settings`; Dev is for working on
Doorito, Local for `make run`, Production for a server, Test for the test suite. Code elsewhere
reads `django.conf.settings` and nothing else.
"""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import dj_database_url
from configurations import Configuration
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from boot import (
    embedded_postgres,
    env_file,
    logs,
    outage,
    periodic,
    portal_settings,
    secret_files,
    values,
)

BASE_DIR = Path(__file__).resolve().parent.parent

# libpq's, for all connections to the database: a host that has gone silent, without closing any, is
# given up after some ten seconds, whether it is waited for or sent to.
_LIVENESS = {
    "connect_timeout": 3,  # seconds
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}

_MEDIA_ON_DISK = {"BACKEND": "django.core.files.storage.FileSystemStorage"}


class Base(portal_settings.Portal, Configuration):
    ENV_FILE = BASE_DIR / ".env"
    DEBUG = False
    IS_PRODUCTION = False
    BASE_DIR = BASE_DIR
    DOORITO_DATA_DIR = values.Directory(BASE_DIR / ".doorito")
    # Static files as they are served; none: the data directory has them.
    DOORITO_STATIC_DIR = values.Directory(None)
    WEB_HOST = values.Text("127.0.0.1")
    WEB_PORT = values.Integer(8000)
    WEB_WORKERS = values.Integer(2)
    WEB_THREADS = values.Integer(256)
    WORKER_CONCURRENCY = values.Integer(2)
    # Public address of the portal, used in the links that events carry.
    PORTAL_BASE_URL = values.Text("")
    PORTAL_REGISTRATION_OPEN = values.Boolean(True)
    # Networks of proxies whose X-Forwarded-For says which client a request comes from.
    PORTAL_TRUSTED_PROXIES = values.TextList(["127.0.0.1/32", "::1/128"])
    # The first administrator that `doorito up` creates; empty: a default, and a generated password.
    DOORITO_ADMIN_EMAIL = values.Text("")
    DOORITO_ADMIN_PASSWORD = values.Text("")

    # --- Django --------------------------------------------------------------------------------
    ROOT_URLCONF = "boot.urls"
    WSGI_APPLICATION = "boot.wsgi.application"
    AUTH_USER_MODEL = "accounts.User"
    LOGIN_URL = "frontend:login"
    LOGIN_REDIRECT_URL = "frontend:dashboard"
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    LANGUAGE_CODE = "en-us"
    TIME_ZONE = "UTC"
    USE_TZ = True
    USE_I18N = False

    ALLOWED_HOSTS = values.TextList(
        ["localhost", "127.0.0.1", "[::1]"], environ_name="DJANGO_ALLOWED_HOSTS"
    )
    # Earlier secret keys, whose sessions, links and secrets stay good.
    SECRET_KEY_FALLBACKS = values.TextList([], environ_name="DJANGO_SECRET_KEY_FALLBACKS")
    CSRF_TRUSTED_ORIGINS = values.TextList([], environ_name="DJANGO_CSRF_TRUSTED_ORIGINS")

    _APPS = [
        "boot.apps.BootConfig",
        "boot.apps.DooritoAdminConfig",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.humanize",
        "django.contrib.postgres",
        "boot.apps.SourcelessStaticFilesConfig",
        "django_celery_beat",
        "ninja",
        "common",
        "accounts",
        "uploads",
        "frontend",
    ]
    MIDDLEWARE = [
        "boot.requests.RequestMiddleware",
        "common.middleware.DatabaseProblemMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "boot.health.HealthMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "common.http.middleware.ApiCachingMiddleware",
        "common.http.problems.BodyLengthMiddleware",
        "common.http.middleware.ContentEncodingMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "accounts.middleware.ActingMiddleware",
        "accounts.middleware.RefusedFormMiddleware",
        "accounts.middleware.RateHeadersMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "common.http.middleware.ApiMethodNotAllowedMiddleware",
    ]
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [BASE_DIR / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        }
    ]
    AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ]

    STATIC_URL = "/static/"
    STATICFILES_DIRS = [BASE_DIR / "static"]

    # Of every form; `POST /api/v1/files` sets its own.
    FILE_UPLOAD_HANDLERS = ["common.http.forms.FieldsOnlyUploadHandler"]

    SESSION_COOKIE_HTTPONLY = True
    SESSION_COOKIE_SAMESITE = "Lax"
    CSRF_COOKIE_SAMESITE = "Lax"
    CSRF_FAILURE_VIEW = "frontend.views.errors.csrf_failure"
    X_FRAME_OPTIONS = "DENY"
    SECURE_CONTENT_TYPE_NOSNIFF = True
    SECURE_REFERRER_POLICY = "same-origin"
    SECURE_CSP = {
        "default-src": [CSP.SELF],
        "img-src": [CSP.SELF, "data:"],
        "object-src": [CSP.NONE],
        "base-uri": [CSP.NONE],
        "form-action": [CSP.SELF],
        "frame-ancestors": [CSP.NONE],
    }

    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST = values.Text("localhost")
    EMAIL_PORT = values.Integer(25)
    EMAIL_HOST_USER = values.Text("")
    EMAIL_HOST_PASSWORD = values.Text("")
    EMAIL_TIMEOUT = 10  # seconds: a mail server that is silent must not hold up others' work
    EMAIL_USE_TLS = values.Boolean(False)
    DEFAULT_FROM_EMAIL = values.Text("doorito@localhost")

    # --- Celery: messages are hints, durable work stands in rows ---------------------------------
    CELERY_TASK_ALWAYS_EAGER = False
    CELERY_TASK_DEFAULT_QUEUE = "default"
    # Runs take long: they have a queue, and workers, of their own.
    CELERY_TASK_ROUTES = {"uploads.tasks.run_workflows": {"queue": "workflows"}}
    CELERY_TASK_SERIALIZER = "json"
    CELERY_ACCEPT_CONTENT = ["json"]
    CELERY_TASK_IGNORE_RESULT = True
    CELERY_TASK_TIME_LIMIT = 600
    CELERY_TASK_SOFT_TIME_LIMIT = 540
    CELERY_WORKER_PREFETCH_MULTIPLIER = 1
    CELERY_WORKER_HIJACK_ROOT_LOGGER = False
    # Concerns tasks that are acknowledged late, and we have none; unset, it is warned of.
    CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
    CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
    CELERY_BEAT_SCHEDULER = "boot.beat:Scheduler"
    CELERY_TIMEZONE = "UTC"

    @classmethod
    def pre_setup(cls) -> None:
        env_file.load(cls.ENV_FILE)
        secret_files.load()

    @property
    def KNOWN_NAMES(self) -> list[str]:
        """The environment variables that are settings, those of other configurations too."""
        computed = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SECRET_KEY")
        return [*values.NAMES, *computed, *secret_files.NAMES]

    @property
    def INSTALLED_APPS(self) -> list[str]:
        return list(dict.fromkeys([*self._APPS, *self.PORTAL_EXTRA_APPS]))

    @property
    def DATABASE_URL(self) -> str:
        """The configured database, else the embedded PostgreSQL of the data directory."""
        configured = os.environ.get("DATABASE_URL")
        if not configured:
            return embedded_postgres.url(self.DOORITO_DATA_DIR)
        if not values.is_database_address(configured, "postgresql", "postgres"):
            # Without its value, which may hold a password.
            raise ImproperlyConfigured(
                "DATABASE_URL must be an address such as postgresql://user:password@host:5432/name "
                "(in user and password, write # as %23, [ as %5B, and the like). "
                "Set it in the environment or .env."
            )
        return configured

    @property
    def EMBEDDED_POSTGRES(self) -> bool:
        """Whether the database is the data directory's own, to be started with the portal."""
        return not os.environ.get("DATABASE_URL")

    @property
    def DATABASES(self) -> dict[str, Any]:
        database: dict[str, Any] = dict(dj_database_url.parse(self.DATABASE_URL))
        # Connections are lent per query block, not kept per thread: with hundreds of threads
        # held by slow clients, only those that talk to the database own a connection.
        database["ENGINE"] = "boot.postgresql"
        database["OPTIONS"] = {
            **_LIVENESS,
            **database.get("OPTIONS", {}),
            "pool": {
                "min_size": 0,
                "max_size": 16,
                "timeout": outage.FIRST_WAIT,
                "reconnect_timeout": outage.RECONNECT_SECONDS,
                "reconnect_failed": outage.outage.begin,
            },
        }
        return {"default": database}

    @property
    def CELERY_BROKER_URL(self) -> str:
        configured = os.environ.get("CELERY_BROKER_URL")
        if configured:
            return configured
        address = urlsplit(self.DATABASE_URL)
        own = parse_qsl(address.query, keep_blank_values=True)
        ours = [(name, value) for name, value in _LIVENESS.items() if name not in dict(own)]
        query = urlencode([*own, *ours])
        return address._replace(scheme="sqla+postgresql+psycopg", query=query).geturl()

    @property
    def STATIC_ROOT(self) -> Path:
        return self.DOORITO_STATIC_DIR or self.DOORITO_DATA_DIR / "static"

    @property
    def SECRET_KEY(self) -> str:
        return os.environ.get("DJANGO_SECRET_KEY") or _generated_secret(self.DOORITO_DATA_DIR)

    @property
    def GENERATED_SECRET_KEY_FILE(self) -> Path | None:
        """Where the secret key is that the portal made for itself; None where it was given one."""
        given = os.environ.get("DJANGO_SECRET_KEY")
        return None if given else _secret_file(self.DOORITO_DATA_DIR)

    @property
    def PUBLIC_URL(self) -> str:
        """Scheme, host and port of the portal as others see it, without a trailing slash."""
        return (self.PORTAL_BASE_URL or f"http://localhost:{self.WEB_PORT}").rstrip("/")

    @property
    def STORAGES(self) -> dict[str, Any]:
        return {
            "default": self._media if self.PORTAL_STORAGE == "s3" else _MEDIA_ON_DISK,
            "staticfiles": {"BACKEND": "boot.static_files.StaticFilesStorage"},
        }

    @property
    def _media(self) -> dict[str, Any]:
        """Django's own files, beside the uploads."""
        return {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": self.AWS_STORAGE_BUCKET_NAME,
                "location": f"{self.PORTAL_S3_PREFIX}media",
                "endpoint_url": self.AWS_S3_ENDPOINT_URL or None,
                "region_name": self.AWS_S3_REGION_NAME or None,
                "access_key": self.AWS_ACCESS_KEY_ID or None,
                "secret_key": self.AWS_SECRET_ACCESS_KEY or None,
                "security_token": self.AWS_SESSION_TOKEN or None,
                "addressing_style": self.AWS_S3_ADDRESSING_STYLE or None,
                "verify": str(self.AWS_CA_BUNDLE) if self.AWS_CA_BUNDLE else None,
                "querystring_auth": self.AWS_QUERYSTRING_AUTH,
                "querystring_expire": self.AWS_QUERYSTRING_EXPIRE,
                "file_overwrite": self.AWS_S3_FILE_OVERWRITE,
            },
        }

    @property
    def CELERY_BEAT_SCHEDULE(self) -> dict[str, Any]:
        return periodic.schedule(
            outbox_sweep_minutes=self.OUTBOX_SWEEP_INTERVAL_MINUTES,
            cleanup_hours=self.CLEANUP_UPLOADS_INTERVAL_HOURS,
        )

    @property
    def LOG_FORMAT(self) -> str:
        return self.PORTAL_LOG_FORMAT or ("json" if self.IS_PRODUCTION else "text")

    @property
    def LOGGING(self) -> dict[str, Any]:
        return logs.config(form=self.LOG_FORMAT, level=self.PORTAL_LOG_LEVEL)


class Dev(Base):
    """Working on Doorito: debug pages, mail on the console, Celery tasks run in place."""

    DEBUG = True
    EMAIL_BACKEND = "boot.mail.ConsoleBackend"
    CELERY_TASK_ALWAYS_EAGER = values.Boolean(True)  # false: there is a worker
    CELERY_TASK_EAGER_PROPAGATES = True
    PORTAL_WEBHOOK_ALLOW_LOOPBACK = True

    @property
    def STORAGES(self) -> dict[str, Any]:
        return super().STORAGES | {
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        }


class Local(Base):
    """`make run`: the product on one machine, over plain http on localhost."""

    PORTAL_WEBHOOK_ALLOW_LOOPBACK = True
    EMAIL_BACKEND = "boot.mail.ConsoleBackend"


class Production(Base):
    """A server behind TLS. Secrets come from the environment, never from a generated file."""

    IS_PRODUCTION = True
    PORTAL_REGISTRATION_OPEN = values.Boolean(False)
    ALLOWED_HOSTS = values.TextList([], environ_name="DJANGO_ALLOWED_HOSTS")
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = values.Boolean(True)
    SECURE_HSTS_SECONDS = values.Integer(31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = values.Boolean(False)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics|probe)/?$"]
    # What holds for other hosts of the domain, and for browsers' lists, is its owner's decision.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

    @property
    def SECRET_KEY(self) -> str:
        return os.environ.get("DJANGO_SECRET_KEY", "")

    @property
    def PORTAL_STORAGE(self) -> str:  # type: ignore[override]
        """A bucket that is named is meant to be used."""
        default = "s3" if self.AWS_STORAGE_BUCKET_NAME else "local"
        return os.environ.get("PORTAL_STORAGE") or default


class Test(Local):
    """The test suite: as `make run`, in its own data directory, with cheap password hashes."""

    DOORITO_DATA_DIR = values.Directory(
        BASE_DIR / ".doorito" / "test", environ_name="DOORITO_TEST_DATA_DIR"
    )
    PORTAL_EXTRA_APPS = values.TextList(["uploads.tests.third_party"])
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    ALLOWED_HOSTS = ["*"]  # type: ignore[assignment]
    CELERY_TASK_ALWAYS_EAGER = True
    CELERY_TASK_EAGER_PROPAGATES = True

    @property
    def STORAGES(self) -> dict[str, Any]:
        return super().STORAGES | {
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        }


def _generated_secret(data_dir: Path) -> str:
    """A secret key of this data directory: made at first use, readable by its owner only."""
    try:
        return _secret_in(data_dir)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"Cannot use the data directory {data_dir}: {exc.strerror}. "
            "Set DOORITO_DATA_DIR to a folder that you own."
        ) from exc


def _secret_file(data_dir: Path) -> Path:
    return data_dir / "secret_key"


def _secret_in(data_dir: Path) -> str:
    path = _secret_file(data_dir)
    try:
        return path.read_text()
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
    candidate = path.with_name(f".secret_key.{os.getpid()}")
    candidate.touch(mode=0o600)
    try:
        candidate.write_text(secrets.token_urlsafe(50))
        os.link(candidate, path)  # one winner when several processes start at once
    except FileExistsError:
        pass
    finally:
        candidate.unlink()
    return path.read_text()
