"""Addresses of uploads: the doors, the signed links to files, the schemas of events."""

from django.urls import path, re_path

from common.http.problems import endpoint_not_found
from uploads.api import api
from uploads.api.content import claimed_file, file_response, signed_file
from uploads.api.event_schemas import event_schema
from uploads.openai import views as openai
from uploads.tus.views import tus

urlpatterns = [
    path("api/v1/", endpoint_not_found),
    path("api/v1/", api.urls),
    path("api/tus", tus),
    path("api/tus/", tus, name="tus"),
    path("api/tus/<str:upload>", tus),
    re_path(r"^api/", endpoint_not_found),
    path("v1/files", openai.files),
    path("v1/files/<str:file>", openai.file),
    path("v1/files/<str:file>/content", openai.content, {"respond": file_response}),
    path("v1/uploads", openai.uploads),
    path("v1/uploads/<str:upload>/parts", openai.parts),
    path("v1/uploads/<str:upload>/complete", openai.completion),
    path("v1/uploads/<str:upload>/cancel", openai.cancellation),
    re_path(r"^v1/", openai.nothing),
    path("schemas/<str:event_type>.v1.json", event_schema, name="event-schema"),
    path("f/<str:token>", signed_file, name="signed-file"),
    path("c/<str:token>", claimed_file, name="claimed-file"),
]
