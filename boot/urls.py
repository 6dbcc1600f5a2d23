"""Every address of the portal but /healthz/ and /readyz/, which `boot.health` answers before."""

from django.contrib import admin
from django.urls import include, path

from boot.static_files import favicon

handler400 = "frontend.views.errors.bad_request"

urlpatterns = [
    path("favicon.ico", favicon),
    path("admin/", admin.site.urls),
    path("", include("uploads.urls")),
    path("", include("frontend.urls")),
]
