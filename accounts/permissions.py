"""What only staff may do: one rule for pages, the API and the admin.

It requires a staff account with a certain permission, which the protected app names. Superusers
have all permissions.
"""

from django.contrib.auth.models import AnonymousUser, Permission
from django.db.models import Q

from accounts.models import User
from common.errors import Forbidden


def allows(user: User | AnonymousUser, permission: str) -> bool:
    """Whether a user is active staff and has a permission, `app.codename`."""
    return user.is_active and user.is_staff and user.has_perm(permission)


def require(user: User | AnonymousUser, permission: str) -> None:
    """Require a permission (see `allows`). Raises Forbidden `permission_missing`."""
    if not allows(user, permission):
        raise Forbidden(
            "permission_missing",
            f"This takes a staff account with the permission {permission}. "
            "Ask an administrator for it.",
        )


def may_manage(actor: User, account: User) -> bool:
    """Whether `actor` may change or delete `account`: only if it has no permission that they lack.

    Anybody who can set an account's password or address can log in as that account.
    """
    if actor.is_superuser:
        return True
    return not account.is_superuser and _granted(account) <= actor.get_all_permissions()


def _granted(account: User) -> set[str]:
    """The account's own and its groups' permissions, also while the account is inactive."""
    granted = Permission.objects.filter(Q(user=account) | Q(group__user=account))
    names = granted.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in names}
