"""Celery tasks of accounts."""

from uuid import UUID

from celery import shared_task

from accounts import mail, services, throttle
from common.drain import drain
from common.ids import uuid7


def request_reset_link(*, email: str) -> None:
    """Queue the mail with a reset link. If the message is lost, the person can ask again.

    For an address without an account a message is queued as well, with an id that no account has:
    the response time must not reveal which addresses have an account.
    """
    user_id = services.find_user_id(email=email) or uuid7()
    send_reset_link.delay(str(user_id))


@shared_task
def send_reset_link(user_id: str) -> bool:
    """Create the link and mail it. The link is created here so that its token is never queued."""
    return mail.send_reset_link(user_id=UUID(user_id))


@shared_task
def purge_throttle() -> int:
    return drain(throttle.purge)


@shared_task
def purge_sessions() -> int:
    return drain(services.purge_sessions)
