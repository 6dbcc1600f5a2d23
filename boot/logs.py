"""What is logged, and how. What libraries say too often, or at too great length, is cut short."""

import json
import logging
import re
import time
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, ProcessorReturnValue, WrappedLogger

from common.masking import mask

_INTERVAL = 10.0  # seconds
_PLAIN = re.compile(r"[\w./:@+,~()<>|*-]+")

FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING")


def config(*, form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING, and structlog's configuration, for one of FORMATS."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "boot.logs.LineFormatter", "form": form}},
        "filters": {
            "broker_lost": {"()": "boot.logs.broker_lost"},
            "database_lost": {"()": "boot.logs.database_lost"},
            "no_traceback": {"()": "boot.logs.NoTraceback"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": "INFO"},
        # Answers of 4xx are the client's news, and the addresses of signed links are secrets.
        "loggers": {
            # Its own level: Celery sets the root's.
            "doorito": {"level": level if level in LEVELS else "INFO"},
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


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Our lines and those of libraries, in one form.

    The whole line is masked: a path may be an argument or a part of an error's message.
    """

    def __init__(self, *, form: str) -> None:
        render: Processor = _as_json if form == "json" else _as_text
        super().__init__(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars],
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                _name_trace,
                render,
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _name_trace(_logger: WrappedLogger, _method: str, facts: EventDict) -> EventDict:
    """Monitors look for the trace's id, not for the whole header."""
    traceparent = str(facts.pop("traceparent", ""))
    if traceparent:
        facts["trace_id"] = traceparent.split("-")[1]
    return facts


def _as_json(_logger: WrappedLogger, _method: str, facts: EventDict) -> ProcessorReturnValue:
    first: dict[str, Any] = {name: facts.pop(name) for name in ("time", "level", "logger", "event")}
    return json.dumps({**first, **facts}, default=str, ensure_ascii=False)


def _as_text(_logger: WrappedLogger, _method: str, facts: EventDict) -> ProcessorReturnValue:
    facts.pop("trace_id", None)
    level = facts.pop("level").upper()
    head = f"{facts.pop('time')} {level} {facts.pop('logger')}: {facts.pop('event')}"
    trouble = [str(facts.pop(name)) for name in ("exception", "stack") if facts.get(name)]
    line = " ".join([head, *(f"{name}={_quoted(value)}" for name, value in facts.items())])
    return "\n".join([line, *trouble])


def _quoted(value: Any) -> str:
    """Text that could be taken for more than one value, or more than one line, in quotes."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


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
