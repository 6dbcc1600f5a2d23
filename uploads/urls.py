"""Addresses of uploads: the API, and the signed links to files."""

from django.urls import path, re_path

from uploads.api import api
from uploads.api.content import claimed_file, signed_file
from uploads.api.problems import endpoint_not_found

urlpatterns = [
    path("api/v1/", endpoint_not_found),
    path("api/v1/", api.urls),
    re_path(r"^api/", endpoint_not_found),
    path("f/<str:token>", signed_file, name="signed-file"),
    path("c/<str:token>", claimed_file, name="claimed-file"),
]
