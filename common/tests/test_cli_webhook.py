import json

import pytest
import standardwebhooks
from click.testing import CliRunner

from common import cli
from common.errors import InvalidInput, NotFound
from common.ids import uuid7
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint, make_event
from common.tests.receiver import Answer, Receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]


def run(*arguments):
    return CliRunner().invoke(cli.webhook, [str(each) for each in arguments])


def test_add_prints_only_the_secret():
    result = run("add", "http://127.0.0.1:8000/hook", "--description", "runner")

    endpoint = WebhookEndpoint.objects.get()
    assert result.exit_code == 0
    assert result.stdout == f"{endpoint.secret}\n"
    assert str(endpoint.id) in result.stderr
    assert endpoint.description == "runner"


def test_add_takes_event_types():
    run("add", "http://127.0.0.1:8000/", "--event", "file.*", "--event", "batch.completed")

    assert WebhookEndpoint.objects.get().event_types == ["file.*", "batch.completed"]


def test_add_prints_json_with_the_id_and_the_secret():
    result = run("add", "http://127.0.0.1:8000/hook", "--json")

    endpoint = WebhookEndpoint.objects.get()
    added = json.loads(result.stdout)
    assert (added["id"], added["secret"]) == (str(endpoint.id), endpoint.secret)


@pytest.mark.parametrize(
    "arguments", [["http://10.0.0.1/"], ["http://127.0.0.1/", "--event", "file.upload"]]
)
def test_add_refuses_what_the_service_refuses(arguments):
    result = run("add", *arguments)

    assert isinstance(result.exception, InvalidInput)
    assert not WebhookEndpoint.objects.exists()


def test_list_shows_endpoints_and_no_secret():
    endpoint = make_endpoint(event_types=["file.*"])

    table, rows = run("list").stdout, json.loads(run("list", "--json").stdout)

    assert endpoint.url in table
    assert endpoint.secret not in table
    assert rows == [
        {
            "id": str(endpoint.id),
            "url": endpoint.url,
            "events": ["file.*"],
            "active": True,
            "description": "",
        }
    ]


def test_lists_show_endpoints_whose_secret_cannot_be_read(settings):
    endpoint = make_endpoint()
    make_event()
    settings.SECRET_KEY = "another"

    assert endpoint.url in run("list").stdout
    assert endpoint.url in run("deliveries").stdout


def test_list_of_nothing_is_empty():
    assert run("list").stdout == ""
    assert json.loads(run("list", "--json").stdout) == []


def test_remove_deletes_the_endpoint():
    endpoint = make_endpoint()

    assert run("remove", endpoint.id).exit_code == 0
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("command", ["remove", "test"])
def test_an_unknown_id_is_not_found(command):
    assert isinstance(run(command, uuid7()).exception, NotFound)


def test_test_sends_an_event_and_shows_the_answer():
    with Receiver(Answer(status=202)) as receiver:
        endpoint = make_endpoint(url=receiver.url)
        result = run("test", endpoint.id)

    assert result.exit_code == 0
    assert result.stdout.startswith("202 in ")
    (received,) = receiver.received
    assert standardwebhooks.Webhook(endpoint.secret).verify(received.body, received.headers)


def test_test_fails_when_the_receiver_does():
    with Receiver(Answer(status=500)) as receiver:
        result = run("test", make_endpoint(url=receiver.url).id)

    assert result.exit_code == 1
    assert "500" in result.stderr


def test_deliveries_are_listed_newest_first():
    endpoint = make_endpoint()
    events = [make_event() for _ in range(2)]

    rows = json.loads(run("deliveries", "--json").stdout)

    assert [row["event_id"] for row in rows] == [str(event.id) for event in reversed(events)]
    assert rows[0]["url"] == endpoint.url
    assert (rows[0]["status"], rows[0]["attempts"]) == ("pending", 0)
    assert "pending" in run("deliveries").stdout
