"""Reading and folding the counts of `common.models.tallies`."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from common.models import TallyChange

_FOLDING = 0xD0012171  # PostgreSQL's advisory lock
FOLD_BATCH = 5000

_FOLD = """
    WITH taken AS (
        DELETE FROM tally_change WHERE id IN (SELECT id FROM tally_change ORDER BY id LIMIT %s)
        RETURNING *
    ), folded AS (
        INSERT INTO tally AS known
            (kind, state, label, entered, present, entered_amount, present_amount, at)
        SELECT kind, state, label, sum(entered), sum(present), sum(entered_amount),
            sum(present_amount), max(at)
        FROM taken GROUP BY kind, state, label
        ON CONFLICT (kind, state, label) DO UPDATE SET
            entered = known.entered + EXCLUDED.entered,
            present = known.present + EXCLUDED.present,
            entered_amount = known.entered_amount + EXCLUDED.entered_amount,
            present_amount = known.present_amount + EXCLUDED.present_amount,
            at = greatest(known.at, EXCLUDED.at)
    )
    SELECT count(*) FROM taken
"""
_READ = """
    SELECT kind, state, label, sum(entered)::bigint, sum(present)::bigint,
        sum(entered_amount)::bigint, sum(present_amount)::bigint, max(at)
    FROM (
        SELECT kind, state, label, entered, present, entered_amount, present_amount, at FROM tally
        UNION ALL
        SELECT kind, state, label, entered, present, entered_amount, present_amount, at
        FROM tally_change
    ) AS counted
    GROUP BY kind, state, label ORDER BY kind, state, label
"""


@dataclass(frozen=True)
class Count:
    """See `common.models.tallies`; `at` is when it last changed."""

    kind: str
    state: str
    label: str
    entered: int
    present: int
    entered_amount: int
    present_amount: int
    at: datetime


def read() -> list[Count]:
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        return [Count(*row) for row in cursor.fetchall()]


def fold() -> int:
    """Fold up to FOLD_BATCH changes. Returns how many; 0 while another process does it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_FOLDING])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_FOLD, [FOLD_BATCH])
        return int(cursor.fetchone()[0])


def note_task(name: str, *, succeeded: bool, milliseconds: int) -> None:
    """Count a task of the background that has ended."""
    TallyChange.objects.create(
        kind="task",
        state="succeeded" if succeeded else "failed",
        label=name[:100],
        entered=1,
        entered_amount=milliseconds,
    )
