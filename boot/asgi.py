"""ASGI entry point: `any ASGI server`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "boot.settings")
os.environ.setdefault("DJANGO_CONFIGURATION", "Production")

from configurations.asgi import get_asgi_application

application = get_asgi_application()
