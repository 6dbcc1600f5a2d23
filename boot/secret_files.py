"""Secrets out of files: NAME_FILE names the file that has the value of NAME.

So systemd (LoadCredential), Docker and Kubernetes hand them over: not in the environment, where
other programs of the machine's administrator see them.
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_SECRETS = (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "DJANGO_SECRET_KEY",
    "DJANGO_SECRET_KEY_FALLBACKS",
    "DOORITO_ADMIN_PASSWORD",
    "EMAIL_HOST_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "PORTAL_METRICS_TOKEN",
)
NAMES = tuple(f"{name}_FILE" for name in _SECRETS)


def load() -> None:
    """Put what they hold into the environment, unless it is there. Raises ImproperlyConfigured."""
    for name in _SECRETS:
        path = os.environ.get(f"{name}_FILE")
        if path and not os.environ.get(name):
            os.environ[name] = _read(Path(path), name)


def _read(path: Path, name: str) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise ImproperlyConfigured(f"Cannot read {path} ({name}_FILE): {reason}.") from exc
    if not text:
        raise ImproperlyConfigured(f"{path} ({name}_FILE) is empty.")
    return text
