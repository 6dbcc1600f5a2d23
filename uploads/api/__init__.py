"""The JSON API, version 1."""

from ninja import NinjaAPI

from uploads.api import batches, files, problems, sessions

api = NinjaAPI(
    title="Doorito",
    version="1",
    description="Receives files in parts, proves them, announces them. "
    "Errors are problem documents (RFC 9457) with a stable `code`.",
    urls_namespace="api-1",
    openapi_url="/openapi.json",
    docs_url="/docs",
)
api.add_router("/uploads/sessions", sessions.router)
api.add_router("/files", files.router)
api.add_router("/batches", batches.router)
problems.install(api)
