"""The certificate authorities that are trusted for connections to URLs from users."""

import ssl
from functools import lru_cache
from pathlib import Path

import certifi
from django.conf import settings


def ssl_context() -> ssl.SSLContext:
    """The system's certificate authorities, certifi's, and those of PORTAL_CA_BUNDLE."""
    return _context(settings.PORTAL_CA_BUNDLE)


@lru_cache(maxsize=8)
def _context(bundle: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if bundle:
        context.load_verify_locations(bundle)
    return context


def bundle_problem(bundle: Path) -> str | None:
    """Why a file of certificate authorities cannot be used; None if it can."""
    try:
        ssl.create_default_context(cafile=bundle)
    except ssl.SSLError:
        return "it holds no certificate in PEM form"
    except OSError as exc:
        return f"it cannot be read ({exc.strerror})"
    return None
