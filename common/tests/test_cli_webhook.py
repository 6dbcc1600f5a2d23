import json
from datetime import timedelta
from threading import Event, Thread

import pytest
import standardwebhooks
from click.testing import CliRunner
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from common.errors import Conflict, InvalidInput, NotFound
from common.ids import uuid7
from common.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from common.tests.factories import (
    make_attempt,
    make_delivery,
    make_earlier_endpoint,
    make_endpoint,
    make_event,
    make_older,
)
from common.tests.receiver import Answer, Receiver
from common.webhooks import recovery
from common.webhooks.cli.webhook import advance_to_end, webhook

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]

URL = "http://127.0.0.1:8000/hook"


def run(*arguments):
    return CliRunner().invoke(webhook, [str(each) for each in arguments])


def rows(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


# --- add, list, remove -----------------------------------------------------------------------


def test_add_prints_only_the_secret():
    result = run("add", URL, "--description", "runner")

    endpoint = WebhookEndpoint.objects.get()
    assert result.exit_code == 0
    assert result.stdout == f"{endpoint.secret}\n"
    assert str(endpoint.id) in result.stderr
    assert endpoint.description == "runner"


def test_add_takes_filters():
    user = get_user_model().objects.create_user("ada@example.org", "x")
    batch = uuid7()

    result = run(
        *("add", URL, "--event", "file.*", "--event", "batch.completed"),
        *("--content-type", "image/*", "--user", "ADA@example.org", "--batch", batch),
    )

    endpoint = WebhookEndpoint.objects.get()
    assert result.exit_code == 0
    assert endpoint.event_types == ["file.*", "batch.completed"]
    assert endpoint.content_types == ["image/*"]
    assert (endpoint.user_id, endpoint.batch_id) == (user.pk, batch)


def test_add_takes_how_it_is_sent():
    result = run(
        *("add", URL, "--header", "Authorization: Bearer hush", "--header", "X-A: b"),
        *("--schedule", "0,5s,2h", "--timeout", "10"),
    )

    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.headers == {"Authorization": "Bearer hush", "X-A": "b"}
    assert (endpoint.retry_schedule, endpoint.timeout_seconds) == ([0, 5, 7200], 10)
    assert "hush" not in result.output


def test_add_prints_json_with_the_id_and_the_secret():
    added = rows("add", URL)

    endpoint = WebhookEndpoint.objects.get()
    assert (added["id"], added["secret"]) == (str(endpoint.id), endpoint.secret)


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://10.0.0.1/"],
        [URL, "--event", "file.upload"],
        [URL, "--header", "Host: x"],
        [URL, "--header", "hush"],
        [URL, "--header", "A: 1", "--header", "a: 2"],
        [URL, "--schedule", "soon"],
        [URL, "--user", "nobody@example.org"],
    ],
)
def test_add_refuses_what_cannot_be_read_or_cannot_work(arguments):
    """Nothing of it is the command's own: see `test_endpoint_settings.py`."""
    result = run("add", *arguments)

    assert isinstance(result.exception, InvalidInput)
    assert "hush" not in str(result.exception)
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("arguments", [["--batch", "x"], ["--timeout", "x"]])
def test_add_refuses_what_is_no_id_or_number(arguments):
    assert run("add", URL, *arguments).exit_code == 2
    assert not WebhookEndpoint.objects.exists()


def test_list_shows_endpoints_with_their_health_and_no_secret():
    endpoint = make_endpoint(event_types=["file.*"], description="runner", headers={"A": "hush"})
    delivery = make_delivery(endpoint=endpoint)
    make_attempt(delivery=delivery, number=1, duration_ms=40)
    failed = make_attempt(delivery=delivery, number=2, duration_ms=40, error="No response.")

    table = run("list").stdout

    assert endpoint.url in table
    assert endpoint.secret not in table
    assert "hush" not in table
    assert rows("list") == [
        {
            "id": str(endpoint.id),
            "url": endpoint.url,
            "events": ["file.*"],
            "state": "active",
            "success": 0.5,
            "p95_ms": 40,
            "backlog": 1,
            "last_failure": failed.started_at.isoformat(timespec="seconds"),
            "expires": None,
            "description": "runner",
        }
    ]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"is_active": False, "disabled_reason": "gone"}, "disabled (gone)"),
        ({"failing_since": timezone.now()}, "failing"),
        ({"recovery_after": uuid7(), "recovery_until": uuid7()}, "recovering"),
    ],
)
def test_list_tells_the_state(fields, state):
    make_endpoint(**fields)

    assert rows("list")[0]["state"] == state


def test_what_others_wrote_cannot_steer_the_terminal():
    make_endpoint(description="\x1b[2Jgone\nnew line")

    assert "\x1b" not in run("list").stdout
    assert run("list").stdout.count("\n") == 2


def test_lists_show_endpoints_whose_secret_cannot_be_read(settings):
    endpoint = make_endpoint(headers={"A": "b"})
    make_event()
    settings.SECRET_KEY = "another"

    assert endpoint.url in run("list").stdout
    assert endpoint.url in run("deliveries").stdout


def test_list_of_nothing_is_empty():
    assert run("list").stdout == ""
    assert rows("list") == []


def test_remove_deletes_the_endpoint():
    endpoint = make_endpoint()

    assert run("remove", endpoint.id).exit_code == 0
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["remove"],
        ["test"],
        ["rotate"],
        ["revoke-old"],
        ["enable"],
        ["disable"],
        ["deliveries"],
        ["resend"],
        ["recover", "--since", "1h"],
    ],
)
def test_an_unknown_id_is_not_found(command):
    assert isinstance(run(*command, uuid7()).exception, NotFound)


# --- test, rotate, enable, disable -----------------------------------------------------------


def test_test_sends_an_event_and_shows_the_answer():
    with Receiver(Answer(status=202)) as receiver:
        endpoint = make_endpoint(url=receiver.url)
        result = run("test", endpoint.id)

    assert result.exit_code == 0
    assert result.stdout.startswith("202 in ")
    (received,) = receiver.received
    assert standardwebhooks.Webhook(endpoint.secret).verify(received.body, received.headers)


def test_test_fails_when_the_receiver_does():
    with Receiver(default=Answer(status=500, body=b"broken")) as receiver:
        endpoint = make_endpoint(url=receiver.url)
        result = run("test", endpoint.id)
        as_json = run("test", endpoint.id, "--json")

    assert result.exit_code == as_json.exit_code == 1
    assert (result.stdout, "500" in result.stderr) == ("", True)
    shown = json.loads(as_json.stdout)
    assert (shown["status"], shown["body"]) == (500, "broken")


def test_rotate_prints_the_new_secret_and_both_sign():
    with Receiver() as receiver:
        endpoint = make_endpoint(url=receiver.url)
        result = run("rotate", endpoint.id)
        run("test", endpoint.id)

    new = result.stdout.strip()
    assert new == WebhookEndpoint.objects.get().secret != endpoint.secret
    assert new not in result.stderr
    for secret in (new, endpoint.secret):
        (received,) = receiver.received
        assert standardwebhooks.Webhook(secret).verify(received.body, received.headers)


def test_rotate_now_ends_the_old_secret_even_if_it_cannot_be_read(settings):
    endpoint = make_endpoint()
    run("rotate", endpoint.id)
    settings.SECRET_KEY = "another"

    result = run("rotate", endpoint.id, "--now")

    now = WebhookEndpoint.objects.get()
    assert (result.exit_code, result.stdout) == (0, f"{now.secret}\n")
    assert not now.retired_secrets.exists()


def test_revoke_old_ends_the_overlap():
    endpoint = make_endpoint()
    run("rotate", endpoint.id)

    assert "Revoked 1 old secret of" in run("revoke-old", endpoint.id).stderr
    assert not endpoint.retired_secrets.exists()


def test_enable_says_how_to_get_what_was_missed():
    endpoint = make_endpoint()
    delivery = make_delivery(endpoint=endpoint)

    assert run("disable", endpoint.id).exit_code == 0
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.FAILED
    enabled = run("enable", endpoint.id)

    assert WebhookEndpoint.objects.get().is_active
    command = enabled.stderr.splitlines()[-1].split("./doorito webhook ")[1].split()
    assert run(*command).exit_code == 0
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.PENDING


def test_enable_of_what_was_never_disabled_says_nothing_of_it():
    assert "recover" not in run("enable", make_endpoint().id).stderr


# --- deliveries, resend, recover -------------------------------------------------------------


def test_deliveries_are_listed_newest_first():
    endpoint = make_endpoint()
    events = [make_event() for _ in range(2)]

    shown = rows("deliveries")

    assert [row["event_id"] for row in shown] == [str(event.id) for event in reversed(events)]
    assert shown[0]["url"] == endpoint.url
    assert (shown[0]["status"], shown[0]["attempts"]) == ("pending", 0)
    assert "pending" in run("deliveries").stdout


def test_deliveries_can_be_chosen():
    endpoint = make_endpoint()
    made = [make_delivery(endpoint=endpoint) for _ in range(3)]
    failed = make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED)
    other = make_delivery()

    def ids(*arguments):
        return [row["id"] for row in rows("deliveries", *arguments)]

    own = [str(each.id) for each in [failed, *reversed(made)]]
    assert ids(endpoint.id) == own
    assert ids(endpoint.id, "--limit", 2) == own[:2]
    assert ids("--status", "failed") == [str(failed.id)]
    assert ids(other.endpoint_id, "--status", "failed") == []
    assert run("deliveries", "--status", "lost").exit_code == 2


def test_resend_starts_a_delivery_again():
    delivery = make_delivery(status=DeliveryStatus.DELIVERED, schedule_step=3)

    result = run("resend", delivery.id)

    delivery.refresh_from_db()
    assert (result.exit_code, delivery.status, delivery.schedule_step) == (0, "pending", 0)


def test_resend_refuses_what_is_being_sent():
    delivery = make_delivery(status=DeliveryStatus.SENDING)

    assert isinstance(run("resend", delivery.id).exception, Conflict)


def test_recover_starts_what_failed_and_what_was_missed(monkeypatch):
    monkeypatch.setattr(recovery, "CHUNK", 2)
    missed = [make_event() for _ in range(5)]
    endpoint = make_earlier_endpoint()
    failed = make_delivery(endpoint=endpoint, status=DeliveryStatus.FAILED)
    make_delivery(endpoint=endpoint, status=DeliveryStatus.DELIVERED)

    result = run("recover", endpoint.id, "--since", "2h")

    started = WebhookDelivery.objects.filter(endpoint=endpoint, status=DeliveryStatus.PENDING)
    expected = {event.id for event in missed} | {failed.event_id}
    assert result.exit_code == 0, result.exception
    assert set(started.values_list("event_id", flat=True)) == expected
    assert "6 deliveries started here." in result.stderr
    assert result.stdout == ""
    assert WebhookEndpoint.objects.get(id=endpoint.id).recovery_after is None


def test_recover_looks_back_no_further_than_it_is_told():
    make_older(make_event(), hours=3)
    endpoint = make_earlier_endpoint()
    moment = timezone.now() - timedelta(hours=2)

    result = run("recover", endpoint.id, "--since", moment.isoformat())

    assert "0 deliveries started here." in result.stderr
    assert not WebhookDelivery.objects.exists()


def test_recover_waits_for_another_worker_that_is_at_it(monkeypatch):
    event = make_event()
    endpoint = make_earlier_endpoint()
    recovery.start(endpoint_id=endpoint.id, since=timezone.now() - timedelta(hours=1))
    held, release = Event(), Event()

    def hold():
        with transaction.atomic():
            WebhookEndpoint.objects.select_for_update(no_key=True).get(id=endpoint.id)
            held.set()
            assert release.wait(60)
        connection.close()

    holder = Thread(target=hold)

    def let_go(_seconds):
        release.set()
        holder.join(60)

    monkeypatch.setattr("common.webhooks.cli.webhook.time.sleep", let_go)
    holder.start()
    assert held.wait(60)

    assert advance_to_end(endpoint.id) == (1, True)
    assert WebhookDelivery.objects.get().event == event


def test_recover_refuses_a_disabled_endpoint_and_an_unclear_moment():
    endpoint = make_endpoint(is_active=False)

    assert isinstance(run("recover", endpoint.id, "--since", "1h").exception, Conflict)
    assert run("recover", endpoint.id, "--since", "yesterday").exit_code == 2
    assert run("recover", endpoint.id).exit_code == 2
