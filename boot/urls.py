"""Every address of the portal."""

from django.contrib import admin
from django.urls import include, path

from boot.health import healthz
from boot.static_files import favicon

urlpatterns = [
    path("healthz/", healthz, name="healthz"),
    path("favicon.ico", favicon),
    path("admin/", admin.site.urls),
    path("", include("uploads.urls")),
    path("", include("frontend.urls")),
]
