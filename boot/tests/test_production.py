"""The processes of a portal, started one by one as docs/deploy.md says, as Production."""

import re
import shlex
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from django.conf import settings

from boot.supervisor import commands
from boot.tests.portal import PRODUCTION, ROOT, Portal
from common.tests.receiver import Receiver

GUIDE = (ROOT / "docs" / "deploy.md").read_text()
BLOCK = re.search(r"### Its processes one by one.*?```bash\n(.*?)```", GUIDE, re.DOTALL)[1]
PREPARE, *COMMANDS = [shlex.split(line, comments=True) for line in BLOCK.splitlines()]
OURS = {"Host": "files.example.com", "X-Forwarded-Proto": "https"}

MAKE = """
from accounts.models import User
from accounts.services import create_token
from common.webhooks.endpoints import EndpointSettings, add_endpoint
add_endpoint(EndpointSettings(url="{url}", event_types=["file.uploaded"]))
print(create_token(user=User.objects.get(), name="x")[1])
"""


@pytest.fixture
def database():
    """The address of an empty one, dropped afterwards."""
    name = f"production_{uuid4().hex}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def until(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)


def handles(process, number):
    """Whether it is up so far that a signal does not just kill it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s+(\w+)", status)[1], 16)
    return bool(caught >> (number - 1) & 1)


@pytest.mark.process
def test_the_processes_by_hand_are_refused_before_and_work_after_the_preparation(database):
    assert [["./doorito", "start", name] for name in commands()] == COMMANDS
    environment = PRODUCTION | {
        "DJANGO_CONFIGURATION": "Production",
        "DATABASE_URL": database,
        "PORTAL_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8",
    }
    with Portal(environment=environment) as portal, Receiver() as receiver, ExitStack() as stack:

        def start(command):
            log = stack.enter_context(portal.log.open("ab"))
            process = subprocess.Popen(
                command, cwd=ROOT, env=portal.environment, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)  # where the test fails before it does
            return process

        web, worker, _, beat = COMMANDS
        refused = [start(command) for command in (web, worker, beat)]
        assert [process.wait(timeout=60) for process in refused] == [1, 1, 1]
        refusal = "Error: The portal is not prepared: run `./doorito prepare`.\n"
        assert portal.logs() == refusal * 3

        prepared = portal.run(*PREPARE[1:])
        assert prepared.stdout.startswith(f"Created the administrator {portal.admin_email}.\n")
        assert prepared.stdout.endswith("The portal is prepared.\n")
        assert (prepared.returncode, prepared.stderr) == (0, "")

        processes = [start(command) for command in COMMANDS]
        made = portal.manage("shell", "--no-imports", "-c", MAKE.format(url=receiver.url))
        assert made.returncode == 0, made.stderr
        until(portal.is_healthy)
        with httpx.Client(base_url=portal.url, headers=OURS, timeout=60, trust_env=False) as client:
            stranger = {"Host": "other.example"}
            assert client.get("/admin/", headers=stranger).status_code == 400
            assert client.get("/admin/", headers={"X-Forwarded-Proto": "http"}).status_code == 301
            until(lambda: client.get("/readyz/", headers=stranger).json()["status"] == "ok")

            page = client.get("/app/login/")
            style = re.search(r'href="(/static/css/main\.[0-9a-f]+\.css)"', page.text)
            assert client.get(style[1]).status_code == 200

            bearer = {"Authorization": f"Bearer {made.stdout.strip()}"}
            stored = client.post("/api/v1/files?filename=a", content=b"data", headers=bearer)
            assert stored.status_code == 201, stored.text
            workflows = client.get("/api/v1/workflows", headers=bearer)
            assert workflows.status_code == 200
        (event,) = receiver.wait_for(1, timeout=60)
        assert event.json["data"]["file"]["url"].startswith("https://files.example.com/f/")

        until(lambda: all(handles(process, signal.SIGTERM) for process in processes))
        assert [process.poll() for process in processes] == [None] * 4
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(timeout=60) for process in processes] == [0] * 4
        assert "Traceback" not in portal.logs()
        assert "Invalid HTTP_HOST" not in portal.logs()
