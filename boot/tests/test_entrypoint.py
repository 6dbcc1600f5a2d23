"""docker-entrypoint.sh: each role as a process, all of them together on one database."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from django.conf import settings

from boot.tests.portal import ROOT, call, clean_environment, free_port, prepared_data_dir
from common.tests.receiver import Receiver

pytestmark = [pytest.mark.process, pytest.mark.long]

WAIT = 300  # seconds, on a busy machine
SERVING = ("web", "celery-worker", "celery-worker-workflows", "celery-beat", "dev")
MAKE = """
from accounts.models import User
from accounts.services import create_token
from common.webhooks.endpoints import EndpointSettings, add_endpoint
from uploads.models import Workflow
Workflow.objects.filter(slug="inspect-file").update(is_active=True)
add_endpoint(EndpointSettings(url="{url}"))
print(create_token(user=User.objects.get(), name="x")[1])
"""


class Roles:
    """Containers without walls: the roles, with what the compose file gives to each."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.address = folder / "database_url"
        self.ports = {"web": free_port(), "dev": free_port()}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = clean_environment() | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DJANGO_CONFIGURATION": "Local",
            "DOORITO_DATA_DIR": str(folder / "data"),
            "DOORITO_STATIC_DIR": str(prepared_data_dir() / "static"),
            "DATABASE_URL_FILE": str(self.address),
            "WAIT_SECONDS": str(WAIT),
            "WORKER_CONCURRENCY": "1",
        }

    def start(self, role: str, log: Path) -> None:
        with log.open("wb") as output:
            self.running[role] = subprocess.Popen(
                [ROOT / "docker-entrypoint.sh", role],
                env=self._of(role),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "docker-entrypoint.sh", *arguments],
            env=self._of("web") | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT,
        )

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def _of(self, role: str) -> dict[str, str]:
        port = self.ports.get(role, self.ports["web"])
        own = {"DOORITO_STATIC_DIR": ""} if role == "dev" else {}
        return self.environment | {"WEB_PORT": str(port)} | own


@pytest.fixture(scope="module")
def database():
    """The address of an empty one, dropped afterwards."""
    name = f"entrypoint_{uuid4().hex}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def roles(database, tmp_path_factory):
    """All started at once, before there is an address of the database, and let come up."""
    roles = Roles(tmp_path_factory.mktemp("roles"), database)
    with ExitStack() as stack:
        for role in SERVING:
            roles.start(role, roles.folder / f"{role}.log")
            stack.callback(end, roles.running[role])
        roles.address.write_text(f"{database}\n")
        for role in ("web", "dev"):
            until(lambda role=role: answers(f"{roles.url(role)}/healthz/"), roles)
        yield roles


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client(roles, receiver):
    """Of the administrator. Made by `manage`, which passes its arguments on."""
    made = roles.run(
        "manage",
        *("shell", "--no-imports", "-c", MAKE.format(url=receiver.url)),
    )
    assert made.returncode == 0, made.stderr
    bearer = {"Authorization": f"Bearer {made.stdout.strip()}"}
    with httpx.Client(
        base_url=roles.url("web"), headers=bearer, timeout=60, trust_env=False
    ) as client:
        yield client


def end(process):
    """It, and its children, if it still runs."""
    if process.poll() is None:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
    process.wait()


def answers(url):
    try:
        return call("GET", url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def until(condition, roles):
    give_up = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < give_up, roles.logs()
        time.sleep(0.1)


def test_the_portal_is_prepared_once_though_all_start_at_once(roles):
    assert "(DATABASE_URL_FILE), up to 300 s" in roles.logs()
    passwords = re.findall("Password of .*, shown this once only: (.+)", roles.logs())
    assert len(passwords) == 1


def test_web_is_healthy_and_its_own_check_says_so(roles):
    assert roles.run("healthy").returncode == 0
    assert roles.run("healthy", WEB_PORT="1").returncode == 1


def test_dev_serves_with_debug_pages_and_reloads(roles):
    page = httpx.get(f"{roles.url('dev')}/no-such-page", timeout=60, trust_env=False)
    assert page.status_code == 404
    assert "DEBUG = True" in page.text
    assert "Watching for file changes" in (roles.folder / "dev.log").read_text()


def test_the_workers_do_their_tasks(client, receiver, roles):
    stored = client.post("/api/v1/files?filename=a.txt", content=b"some text")
    assert stored.status_code == 201, stored.text
    file_id = stored.json()["id"]
    (event,) = receiver.wait_for(1, timeout=WAIT)
    assert event.json["type"] == "file.uploaded"
    assert event.json["data"]["file"]["id"] == file_id

    started = client.post(f"/api/v1/files/{file_id}/runs", json={"workflow": "inspect-file"})
    assert started.status_code == 201, started.text
    run = f"/api/v1/runs/{started.json()['id']}"
    until(lambda: client.get(run).json()["status"] == "completed", roles)


def test_beat_schedules(roles):
    """Sent by nobody else, and kept in the broker's table for a while after it was taken."""
    sent = "SELECT 1 FROM kombu_message WHERE payload LIKE '%uploads.tasks.sweep_runs%'"
    with psycopg.connect(roles.database, autocommit=True) as connection:
        until(lambda: connection.execute(sent).fetchone(), roles)


def test_arguments_and_exit_codes_are_passed_on(roles):
    name = "of 'a' \"b\" $c"
    made = roles.run("doorito", "token", "create", "--email", "x@example.com", "--name", name)
    assert made.returncode == 1
    assert "x@example.com" in made.stderr
    exits = roles.run("manage", "shell", "--no-imports", "-c", f"raise SystemExit({name!r})")
    assert (exits.returncode, exits.stderr) == (1, f"{name}\n")
    assert roles.run("no-such-role").returncode == 64


def test_a_database_that_is_not_there_is_waited_for_and_named(roles):
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "WAIT_SECONDS": "1"}
    refused = roles.run("celery-worker", **nowhere)
    assert refused.returncode == 1
    assert refused.stderr.endswith("(waited 1 s for the database at 127.0.0.1:1)\n")


def test_a_missing_address_of_the_database_is_named(roles, tmp_path):
    missing = {"DATABASE_URL_FILE": str(tmp_path / "none"), "WAIT_SECONDS": "1"}
    refused = roles.run("web", **missing)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: Cannot read ")


def test_every_role_stops_at_a_signal_and_leaves_nothing(roles):
    """The last: nothing runs after it."""
    children = [
        child
        for process in roles.running.values()
        for child in psutil.Process(process.pid).children(recursive=True)
    ]
    for process in roles.running.values():
        process.send_signal(signal.SIGTERM)
    codes = {role: process.wait(timeout=WAIT) for role, process in roles.running.items()}
    assert codes == dict.fromkeys(SERVING, 0)
    assert psutil.wait_procs(children, timeout=WAIT)[1] == []
    assert "Traceback" not in roles.logs()
