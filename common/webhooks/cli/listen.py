"""``doorito listen``: receive events on this machine while developing a runner."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import click
import httpx
from django.utils import timezone

from common import lengths
from common.console import iso, printable
from common.db import DATABASE_GONE, renew_connections
from common.errors import Gone, InvalidInput, NotFound
from common.models import WebhookEndpoint
from common.webhooks import endpoints
from common.webhooks.cli import options
from common.webhooks.cli.about import about
from common.webhooks.cli.receiver import (
    FORWARD_TIMEOUT,
    Incoming,
    LocalServer,
    Reply,
    forward,
    problem_of,
)
from common.webhooks.endpoint_settings import TIMEOUT_MAX, EndpointSettings

LIFETIME = timedelta(minutes=2)  # of the endpoint after its last renewal
SIGN_OF_LIFE = 30.0  # seconds between two


class ForwardUrl(click.ParamType):
    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            url = httpx.URL(str(value))
        except httpx.InvalidURL as exc:
            self.fail(f"{value!r} is not a URL: {exc}", param, ctx)
        if url.scheme not in ("http", "https") or not url.host:
            self.fail(f"{value!r} is not a URL such as http://localhost:3000/hook.", param, ctx)
        return str(url)


@click.command()
@click.option(
    "--forward", "target", type=ForwardUrl(), metavar="URL", help="Where to send each event on to."
)
@options.event_types
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="To listen on. Without it, a free one."
)
def listen(target: str | None, event_types: tuple[str, ...], port: int) -> None:
    """Print and verify events as they come, and send them on, until Ctrl-C.

    Registers a temporary endpoint, which is removed at the end. Each event goes to the URL as it
    came, and the portal hears what that answered.
    """
    with _server(port) as server, httpx.Client(trust_env=False, timeout=FORWARD_TIMEOUT) as client:
        endpoint = _register(server.url, event_types, target)
        try:
            with _stops_cleanly(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                _introduce(endpoint, target)
                answer = partial(_answer, secret=endpoint.secret, target=target, client=client)
                with server.running(answer):
                    _stay_alive(endpoint.id)
        except KeyboardInterrupt:
            click.echo("Stopped listening.", err=True)
        finally:
            with suppress(NotFound):
                endpoints.remove_endpoint(endpoint_id=endpoint.id)


@contextmanager
def _server(port: int) -> Iterator[LocalServer]:
    try:
        server = LocalServer(port)
    except OSError as exc:
        raise click.ClickException(
            f"Cannot listen on port {port}: {exc.strerror}. Choose another --port, or none."
        ) from exc
    with server:
        yield server


def _register(url: str, event_types: tuple[str, ...], target: str | None) -> WebhookEndpoint:
    description = f"doorito listen, forwards to {target}" if target else "doorito listen"
    chosen = EndpointSettings(
        url=url,
        description=description[: lengths.DESCRIPTION],
        event_types=event_types,
        timeout_seconds=TIMEOUT_MAX,
    )
    try:
        return endpoints.add_endpoint(chosen, lifetime=LIFETIME)
    except InvalidInput as exc:
        if exc.code != "webhook_url_not_public":
            raise
        raise InvalidInput(
            exc.code,
            "The portal may not send to this machine's loopback addresses. Set "
            "PORTAL_WEBHOOK_ALLOWED_CIDRS=127.0.0.0/8 for the portal and for this command, "
            "restart the portal, and try again.",
        ) from exc


def _introduce(endpoint: WebhookEndpoint, target: str | None) -> None:
    click.echo(f"Listening at {endpoint.url} as webhook endpoint {endpoint.id}.", err=True)
    click.echo(f"Signed with: {endpoint.secret}", err=True)
    if target:
        click.echo(f"Forwarding to {target}", err=True)
    click.echo("Ctrl-C ends it.", err=True)


@contextmanager
def _stops_cleanly(*signals: signal.Signals) -> Iterator[None]:
    """Make signals raise KeyboardInterrupt, even where a script's shell ignores Ctrl-C."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _stay_alive(endpoint_id: UUID) -> None:
    """Keep the endpoint registered until interrupted. Raises Gone `listener_ended`."""
    while True:
        time.sleep(SIGN_OF_LIFE)
        try:
            give_sign_of_life(endpoint_id)
        except DATABASE_GONE:
            renew_connections()
            click.echo("The database does not answer; it is tried again.", err=True)


def give_sign_of_life(endpoint_id: UUID) -> None:
    try:
        endpoints.keep_alive(endpoint_id=endpoint_id, lifetime=LIFETIME)
        is_active = endpoints.get(endpoint_id=endpoint_id).is_active
    except NotFound as exc:
        raise Gone(
            "listener_ended",
            "The temporary endpoint was removed, or expired while this machine slept. Start again.",
        ) from exc
    if not is_active:
        raise Gone(
            "listener_ended",
            "The temporary endpoint was disabled: by hand, or because it answered 410 Gone. "
            "Start again.",
        )


def _answer(incoming: Incoming, *, secret: str, target: str | None, client: httpx.Client) -> Reply:
    """Verify a request, forward it, and print what happened."""
    now = iso(timezone.now())
    if problem := problem_of(incoming, secret=secret):
        click.echo(f"{now}  Refused a request: {problem}.", err=True)
        return Reply(401, problem)
    envelope = json.loads(incoming.body)
    reply = forward(incoming, url=target, client=client) if target else Reply(200, "received")
    columns = (
        envelope["type"],
        envelope["id"],
        about(envelope["data"]),
        f"→ {printable(reply.summary)}",
    )
    click.echo("  ".join(filter(None, (now, *columns))))
    return reply
