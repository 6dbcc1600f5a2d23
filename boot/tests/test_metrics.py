import json
import re
from datetime import timedelta

import httpx
import psutil
import pytest
import yaml
from django.db import connection
from django.db.models.functions import Now
from prometheus_client.parser import text_string_to_metric_families

from accounts.principals import PORTAL
from accounts.tests.factories import principal_of
from boot import heartbeats
from boot.tests.portal import ROOT
from common import tallies
from common.models import DeliveryStatus, TallyChange, WebhookDelivery
from common.tests.factories import make_attempt, make_delivery
from common.tests.threads import at_once
from uploads.files import states
from uploads.models import IngestFile, WorkflowRun
from uploads.receiving import sessions
from uploads.tests import scanner
from uploads.tests.factories import make_session, make_stored
from uploads.tests.workflow_factories import make_completed, make_run

pytestmark = pytest.mark.django_db

_NAME = re.compile(r"\bdoorito_[a-z_]+\b")


@pytest.fixture(autouse=True)
def _small_parts(settings, tmp_path):
    settings.DOORITO_DATA_DIR = tmp_path
    settings.PORTAL_CHUNK_SIZE_MIN = 1


def read(client, **extra):
    answer = client.get("/metrics", **extra)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def samples(client):
    """The value of each sample, as `name{label="value"}` or `name`."""
    found = {}
    for family in text_string_to_metric_families(read(client)):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def changes(client, action):
    """What an action adds to each sample."""
    before = samples(client)
    action()
    after = samples(client)
    return {key: value - before.get(key, 0) for key, value in after.items()}


def test_a_stored_file_and_its_deletion_are_counted(client):
    added = changes(client, lambda: make_stored(b"x" * 1000, chunk=1000))
    assert added["doorito_uploads_total"] == 1
    assert added["doorito_uploaded_bytes_total"] == 1000
    assert added['doorito_files{state="stored"}'] == 1
    assert added['doorito_file_bytes{state="stored"}'] == 1000

    file = IngestFile.objects.get(status="stored")
    added = changes(client, lambda: states.delete(file.id, actor=PORTAL))
    assert added["doorito_uploads_total"] == 0
    assert added['doorito_files{state="stored"}'] == -1
    assert added['doorito_file_bytes{state="stored"}'] == -1000
    assert added['doorito_file_transitions_total{state="deleted"}'] == 1


def test_sessions_are_counted_by_state(client):
    session = make_session()
    principal = principal_of(session.created_by)
    added = changes(
        client, lambda: sessions.abort_session(principal=principal, session_id=session.id)
    )
    assert added['doorito_sessions{state="init"}'] == -1
    assert added['doorito_sessions{state="aborted"}'] == 1
    assert added['doorito_session_transitions_total{state="aborted"}'] == 1


def test_deliveries_and_attempts_are_counted_by_outcome(client):
    delivery = make_delivery()

    def deliver():
        make_attempt(delivery=delivery, response_status=500)
        make_attempt(delivery=delivery, number=2, response_status=204)
        WebhookDelivery.objects.filter(id=delivery.id).update(status=DeliveryStatus.DELIVERED)

    added = changes(client, deliver)
    assert added['doorito_deliveries{state="pending"}'] == -1
    assert added['doorito_delivery_outcomes_total{state="delivered"}'] == 1
    assert added['doorito_delivery_outcomes_total{state="failed"}'] == 0
    assert added['doorito_delivery_attempts_total{state="failed"}'] == 1
    assert added['doorito_delivery_attempts_total{state="delivered"}'] == 1


def test_the_oldest_that_is_due_is_told(client):
    delivery, run = make_delivery(), make_run()
    hour_ago = Now() - timedelta(hours=1)
    WebhookDelivery.objects.filter(id=delivery.id).update(due_at=hour_ago)
    WorkflowRun.objects.filter(id=run.id).update(due_at=hour_ago)
    found = samples(client)
    assert 3600 <= found["doorito_oldest_pending_delivery_seconds"] < 3700
    assert 3600 <= found["doorito_oldest_pending_run_seconds"] < 3700


def test_runs_are_counted_by_state_and_task(client):
    task = make_completed().workflow.task_name
    added = changes(client, make_completed)
    assert added[f'doorito_runs{{state="completed",task="{task}"}}'] == 1
    assert added[f'doorito_run_transitions_total{{state="completed",task="{task}"}}'] == 1
    present = samples(client)[f'doorito_runs{{state="completed",task="{task}"}}']
    assert present == WorkflowRun.objects.filter(status="completed").count()


def test_tasks_are_counted_with_their_time(client):
    name = "uploads.tasks.expire_files"

    def work():
        tallies.note_task(name, succeeded=True, milliseconds=1500)
        tallies.note_task(name, succeeded=False, milliseconds=500)

    added = changes(client, work)
    assert added[f'doorito_tasks_total{{outcome="succeeded",task="{name}"}}'] == 1
    assert added[f'doorito_task_seconds_total{{outcome="succeeded",task="{name}"}}'] == 1.5
    assert samples(client)[f'doorito_task_last_success_timestamp_seconds{{task="{name}"}}'] > 1.7e9


def test_requests_are_counted_by_route_not_by_address(client):
    client.get("/api/v1/files/0197a000-0000-7000-8000-000000000000")
    count = "doorito_request_duration_seconds_count"
    route = "/api/v1/files/<uuidstr:file_id>"
    assert samples(client)[f'{count}{{method="GET",route="{route}",status="4xx"}}'] >= 1
    client.generic("BREW", "/nowhere/at/all")
    assert samples(client)[f'{count}{{method="other",route="(none)",status="4xx"}}'] >= 1
    assert "0197a000" not in read(client)


def test_the_cost_is_the_same_however_much_there_is(client, django_assert_num_queries):
    """Counts are folded, so that reading them is reading a few rows."""
    for _ in range(30):
        make_delivery()
    samples(client)
    assert not TallyChange.objects.exists()
    with django_assert_num_queries(10):
        samples(client)


@pytest.mark.django_db(transaction=True)
def test_no_count_is_lost_or_doubled_while_it_is_folded():
    def count():
        return sum(c.entered for c in tallies.read() if c.kind == "task")

    def work():
        for _ in range(20):
            tallies.note_task("some.task", succeeded=True, milliseconds=1)
            tallies.fold()

    before = count()
    at_once([work] * 6)
    assert count() == before + 120
    while TallyChange.objects.exists():
        tallies.fold()
    assert count() == before + 120


def test_a_database_that_is_gone_is_told_and_the_rest_stays(client):
    connection.ensure_connection()
    connection.connection.close()
    found = samples(client)
    assert found["doorito_database_up"] == 0
    assert found["doorito_disk_free_bytes"] > 0


def test_it_is_for_this_machine_only_unless_told_otherwise(client, settings):
    stranger = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/metrics", **stranger).status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 403
    settings.PORTAL_METRICS_NETWORKS = ["192.0.2.0/24"]
    assert client.get("/metrics", **stranger).status_code == 200


def test_a_token_opens_it_from_anywhere(client, settings):
    settings.PORTAL_METRICS_TOKEN = "of the monitor"
    stranger = {"REMOTE_ADDR": "192.0.2.7"}

    def status(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.get("/metrics", headers=headers, **stranger).status_code

    assert status("of the monitor") == 200
    assert status("of another") == 403
    settings.PORTAL_METRICS_TOKEN = ""
    assert status("") == 403


def test_all_processes_of_the_web_server_are_counted_also_one_that_was_killed(portal):
    def count():
        text = httpx.get(f"{portal.url}/metrics", trust_env=False).text
        found = re.search(r'_count{method="GET",route="/favicon.ico",status="3xx"} ([0-9.]+)', text)
        return float(found[1]) if found else 0

    before = count()
    for _ in range(20):
        httpx.get(f"{portal.url}/favicon.ico", trust_env=False)
    assert [count() for _ in range(6)] == [before + 20] * 6
    worker = portal.processes["web"].children()[0]
    worker.kill()
    psutil.wait_procs([worker], timeout=10)
    portal.wait()
    assert count() == before + 20


# --- What is shipped for Grafana and Prometheus -------------------------------------------------


@pytest.fixture
def known(client, settings):
    """The names of all samples of a portal that has seen something of everything."""
    make_completed()
    tallies.note_task("some.task", succeeded=True, milliseconds=1)
    heartbeats.note("celery@one default", ["default"])
    client.get("/nowhere")
    with scanner.running() as running:
        settings.PORTAL_SCANNER = running.address
        return {sample.partition("{")[0] for sample in samples(client)}


def test_every_metric_of_the_dashboard_exists(known):
    board = json.loads((ROOT / "docs/monitoring/grafana.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert set(_NAME.findall(target["expr"])) <= known, panel["title"]


def test_every_metric_of_the_alerts_exists(known):
    rules = yaml.safe_load((ROOT / "docs/monitoring/alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert set(_NAME.findall(rule["expr"])) <= known, rule["alert"]
        assert rule["annotations"]["summary"]


def test_every_metric_is_shown_by_the_dashboard(known):
    board = (ROOT / "docs/monitoring/grafana.json").read_text()
    shown = {re.sub(r"_(bucket|count)$", "", name) for name in _NAME.findall(board)}
    ours = {name for name in known if name.startswith("doorito_") and not name.endswith("_created")}
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    unshown = {
        "doorito_file_transitions_total",
        "doorito_session_transitions_total",
        "doorito_task_seconds_total",
    }
    assert bases - shown == unshown
