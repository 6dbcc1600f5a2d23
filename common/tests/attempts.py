"""Attempts made by the client itself, without the database."""

import asyncio

import uvloop

from common.ids import uuid7
from common.net import guarded_http
from common.tests.wire import PATIENCE
from common.webhooks import sending

LOOPS = [asyncio.run, uvloop.run]  # of a test event, and of the dispatcher


def make_message(url, **fields):
    defaults = {
        "secrets": [sending.new_secret()],
        "event_id": uuid7(),
        "event_type": "file.uploaded",
        "delivery_id": uuid7(),
        "body": b'{"n":1}',
        "timeout": PATIENCE,
    }
    return sending.Message(url=url, **(defaults | fields))


def send(*messages, run=uvloop.run, between=None):
    """The results of attempts made one after the other by one client."""

    async def attempts():
        results = []
        async with guarded_http.client() as client:
            for message in messages:
                if results and between:
                    await between()
                results.append(await sending.send(message, client))
        return results

    return run(attempts())


def send_to(wire, count=1, **fields):
    return send(*(make_message(wire.url, **fields) for _ in range(count)))
