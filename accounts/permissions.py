"""What only staff may do: one rule for pages, the API and the admin.

Webhooks and events tell of everybody's files, a workflow's configuration binds everybody, and
tracebacks tell of the machine: that takes staff with the permission; superusers have all.
"""

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from common.errors import Forbidden

SEE_WEBHOOKS = "common.view_webhookendpoint"
CHANGE_WEBHOOKS = "common.change_webhookendpoint"
CHANGE_WORKFLOWS = "uploads.change_workflow"
SEE_TRACEBACKS = "uploads.view_workflowattempt"


def allows(user: User | AnonymousUser, permission: str) -> bool:
    """Whether somebody is active staff and has a permission, `app.codename`."""
    return user.is_active and user.is_staff and user.has_perm(permission)


def require(user: User | AnonymousUser, permission: str) -> None:
    """Raises Forbidden `permission_missing`."""
    if not allows(user, permission):
        raise Forbidden(
            "permission_missing",
            f"This takes a staff account with the permission {permission}. "
            "Ask an administrator for it.",
        )
