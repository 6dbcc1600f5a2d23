"""What the console shows of a mail."""

import re
import time
from io import StringIO

import httpx
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


def test_the_link_to_reset_a_password_can_be_used_where_there_is_no_mail_server(portal):
    """A worker prints the mail, which is for a person; what is logged hides such links."""
    link = re.compile(
        rf"http://localhost:{portal.port}(/app/password/reset/\S+/\S+/)$", re.MULTILINE
    )
    address = "/app/password/reset/"
    with httpx.Client(base_url=portal.url, trust_env=False, follow_redirects=True) as person:
        page = person.get(address).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        form = {"email": portal.admin_email, "csrfmiddlewaretoken": token}
        assert person.post(address, data=form).status_code == 200
        give_up = time.monotonic() + 30
        while not (found := link.search(portal.logs())):
            assert time.monotonic() < give_up, portal.logs()[-2000:]
            time.sleep(0.1)
        assert 'name="new_password1"' in person.get(found[1]).text
