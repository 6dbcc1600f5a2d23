"""The JSON API, version 1."""

from accounts.authentication import Authenticator
from common.http import problems
from common.http.hints import Hint, add_hints
from uploads.api import batches, events, files, grants, sessions, shares, usage, webhooks
from uploads.api.openapi import DescribedAPI, read_only
from uploads.workflows.api import runs, workflows

api = DescribedAPI(
    title="Doorito",
    version="1",
    description="Receives files in parts, proves them, announces them. "
    "Errors are problem documents (RFC 9457) with a stable `code`.",
    urls_namespace="api-1",
    openapi_url="/openapi.json",
    docs_url="/docs",
    docs_decorator=read_only,
    auth=Authenticator(),
)
api.add_router("/uploads/sessions", sessions.router)
api.add_router("/files", files.router)
api.add_router("/files", shares.router)
api.add_router("/batches", batches.router)
api.add_router("/grants", grants.router)
api.add_router("/workflows", workflows.router)
api.add_router("/files", runs.file_router)
api.add_router("/batches", runs.batch_router)
api.add_router("/runs/callback", runs.callback_router)
api.add_router("/runs", runs.router)
api.add_router("/webhooks", webhooks.router)
api.add_router("/deliveries", webhooks.deliveries_router)
api.add_router("/events", events.router)
api.add_router("/usage", usage.router)
problems.install(api)
add_hints(
    Hint(
        "PUT",
        r"/api/v1/files(/[^/]*)?",
        "Send a file with POST /api/v1/files?filename=…, or a large one in parts: "
        "POST /api/v1/uploads/sessions.",
    ),
)
