"""The database as an event loop uses it: a connection of its own, no thread in between.

Statements that a busy loop makes many of would, in threads, wait for the interpreter at each
answer. What is rare goes through the ORM all the same, in a thread: `in_thread`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from django.db import connection
from psycopg.types.json import set_json_loads

Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]

_ADDRESS = ("dbname", "user", "password", "host", "port", "service", "passfile")
_SECURITY = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "gssencmode")


@asynccontextmanager
async def connected() -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to Django's database that does not wait for the disk at a commit.

    A crash of the database server may so undo the last moments. For deliveries that means that
    one is claimed, or sent, once more, with the same id.
    """
    configured = connection.get_connection_params()
    chosen = {name: configured[name] for name in (*_ADDRESS, *_SECURITY) if name in configured}
    options = f"{configured.get('options', '')} -c synchronous_commit=off -c timezone=UTC"
    opened = await psycopg.AsyncConnection.connect(**chosen, options=options, autocommit=True)
    set_json_loads(orjson.loads, opened)
    async with opened:
        yield opened


async def execute_all(
    database: psycopg.AsyncConnection, statements: Mapping[str, Statement]
) -> dict[str, int]:
    """Run statements in one transaction; how many rows each concerned, by its name."""
    async with database.pipeline(), database.transaction():
        cursors = {
            name: await database.execute(sql, values) for name, (sql, values) in statements.items()
        }
    return {name: cursor.rowcount for name, cursor in cursors.items()}


async def in_thread[**P, R](function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function that uses the ORM returns; its thread keeps no connection."""

    def call() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(call)
