"""Celery tasks of accounts."""

from uuid import UUID

from celery import shared_task

from accounts import mail, services, throttle
from common.drain import drain
from common.ids import uuid7


def request_reset_link(*, email: str) -> None:
    """Queue the mail. A message that is lost costs little: the person can ask again.

    For an address without an account one is queued as well, with an id that nobody has: the time
    that a request takes must not tell which addresses have one.
    """
    user_id = services.find_user_id(email=email) or uuid7()
    send_reset_link.delay(str(user_id))


@shared_task
def send_reset_link(user_id: str) -> bool:
    """The link is made here, so that its token is never in the queue."""
    return mail.send_reset_link(user_id=UUID(user_id))


@shared_task
def purge_throttle() -> int:
    return drain(throttle.purge)


@shared_task
def purge_sessions() -> int:
    return drain(services.purge_sessions)
