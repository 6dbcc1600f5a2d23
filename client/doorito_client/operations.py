"""The calls of the API that are one question and one answer, and lists."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from doorito_client.errors import DooritoError
from doorito_client.flows import Core, Flow, Pause, Request, address, ask, call, order
from doorito_client.results import (
    AccountUsage,
    Batch,
    Consumption,
    Event,
    EventDetail,
    File,
    NewWebhook,
    Run,
    RunDetail,
    Webhook,
    WebhookTest,
    Workflow,
    from_json,
)

PAGE = 200  # the largest that the portal gives
POLL = 1.0  # seconds
TEST_SECONDS = 120.0  # a receiver may take as long as its endpoint's timeout says


@dataclass(frozen=True)
class Page[T]:
    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing[T]:
    """A list that is asked for page by page, newest first; what comes meanwhile shifts nothing."""

    kind: type[T]
    path: str
    query: dict[str, Any]

    def page(self, core: Core, cursor: str | None) -> Flow[Page[T]]:
        query = {"limit": PAGE} | self.query | {"cursor": cursor}
        found = yield from ask(core, dict, "GET", self.path, query=query)
        items = [from_json(self.kind, item) for item in found["items"]]
        return Page(items, found.get("next_cursor"))


# --- The account ---------------------------------------------------------------------------------


def usage(core: Core) -> Flow[AccountUsage]:
    """What your account takes up of its limits."""
    return ask(core, AccountUsage, "GET", "usage")


# --- Files ---------------------------------------------------------------------------------------


def files(
    *, status: str | None = None, batch_id: UUID | None = None, search: str | None = None
) -> Listing[File]:
    """Your files. `search` looks at their names."""
    return Listing(File, "files", {"status": status, "batch_id": batch_id, "search": search})


def file(core: Core, file_id: UUID) -> Flow[File]:
    """One file. Raises NotFound."""
    return ask(core, File, "GET", f"files/{file_id}")


def delete(core: Core, file_id: UUID) -> Flow[None]:
    """Remove a file; its record stays. Safe to repeat."""
    return order(core, "DELETE", f"files/{file_id}")


def consume(core: Core, file_id: UUID) -> Flow[Consumption]:
    """Take a file for processing: one caller gets it, all others a Conflict.

    Not repeated by itself when the connection is lost: the portal may have done it.
    """
    return ask(core, Consumption, "POST", f"files/{file_id}/consume", is_repeatable=False)


def extend(core: Core, file_id: UUID, expires_at: datetime) -> Flow[File]:
    """Keep a file longer, within what the portal allows. `expires_at` has a time zone."""
    moment = expires_at.astimezone(UTC).isoformat()
    return ask(core, File, "POST", f"files/{file_id}/extend", body={"expires_at": moment})


# --- Batches -------------------------------------------------------------------------------------


def create_batch(core: Core, name: str = "", *, expected_files: int | None = None) -> Flow[Batch]:
    """Open a batch, to be closed by `close_batch`."""
    body = {"name": name, "expected_files": expected_files}
    return ask(core, Batch, "POST", "batches", body=body, is_repeatable=False)


def batches() -> Listing[Batch]:
    """Your batches."""
    return Listing(Batch, "batches", {})


def batch(core: Core, batch_id: UUID) -> Flow[Batch]:
    """One batch with its counts. Raises NotFound."""
    return ask(core, Batch, "GET", f"batches/{batch_id}")


def batch_files(batch_id: UUID) -> Listing[File]:
    """The files of a batch."""
    return Listing(File, f"batches/{batch_id}/files", {})


def close_batch(core: Core, batch_id: UUID, *, expected_files: int | None = None) -> Flow[Batch]:
    """Say that no more files will come. Safe to repeat."""
    query = {"expected_files": expected_files}
    return ask(core, Batch, "POST", f"batches/{batch_id}/close", query=query)


# --- Events and webhooks -------------------------------------------------------------------------


def events(*, type: str | None = None, status: str | None = None) -> Listing[Event]:
    """All events that are kept. For staff."""
    return Listing(Event, "events", {"type": type, "status": status})


def event(core: Core, event_id: UUID) -> Flow[EventDetail]:
    """The event as receivers get it, and its deliveries."""
    return ask(core, EventDetail, "GET", f"events/{event_id}")


def redeliver(core: Core, event_id: UUID, *, webhook_id: UUID | None = None) -> Flow[None]:
    """Send an event again, to one endpoint or to all that it was meant for."""
    body = {"webhook_id": str(webhook_id)} if webhook_id else {}
    path = f"events/{event_id}/redeliver"
    yield from ask(core, dict, "POST", path, body=body, is_repeatable=False)


def webhooks() -> Listing[Webhook]:
    """The endpoints that events go to. For staff."""
    return Listing(Webhook, "webhooks", {})


def webhook(core: Core, webhook_id: UUID) -> Flow[Webhook]:
    """One endpoint with its state."""
    return ask(core, Webhook, "GET", f"webhooks/{webhook_id}")


def add_webhook(core: Core, url: str, **settings: Any) -> Flow[NewWebhook]:
    """Add an endpoint; `settings` are those of the API, such as event_types=["file.*"]."""
    body = {"url": url} | settings
    return ask(core, NewWebhook, "POST", "webhooks", body=body, is_repeatable=False)


def change_webhook(core: Core, webhook_id: UUID, **settings: Any) -> Flow[Webhook]:
    """Change some of an endpoint's settings."""
    return ask(core, Webhook, "PATCH", f"webhooks/{webhook_id}", body=settings)


def remove_webhook(core: Core, webhook_id: UUID) -> Flow[None]:
    """Remove an endpoint with its deliveries."""
    return order(core, "DELETE", f"webhooks/{webhook_id}")


def test_webhook(core: Core, webhook_id: UUID) -> Flow[WebhookTest]:
    """Send `webhook.test` once, and see the answer."""
    path = f"webhooks/{webhook_id}/test"
    return ask(core, WebhookTest, "POST", path, is_repeatable=False, timeout=TEST_SECONDS)


# --- Workflows -----------------------------------------------------------------------------------


def workflows(core: Core, *, file_id: UUID | None = None) -> Flow[list[Workflow]]:
    """What can be done with files, or with one."""
    found = yield from ask(core, dict, "GET", "workflows", query={"file_id": file_id})
    return [from_json(Workflow, item) for item in found["items"]]


def start_run(core: Core, workflow: str, file_id: UUID, **config: Any) -> Flow[RunDetail]:
    """Start a workflow, named by its slug, on a file; `config` changes its configuration."""
    body = {"workflow": workflow, "config": config}
    return ask(core, RunDetail, "POST", f"files/{file_id}/runs", body=body, is_repeatable=False)


def runs(
    *, status: str | None = None, workflow: str | None = None, file_id: UUID | None = None
) -> Listing[Run]:
    """Runs on your files."""
    return Listing(Run, "runs", {"status": status, "workflow": workflow, "file_id": file_id})


def run(core: Core, run_id: UUID) -> Flow[RunDetail]:
    """One run with its output."""
    return ask(core, RunDetail, "GET", f"runs/{run_id}")


def wait_for_run(
    core: Core,
    run_id: UUID,
    *,
    timeout: float | None = None,
    on_change: Callable[[RunDetail], None] | None = None,
) -> Flow[RunDetail]:
    """The run once it is over, however it ended. `timeout` in seconds; raises DooritoError."""
    began = time.monotonic()
    while True:
        found = yield from run(core, run_id)
        if on_change:
            on_change(found)
        if found.is_over:
            return found
        if timeout is not None and time.monotonic() - began + POLL > timeout:
            raise DooritoError(f"The run {run_id} is {found.status} after {timeout:g} seconds.")
        yield Pause(POLL)


def cancel_run(core: Core, run_id: UUID) -> Flow[RunDetail]:
    """Take a run back."""
    return ask(core, RunDetail, "POST", f"runs/{run_id}/cancel", is_repeatable=False)


def retry_run(core: Core, run_id: UUID) -> Flow[RunDetail]:
    """Try a run again that failed or was cancelled."""
    return ask(core, RunDetail, "POST", f"runs/{run_id}/retry", is_repeatable=False)


def run_output(core: Core, run_id: UUID) -> Flow[bytes]:
    """The text that a run made."""
    response = yield from call(core, Request("GET", address(f"runs/{run_id}/output")))
    return response.body


def check_login(core: Core) -> Flow[None]:
    """Whether the portal knows the token. Raises NotLoggedIn, NotAllowed `scope_missing`."""
    yield from ask(core, dict, "GET", "files", query={"limit": 1})
