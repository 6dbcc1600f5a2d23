"""``doorito webhook``: endpoints from the shell. Standard output carries results only."""

from datetime import datetime
from uuid import UUID

import click

from common.console import Row, print_json, print_rows
from common.models import WebhookDelivery, WebhookEndpoint
from common.services import dispatch, endpoints

DELIVERIES_SHOWN = 50


@click.group()
def webhook() -> None:
    """Webhook endpoints: add, list, test, remove."""


@webhook.command()
@click.argument("url")
@click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    help="An event type, or file.* for all of a kind; repeatable. Without it, all events.",
)
@click.option("--description", default="", help="What the receiver is.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoint and its secret as JSON.")
def add(url: str, event_types: tuple[str, ...], description: str, as_json: bool) -> None:
    """Send events to URL; prints the secret that signs them."""
    endpoint = endpoints.add_endpoint(url=url, event_types=event_types, description=description)
    if as_json:
        print_json(_endpoint_row(endpoint) | {"secret": endpoint.secret})
        return
    click.echo(f"Added webhook endpoint {endpoint.id}. Its secret:", err=True)
    click.echo(endpoint.secret)


@webhook.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """List the endpoints, newest first."""
    print_rows([_endpoint_row(each) for each in endpoints.list_endpoints()], as_json=as_json)


@webhook.command()
@click.argument("endpoint_id", metavar="ID", type=click.UUID)
def remove(endpoint_id: UUID) -> None:
    """Remove an endpoint with its deliveries."""
    endpoints.remove_endpoint(endpoint_id=endpoint_id)
    click.echo(f"Removed webhook endpoint {endpoint_id}.", err=True)


@webhook.command()
@click.argument("endpoint_id", metavar="ID", type=click.UUID)
def test(endpoint_id: UUID) -> None:
    """Send a test event to an endpoint and show the answer."""
    attempt = dispatch.send_test(endpoint_id=endpoint_id)
    if attempt.error:
        raise click.ClickException(attempt.error)
    click.echo(f"{attempt.response_status} in {attempt.duration_ms} ms")


@webhook.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def deliveries(as_json: bool) -> None:
    """List the newest deliveries."""
    newest = WebhookDelivery.objects.select_related("event", "endpoint").order_by("-id")
    print_rows([_delivery_row(each) for each in newest[:DELIVERIES_SHOWN]], as_json=as_json)


def _endpoint_row(endpoint: WebhookEndpoint) -> Row:
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "events": endpoint.event_types,
        "active": endpoint.is_active,
        "description": endpoint.description,
    }


def _delivery_row(delivery: WebhookDelivery) -> Row:
    return {
        "id": str(delivery.id),
        "event": delivery.event.event_type,
        "event_id": str(delivery.event_id),
        "url": delivery.endpoint.url,
        "status": delivery.status,
        "attempts": delivery.attempt_count,
        "next_attempt": _iso(delivery.due_at) if delivery.status == "pending" else None,
        "error": delivery.last_error,
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
