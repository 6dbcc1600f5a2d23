"""``doorito webhook``: endpoints and their deliveries."""

import sys
import time
from datetime import datetime, timedelta
from uuid import UUID

import click

from common.cli_params import PastMoment
from common.console import Row, iso, print_json, print_rows
from common.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from common.pagination import MAX_PAGE
from common.webhooks import dispatch, endpoints, recovery, replay, selectors
from common.webhooks.cli import options
from common.webhooks.endpoint_settings import (
    EndpointSettings,
    read_headers,
    read_schedule,
    read_user,
)
from common.webhooks.selectors import Health

PAUSE = 0.1  # seconds, while the portal's worker processes the same recovery
# Deliveries may have waited before the trouble began. Going back too far sends nothing twice.
BACKLOG = timedelta(hours=1)

_endpoint_id = click.argument("endpoint_id", metavar="ID", type=click.UUID)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def webhook() -> None:
    """Webhook endpoints: add, watch, test, recover."""


@webhook.command("list")
@_json
def list_(as_json: bool) -> None:
    """List the endpoints and how they fare, newest first."""
    found = list(endpoints.list_endpoints())
    health = selectors.health_of([endpoint.id for endpoint in found])
    rows = [_endpoint_row(each, health.get(each.id, Health())) for each in found]
    print_rows(rows, as_json=as_json)


@webhook.command()
@click.argument("url")
@options.event_types
@click.option(
    "--content-type",
    "content_types",
    multiple=True,
    metavar="TYPE",
    help="Only files of this type (application/pdf, image/*); repeatable.",
)
@click.option(
    "--user", "email", default="", metavar="EMAIL", help="Only events about this account's files."
)
@click.option("--batch", "batch_id", type=click.UUID, help="Only events about this batch.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Sent with every attempt; repeatable. Its value is not shown again.",
)
@click.option(
    "--schedule",
    default="",
    metavar="WAITS",
    help="Waits before each attempt, such as 0,5s,5m,2h. Without it, the portal's.",
)
@click.option("--timeout", type=int, metavar="SECONDS", help="How long an attempt may take.")
@click.option("--description", default="", help="What the receiver is.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoint and its secret as JSON.")
def add(
    url: str,
    *,
    event_types: tuple[str, ...],
    content_types: tuple[str, ...],
    email: str,
    batch_id: UUID | None,
    headers: tuple[str, ...],
    schedule: str,
    timeout: int | None,
    description: str,
    as_json: bool,
) -> None:
    """Send events to URL; prints the secret that signs them."""
    chosen = EndpointSettings(
        url=url,
        description=description,
        event_types=event_types,
        content_types=content_types,
        user_id=read_user(email),
        batch_id=batch_id,
        headers=read_headers("\n".join(headers)),
        retry_schedule=read_schedule(schedule),
        timeout_seconds=timeout,
    )
    endpoint = endpoints.add_endpoint(chosen)
    if as_json:
        print_json(_endpoint_row(endpoint, Health()) | {"secret": endpoint.secret})
        return
    click.echo(f"Added webhook endpoint {endpoint.id}. Its secret:", err=True)
    click.echo(endpoint.secret)


@webhook.command()
@_endpoint_id
def remove(endpoint_id: UUID) -> None:
    """Remove an endpoint with its deliveries."""
    endpoints.remove_endpoint(endpoint_id=endpoint_id)
    click.echo(f"Removed webhook endpoint {endpoint_id}.", err=True)


@webhook.command()
@_endpoint_id
@_json
def test(endpoint_id: UUID, as_json: bool) -> None:
    """Send a test event to an endpoint and show the answer. Exit code 1 if it is no success."""
    attempt = dispatch.send_test(endpoint_id=endpoint_id)
    if as_json:
        print_json(
            {
                "delivery_id": str(attempt.delivery_id),
                "status": attempt.response_status,
                "duration_ms": attempt.duration_ms,
                "error": attempt.error,
                "body": attempt.response_body,
            }
        )
    elif not attempt.error:
        click.echo(f"{attempt.response_status} in {attempt.duration_ms} ms")
    if attempt.error:
        raise click.ClickException(attempt.error)


@webhook.command()
@_endpoint_id
@click.option(
    "--now",
    "at_once",
    is_flag=True,
    help="The old secret stops signing at once: it leaked, or cannot be decrypted.",
)
def rotate(endpoint_id: UUID, at_once: bool) -> None:
    """Sign with a new secret, which is printed. The old one signs beside it for a while."""
    if at_once:
        endpoint = endpoints.replace_secret(endpoint_id=endpoint_id)
        message = "Only this secret signs now:"
    else:
        endpoint = endpoints.rotate_secret(endpoint_id=endpoint_id)
        message = f"The old secret signs until {iso(endpoints.overlap_end(endpoint))}. The new one:"
    click.echo(message, err=True)
    click.echo(endpoint.secret)


@webhook.command("revoke-old")
@_endpoint_id
def revoke_old(endpoint_id: UUID) -> None:
    """Let secrets that were rotated out sign no more."""
    revoked = endpoints.revoke_old_secrets(endpoint_id=endpoint_id)
    click.echo(
        f"Revoked {_count(revoked, 'old secret', 'old secrets')} of {endpoint_id}.", err=True
    )


@webhook.command()
@_endpoint_id
def enable(endpoint_id: UUID) -> None:
    """Send events to an endpoint again."""
    before = endpoints.get(endpoint_id=endpoint_id)
    endpoints.enable(endpoint_id=endpoint_id)
    click.echo(f"Enabled webhook endpoint {endpoint_id}.", err=True)
    if trouble := before.failing_since or before.disabled_at:
        since = iso(trouble - BACKLOG)
        command = f"./doorito webhook recover {endpoint_id} --since {since}"
        click.echo(f"What it missed is sent by: {command}", err=True)


@webhook.command()
@_endpoint_id
def disable(endpoint_id: UUID) -> None:
    """Stop sending to an endpoint; what waits for it fails."""
    endpoints.disable(endpoint_id=endpoint_id)
    click.echo(f"Disabled webhook endpoint {endpoint_id}.", err=True)


@webhook.command()
@click.argument("endpoint_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--status", type=click.Choice(DeliveryStatus.values), help="Only in this state.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, help="At most."
)
@_json
def deliveries(endpoint_id: UUID | None, status: str | None, limit: int, as_json: bool) -> None:
    """List the newest deliveries, of all endpoints or of one."""
    if endpoint_id:
        endpoints.get(endpoint_id=endpoint_id)
    page = selectors.deliveries_page(endpoint_id=endpoint_id, status=status, limit=limit)
    print_rows([_delivery_row(each) for each in page.items], as_json=as_json)


@webhook.command()
@click.argument("delivery_id", metavar="DELIVERY", type=click.UUID)
def resend(delivery_id: UUID) -> None:
    """Send one delivery again, whatever became of it."""
    delivery = replay.resend(delivery_id=delivery_id)
    click.echo(f"Delivery {delivery.id} is sent again to {delivery.endpoint.host}.", err=True)


@webhook.command()
@_endpoint_id
@click.option(
    "--since",
    required=True,
    type=PastMoment(),
    help="How long ago (2h, 3d), or a moment such as 2026-11-20T10:00 (UTC).",
)
def recover(endpoint_id: UUID, since: datetime) -> None:
    """Send an endpoint what failed, and what it missed, since some time.

    It did not miss what happened before it was added.
    """
    recovery.start(endpoint_id=endpoint_id, since=since)
    started, shared = advance_to_end(endpoint_id)
    others = ", the portal's worker others" if shared else ""
    started_here = _count(started, "delivery", "deliveries")
    click.echo(f"The recovery is complete: {started_here} started here{others}.", err=True)


def advance_to_end(endpoint_id: UUID) -> tuple[int, bool]:
    """Returns how many deliveries were started here, and whether the worker helped."""
    started = 0
    left = _milliseconds_left(endpoint_id)
    shared = not left
    with click.progressbar(length=left, label="Recovering", file=sys.stderr) as bar:
        while left:
            chunk = recovery.advance(endpoint_id=endpoint_id)
            if chunk is None:
                shared = True
                time.sleep(PAUSE)
            started += chunk or 0
            before, left = left, _milliseconds_left(endpoint_id)
            bar.update(max(0, before - left))
    return started, shared


def _milliseconds_left(endpoint_id: UUID) -> int:
    """The time span that a recovery has not covered yet, in milliseconds; 0 when it has ended."""
    endpoint = endpoints.get(endpoint_id=endpoint_id)
    if endpoint.recovery_after is None or endpoint.recovery_until is None:
        return 0
    span = endpoint.recovery_until.int - endpoint.recovery_after.int
    return max(1, span >> 80)  # the lower bits are not part of the time (RFC 9562, 5.7)


def _state(endpoint: WebhookEndpoint) -> str:
    if not endpoint.is_active:
        return f"disabled ({endpoint.disabled_reason})"
    if endpoint.recovery_after:
        return "recovering"
    return "failing" if endpoint.failing_since else "active"


def _endpoint_row(endpoint: WebhookEndpoint, health: Health) -> Row:
    """`success` is 0 to 1, of the newest attempts."""
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "events": endpoint.event_types,
        "state": _state(endpoint),
        "success": None if health.success_rate is None else round(health.success_rate, 3),
        "p95_ms": health.p95_ms,
        "backlog": health.backlog,
        "last_failure": iso(health.last_failure_at),
        "expires": iso(endpoint.expires_at),
        "description": endpoint.description,
    }


def _delivery_row(delivery: WebhookDelivery) -> Row:
    is_pending = delivery.status == DeliveryStatus.PENDING
    return {
        "id": str(delivery.id),
        "event": delivery.event.event_type,
        "event_id": str(delivery.event_id),
        "url": delivery.endpoint.url,
        "status": delivery.status,
        "attempts": delivery.attempt_count,
        "next_attempt": iso(delivery.due_at) if is_pending else None,
        "error": delivery.last_error,
    }


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
