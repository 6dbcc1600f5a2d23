"""What the console shows of a mail."""

from io import StringIO

from django.core.mail import EmailMessage

from boot.mail import ConsoleBackend


def test_a_long_link_stays_in_one_piece():
    link = f"http://localhost:8000/app/password/reset/MQ/{'c3=' * 60}/"
    screen = StringIO()
    ConsoleBackend(stream=screen).send_messages(
        [EmailMessage("Wörter", f"Open this:\n\n{link}\n", to=["ada@example.org"])]
    )
    lines = screen.getvalue().splitlines()
    assert link in lines
    assert "Subject: Wörter" in lines
    assert "To: ada@example.org" in lines
