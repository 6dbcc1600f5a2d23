"""Wires what every process of Doorito needs: the Celery app and the checks of the settings."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.staticfiles.apps import StaticFilesConfig

from boot import celery

__all__ = [
    "BootConfig",
    "DooritoAdminConfig",
    "SourcelessStaticFilesConfig",
    "celery",
]


class BootConfig(AppConfig):
    name = "boot"

    def ready(self) -> None:
        # It asks the stores, which know models: they can be imported from here on.
        from boot import checks  # noqa: F401, PLC0415


class DooritoAdminConfig(AdminConfig):
    default_site = "boot.admin.DooritoAdminSite"


class SourcelessStaticFilesConfig(StaticFilesConfig):
    """Leaves what main.css is compiled from out of what browsers are served."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "input.css"]
