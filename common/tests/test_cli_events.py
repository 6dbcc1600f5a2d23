import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from django.utils import timezone

from common.models import OutboxEvent
from common.outbox import envelopes
from common.tests.factories import make_event, make_older, make_payload
from common.webhooks.cli import events as module
from common.webhooks.cli.about import about
from common.webhooks.cli.events import Tail, events

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent_kicks")]


def tail(*arguments):
    result = CliRunner().invoke(events, ["tail", "--once", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_recent_events_are_printed_oldest_first():
    first, second = make_event(), make_event(event_type="batch.completed")

    lines = tail()

    assert [line.split()[1:4] for line in lines] == [
        ["file.uploaded", str(first.id), "delivered"],
        ["batch.completed", str(second.id), "delivered"],
    ]
    assert lines[0].endswith(make_payload()["file"]["original_filename"])


def test_json_is_one_envelope_per_line():
    made = [make_event(), make_event(event_type="batch.completed")]

    assert [json.loads(line) for line in tail("--json")] == [
        envelopes.envelope(event) for event in made
    ]


def test_types_can_be_chosen():
    file = make_event()
    batch = make_event(event_type="batch.completed")
    make_event(event_type="webhook.test")

    def ids(*arguments):
        return [json.loads(line)["id"] for line in tail("--json", *arguments)]

    assert ids("--type", "file.*") == [str(file.id)]
    assert ids("--type", "file.*", "--type", "batch.completed") == [str(file.id), str(batch.id)]


def test_a_type_that_does_not_exist_is_refused():
    result = CliRunner().invoke(events, ["tail", "--once", "--type", "file.uplaoded"])

    assert result.exit_code == 2
    assert "no event type file.uplaoded. Types: batch.completed" in " ".join(result.stderr.split())


def test_older_events_are_printed_when_asked_for():
    old = make_older(make_event(), hours=3)

    assert tail() == []
    assert [str(old.id) in line for line in tail("--since", "4h")] == [True]
    moment = (timezone.now() - timedelta(hours=4)).isoformat()
    assert len(tail("--since", moment)) == 1


def test_more_events_than_are_read_at_once_are_all_printed(monkeypatch):
    monkeypatch.setattr(module.selectors.events_after, "__kwdefaults__", {"limit": 2})
    made = [make_event() for _ in range(5)]

    assert [str(each.id) in line for each, line in zip(made, tail(), strict=True)] == [True] * 5


def test_a_tail_tells_each_event_once_and_also_one_that_was_committed_late():
    following = Tail(timezone.now() - timedelta(minutes=1))
    late = make_event()
    OutboxEvent.objects.filter(id=late.id).delete()
    on_time = make_event()

    assert list(following.new_events()) == [on_time]
    assert list(following.new_events()) == []
    late.save(force_insert=True)
    assert list(following.new_events()) == [late]
    newest = make_event()
    assert list(following.new_events()) == [newest]


def test_a_tail_forgets_what_cannot_come_late_any_more():
    following = Tail(timezone.now() - timedelta(hours=2))
    make_older(make_event(), hours=1)
    list(following.new_events())
    make_event()

    assert len(list(following.new_events())) == 1
    assert len(following._shown) == 1


def test_what_an_event_is_about_is_told_in_a_few_words():
    assert about({"actor": {"email": "a@b"}, "file": {"original_filename": "ä.txt"}}) == "ä.txt"
    assert about({"batch": {"id": "1", "name": ""}}) == "1"
    assert about({"webhook": {"url": "http://x/"}}) == "http://x/"
    assert about({}) == ""
    assert "\x1b" not in about({"file": {"original_filename": "\x1b[2J"}})
