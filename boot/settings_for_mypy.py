"""The settings as plain names of a module, which is how mypy's Django plugin reads them."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "for type checks only")
os.environ.setdefault("DJANGO_CONFIGURATION", "Local")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "boot.settings")

from configurations import importer

importer.install()

from configurations.utils import uppercase_attributes  # noqa: E402

from boot.settings import Local  # noqa: E402

Local.setup()
globals().update(uppercase_attributes(Local()))
