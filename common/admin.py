"""Where Django looks for this app's admin; each room has its own."""

from common.webhooks import admin  # noqa: F401
