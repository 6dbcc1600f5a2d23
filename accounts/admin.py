"""Accounts and tokens in the admin, and the admin's log-in form."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts import permissions, services
from accounts.forms import ThrottledAuthenticationForm
from accounts.models import ApiToken, User
from common.errors import Conflict


class AdminLoginForm(ThrottledAuthenticationForm, AdminAuthenticationForm):
    """The admin's log-in form. Its attempts count together with those of the portal's own page."""


admin.site.login_form = AdminLoginForm


class UserCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)
        field_classes = {"email": forms.EmailField}


# Fields that give an account more rights than an ordinary one. Only superusers may change them.
PRIVILEGES = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")


def is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Staff may manage an account only if it has no more permissions than their own."""

    add_form = UserCreationForm
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Person", {"fields": ("first_name", "last_name")}),
        (
            "Permissions",
            {"fields": PRIVILEGES},
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )
    readonly_fields = ("last_login", "date_joined")
    list_display = ("email", "first_name", "last_name", "is_active", "is_staff", "date_joined")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if is_superuser(request) else (*fields, *PRIVILEGES)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_manage(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_manage(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Show obstacles to a deletion where Django lists protected objects."""
        *others, protected = super().get_deleted_objects(objs, request)
        return *others, [*protected, *filter(None, map(_obstacle, objs))]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except Conflict as exc:
            return self._back_to_list(request, exc)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)
        except Conflict as exc:
            return self._back_to_list(request, exc)

    def _back_to_list(self, request: HttpRequest, refused: Conflict) -> HttpResponse:
        """Show an error for an account that became undeletable after Django's own check."""
        self.message_user(request, refused.message, messages.ERROR)
        return redirect("admin:accounts_user_changelist")

    def delete_model(self, request: HttpRequest, obj: User) -> None:  # noqa: ARG002
        services.delete_user(user_id=obj.id)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:  # noqa: ARG002
        for account in queryset:
            services.delete_user(user_id=account.id)


def _obstacle(account: User) -> str | None:
    """The reason why an account cannot be deleted now; None if it can be."""
    try:
        services.require_deletable(account.id)
    except Conflict as exc:
        return f"{account}: {exc.message}"
    return None


def _may_manage(request: HttpRequest, account: User | None) -> bool:
    if account is None:  # Django asks about accounts in general
        return True
    return isinstance(request.user, User) and permissions.may_manage(request.user, account)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Groups give permissions to all their members, who may include the person editing them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return is_superuser(request)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Lists tokens and revokes them. They are created where their text can be shown once."""

    fields = (
        "user",
        "name",
        "hint",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    readonly_fields = fields
    list_display = (
        "hint",
        "name",
        "user",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("hint", "name", "user__email")
    ordering = ("-id",)
    actions = ("revoke_selected",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        count = services.revoke(queryset)
        self.message_user(request, f"{count} token(s) revoked.", messages.SUCCESS)
