"""Kicks: hints to the dispatcher that a delivery is due, or will be soon.

Celery messages can be lost with a killed worker, so a kick carries no data and is only a hint: the
rows say what is due, and the sweep finds what a lost kick left. At most one kick per lane is on its
way at a time, however many events are written.

An event is committed before its kick is requested, and a run withdraws the kick that started it
before it looks for due rows. So if a kick is on its way, its run will see the event.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection
from django.db.models.functions import Now

from common.models import KickLane, OutboxKick

# Sends the message that starts a dispatcher run: the lane, and the seconds to wait.
Sender = Callable[[KickLane, float], None]

# A kick that has not arrived this long after its time counts as lost.
LOST_AFTER = timedelta(seconds=15)
# Retries that are due within this time of a scheduled run wait for it, or are a little late.
SLACK = timedelta(seconds=1)

_senders: list[Sender] = []


def install(sender: Sender) -> None:
    """Set how kicks are sent. Called at startup, so that services do not depend on Celery."""
    _senders[:] = [sender]


def request(at: datetime | None = None) -> bool:
    """Make sure that a run starts at `at`, or soon after. Returns whether a message was sent.

    `at` uses the database's clock, as all times of kicks do; without it the run starts at once.
    """
    announced = _announce(at)
    if announced is None:
        return False
    lane, delay = announced
    try:
        _senders[0](lane, delay)
    except BaseException:
        withdraw(lane)
        raise
    return True


def announce_running() -> None:
    """Record that a run is looking for due rows all the time, so that no kicks are needed.

    Call it again within LOST_AFTER, and withdraw it before the run looks for the last time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_kick (lane, at) VALUES (%s, statement_timestamp())"
            " ON CONFLICT (lane) DO UPDATE SET at = EXCLUDED.at",
            [KickLane.NOW],
        )


def withdraw(lane: KickLane) -> None:
    """Record that the lane's kick arrived or could not be sent: the next request sends another."""
    OutboxKick.objects.filter(lane=lane).delete()


def renew_lost() -> bool:
    """Replace kicks that did not arrive in time. Returns whether there was any.

    The process that recorded a kick may have been killed before it sent the message, and others
    relied on it. The lost kick is deleted last, so that a kill here does not hide it.
    """
    lost = OutboxKick.objects.filter(at__lt=Now() - LOST_AFTER)
    if not lost.exists():
        return False
    sent = request()
    lost.delete()
    return sent


# What is overdue is for now, and its kick is not late from the start. A kick that is announced for
# later than this one, or was lost, is replaced.
_ANNOUNCE = """
    INSERT INTO outbox_kick AS known (lane, at)
    SELECT CASE WHEN wanted.at > statement_timestamp() + make_interval(secs => %(slack)s)
        THEN 'later' ELSE 'now' END, at
    FROM (SELECT greatest(%(at)s::timestamptz, statement_timestamp()) AS at) AS wanted
    ON CONFLICT (lane) DO UPDATE SET at = EXCLUDED.at
    WHERE known.at > EXCLUDED.at + make_interval(secs => %(slack)s)
        OR known.at < statement_timestamp() - make_interval(secs => %(lost_after)s)
    RETURNING lane, extract(epoch FROM at - statement_timestamp())
"""


def _announce(at: datetime | None) -> tuple[KickLane, float] | None:
    """Record a kick. Returns its lane and the seconds until then.

    Returns None when a kick that is on its way serves as well.
    """
    values = {
        "at": at,
        "slack": SLACK.total_seconds(),
        "lost_after": LOST_AFTER.total_seconds(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ANNOUNCE, values)
        row = cursor.fetchone()
    if row is None:
        return None
    lane = KickLane(row[0])
    return lane, float(row[1]) if lane == KickLane.LATER else 0.0
