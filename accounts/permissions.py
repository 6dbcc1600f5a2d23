"""What only staff may do: one rule for pages, the API and the admin.

It takes staff with a permission, which the app that it protects names; superusers have all.
"""

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from common.errors import Forbidden


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
