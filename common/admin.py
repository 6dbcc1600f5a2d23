"""Makes Django find this app's admin. Each room has its own admin module."""

from common import audit_admin  # noqa: F401
from common.webhooks import admin  # noqa: F401
