"""Mail to people about their accounts."""

import logging
from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts.models import User

logger = logging.getLogger(__name__)


def send_reset_link(*, user_id: UUID) -> bool:
    """Mail a user a link to choose a new password. Returns whether it was sent.

    Inactive accounts get no mail, nor do accounts without a password, which log in some other way
    or not at all. The link's host comes from the settings, never from the request's Host header.
    """
    user = User.objects.filter(id=user_id, is_active=True).first()
    if user is None or not user.has_usable_password():
        return False
    context = {
        "email": user.email,
        "public_url": settings.PUBLIC_URL,
        "uid": urlsafe_base64_encode(force_bytes(user.pk)),
        "token": default_token_generator.make_token(user),
    }
    subject = render_to_string("mail/password_reset_subject.txt", context).strip()
    text = render_to_string("mail/password_reset.txt", context)
    try:
        EmailMessage(subject, text, to=[user.email]).send()
    except OSError:  # SMTP's errors are among them
        logger.exception("The link to reset the password of user %s was not sent", user.id)
        return False
    return True
