"""What only staff may do: one rule for pages, the API and the admin.

It takes staff with a permission, which the app that it protects names; superusers have all.
"""

from django.contrib.auth.models import AnonymousUser, Permission
from django.db.models import Q

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


def may_manage(actor: User, account: User) -> bool:
    """Whether somebody may change or delete an account: one that may do no more than they.

    Who can set its password or its address can be it.
    """
    if actor.is_superuser:
        return True
    return not account.is_superuser and _granted(account) <= actor.get_all_permissions()


def _granted(account: User) -> set[str]:
    """Permissions of its own and of its groups, also while it is switched off."""
    granted = Permission.objects.filter(Q(user=account) | Q(group__user=account))
    names = granted.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in names}
