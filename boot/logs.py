"""What is logged, and how. What libraries say too often, or at too great length, is cut short."""

import logging
import time
from typing import Any

_INTERVAL = 10.0  # seconds

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "common.masking.MaskingFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
    },
    "filters": {
        "broker_lost": {"()": "boot.logs.broker_lost"},
        "database_lost": {"()": "boot.logs.database_lost"},
        "no_traceback": {"()": "boot.logs.NoTraceback"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # Answers of 4xx are the client's news, and the addresses of signed links are secrets.
    "loggers": {
        "django.request": {"level": "ERROR"},
        # They are of 4xx too; Django logs them as errors, with a traceback.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.security.RequestDataTooBig": {"level": "CRITICAL"},
        "django.security.TooManyFieldsSent": {"level": "CRITICAL"},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "celery.worker.consumer.consumer": {"filters": ["broker_lost"]},
        "psycopg.pool": {"filters": ["database_lost"]},
        "celery.beat": {"filters": ["no_traceback"]},
        "django_celery_beat.schedulers": {"filters": ["no_traceback"]},
    },
}


class OnceInAWhile(logging.Filter):
    """Passes one in ten seconds of the messages that begin so, and all others."""

    def __init__(self, *beginnings: str) -> None:
        super().__init__()
        self._beginnings = beginnings
        self._silent_until = 0.0  # monotonic

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.getMessage().startswith(self._beginnings):
            return True
        if time.monotonic() < self._silent_until:
            return False
        self._silent_until = time.monotonic() + _INTERVAL
        return True


def broker_lost() -> OnceInAWhile:
    """A filter for a worker without its broker, which retries and logs six times a second."""
    return OnceInAWhile("consumer: Connection to broker lost", "Frequent restarts detected")


def database_lost() -> OnceInAWhile:
    """A filter for the connection pool, which retries and logs every second."""
    return OnceInAWhile("error connecting in", "reconnection attempt in pool")


class NoTraceback(logging.Filter):
    """Beat asks the database, and sends, again later; where that failed is no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(("Database gave error", "Database error while sync")):
            record.exc_info = None
        elif str(record.msg).startswith("Message Error") and isinstance(record.args, tuple):
            record.exc_info = None
            record.msg, record.args = "A periodic task was not sent: %s", record.args[:1]
        return True
