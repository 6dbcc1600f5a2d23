"""The admin, named after the product."""

from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts import principals
from accounts.models import User


class DooritoAdminSite(AdminSite):
    site_title = "Doorito"
    site_header = "Doorito"
    index_title = "Administration"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Views get a principal, as those of pages and of the API do."""
        of_model = getattr(view, "__self__", None)
        history_of = of_model if view.__name__ == "history_view" else None

        @wraps(view)
        def prepared(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            # Django looks for the object first: its absence is told to those who may see none.
            if isinstance(history_of, ModelAdmin):
                _require_view_permission(history_of, request)
            if isinstance(request.user, User):
                request.principal = principals.of_session(request.user)  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        return super().admin_view(prepared, cacheable)


def _require_view_permission(model_admin: ModelAdmin, request: HttpRequest) -> None:
    if not model_admin.has_view_or_change_permission(request):
        raise PermissionDenied
