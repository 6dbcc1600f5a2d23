"""Mail on the console, for people to read."""

from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend


class ConsoleBackend(EmailBackend):
    """Plain text as it was written: quoted-printable would break the links in two."""

    def write_message(self, message: EmailMessage) -> None:
        recipients = ", ".join(message.recipients())
        rule = "-" * 79
        self.stream.write(
            f"{rule}\nSubject: {message.subject}\nTo: {recipients}\n\n{message.body}\n{rule}\n"
        )
