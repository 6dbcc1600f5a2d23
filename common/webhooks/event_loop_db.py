"""Database access for an event loop, over its own connection and without threads.

In threads, the frequent statements of a busy loop would wait for the interpreter lock at each
answer. Rare work uses the ORM in a thread: `in_thread`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from django.db import connection

Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]

_OPTIONS = {
    # A crash of the database server may undo the last moments. For deliveries that means that one
    # is claimed, or sent, once more, with the same id.
    "synchronous_commit": "off",
    "timezone": "UTC",
    # Few statements, made many times, which all want to go by an index and from row to row: they
    # are planned once, and not by what the statistics said of tables that fill and empty quickly.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_ADDRESS = ("dbname", "user", "password", "host", "port", "service", "passfile")
_LIVENESS = (
    *("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    "tcp_user_timeout",
)
_SECURITY = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "gssencmode")


@asynccontextmanager
async def connected() -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to Django's database, for the few statements of claiming and recording."""
    configured = connection.get_connection_params()
    wanted = (*_ADDRESS, *_LIVENESS, *_SECURITY)
    chosen = {name: configured[name] for name in wanted if name in configured}
    options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
    opened = await psycopg.AsyncConnection.connect(
        **chosen,
        options=f"{configured.get('options', '')} {options}",
        autocommit=True,
        prepare_threshold=1,
    )
    async with opened:
        yield opened


async def execute_all(
    database: psycopg.AsyncConnection, statements: Mapping[str, Statement]
) -> dict[str, int]:
    """Run statements in one transaction. Returns the number of rows of each, by its name."""
    async with database.pipeline(), database.transaction():
        cursors = {
            name: await database.execute(sql, values) for name, (sql, values) in statements.items()
        }
    return {name: cursor.rowcount for name, cursor in cursors.items()}


async def in_thread[**P, R](function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that uses the ORM in a thread, which keeps no connection afterwards."""

    def call() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(call)
