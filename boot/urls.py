"""Every address of the portal."""

from django.contrib import admin
from django.urls import include, path

from boot.health import healthz

urlpatterns = [
    path("healthz/", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("", include("uploads.urls")),
    path("", include("frontend.urls")),
]
