"""Which class of `boot.settings` applies: DJANGO_CONFIGURATION names it."""

import os

from django.core.exceptions import ImproperlyConfigured

NAMES = ("Local", "Dev", "Production", "Test")


def choose(default: str) -> None:
    """Use the class that the environment names, `default` if it names none."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "boot.settings")
    if not os.environ.get("DJANGO_CONFIGURATION"):
        os.environ["DJANGO_CONFIGURATION"] = default


def refuse_unknown() -> None:
    name = os.environ["DJANGO_CONFIGURATION"]
    if name not in NAMES:
        raise ImproperlyConfigured(
            f"DJANGO_CONFIGURATION must be {', '.join(NAMES[:-1])} or {NAMES[-1]}, not {name!r}. "
            "Set it in the environment."
        )
