"""Kicks: hints to the dispatcher that a delivery is, or soon will be, due.

Celery's messages may be lost with a killed worker, so a kick carries nothing and promises nothing:
the rows say what is due and the sweep finds what a lost kick left. At most one kick per lane is
under way at a time, however many events are written.

An event is committed before its kick is asked for, and a run withdraws the kick that started it
before it looks for due rows. So whoever finds a kick under way knows that its run will see the
event.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection
from django.db.models.functions import Now

from common.models import KickLane, OutboxKick

# Sends the message that starts a dispatcher run: the lane, and the seconds to wait.
Sender = Callable[[KickLane, float], None]

# A kick that did not arrive for so long after its time is taken for lost.
LOST_AFTER = timedelta(seconds=15)
# Retries that are due within this time of a scheduled run wait for it, or are a little late.
SLACK = timedelta(seconds=1)

_senders: list[Sender] = []


def install(sender: Sender) -> None:
    """Name the one way to send kicks. The composition does it; services know no queue."""
    _senders[:] = [sender]


def request(at: datetime | None = None) -> bool:
    """Make sure that a run starts at `at`, or at once, or soon after; whether a message was sent.

    `at` is by the database's clock, as all times of kicks are.
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
    """Note that a run is looking for due rows all the time, so that nobody sends a message.

    To be repeated within LOST_AFTER, and withdrawn before the run looks for the last time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_kick (lane, at) VALUES (%s, statement_timestamp())"
            " ON CONFLICT (lane) DO UPDATE SET at = EXCLUDED.at",
            [KickLane.NOW],
        )


def withdraw(lane: KickLane) -> None:
    """The lane's kick has arrived, or could not be sent: the next request sends another."""
    OutboxKick.objects.filter(lane=lane).delete()


def renew_lost() -> bool:
    """Send a kick in place of those that did not arrive in time; whether there was one to send.

    Whoever announced a kick may have been killed before the message was out, and whoever wrote an
    event meanwhile relied on it. What is lost is forgotten last: a kill here must not hide it.
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
    """Note a kick as under way, in its lane and with the seconds until then.

    None when one that serves as well already is.
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
