"""Wires what every process of Doorito needs: the Celery app and the checks of the settings."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.staticfiles.apps import StaticFilesConfig

from boot import celery, checks

__all__ = [
    "BootConfig",
    "DooritoAdminConfig",
    "SourcelessStaticFilesConfig",
    "celery",
    "checks",
]


class BootConfig(AppConfig):
    name = "boot"


class DooritoAdminConfig(AdminConfig):
    default_site = "boot.admin.DooritoAdminSite"


class SourcelessStaticFilesConfig(StaticFilesConfig):
    """Leaves what main.css is compiled from out of what browsers are served."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "input.css"]
