"""Mail on the console, for people to read."""

import sys
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend


class ConsoleBackend(EmailBackend):
    """Plain text as it was written: quoted-printable would break the links in two.

    On the console itself: Celery makes log records of what its workers print, and links to reset a
    password are hidden in those.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream", sys.__stdout__ or sys.stdout)
        super().__init__(*args, **kwargs)

    def write_message(self, message: EmailMessage) -> None:
        recipients = ", ".join(message.recipients())
        rule = "-" * 79
        self.stream.write(
            f"{rule}\nSubject: {message.subject}\nTo: {recipients}\n\n{message.body}\n{rule}\n"
        )
