"""What people see of an event: one rule, whichever page or answer shows it."""

import html

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import principals
from accounts.models import User
from accounts.tests.factories import make_user
from common.ids import uuid7
from common.models import OutboxEvent
from common.outbox.envelopes import envelope, envelope_for
from common.outbox.payloads import HIDDEN
from common.outbox.types import EventKind, EventTypes, event_types
from common.tests.factories import make_event
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import make_completed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]

# What gives a file's content away, by type of event.
SECRETS = {
    "file.uploaded": {("file", "url")},
    "file.expiring": {("file", "url")},
    "file.processed": {("file", "url")},
    "file.restored": {("file", "url")},
    "file.deleted": {("file", "url")},
    "file.failed": {("file", "url")},
    "workflow_run.completed": {("run", "output_text")},
}


def make_onlooker(*codenames: str) -> User:
    """Staff that may see webhooks, and what else is named."""
    user = make_user(is_staff=True)
    User.objects.filter(id=user.id).update(is_superuser=False)
    permissions = Permission.objects.filter(codename__in=["view_webhookendpoint", *codenames])
    user.user_permissions.set(permissions)
    return User.objects.get(id=user.id)


def differences(event: OutboxEvent, user: User) -> set[tuple[str, str]]:
    """The members of the data that a user does not get."""
    whole, shown = envelope(event), envelope_for(principals.of_session(user), event)
    assert whole | {"data": None} == shown | {"data": None}
    return {
        (part, name)
        for part, members in whole["data"].items()
        for name, value in members.items()
        if shown["data"][part][name] != value and shown["data"][part][name] == HIDDEN
    }


@pytest.mark.parametrize("event_type", sorted(event_types))
def test_what_gives_a_file_away_is_hidden_and_nothing_else(event_type: str) -> None:
    event = make_event(event_type=event_type)

    assert differences(event, make_onlooker()) == SECRETS.get(event_type, set())
    assert differences(event, make_onlooker("access_all_files")) == set()


def test_of_an_event_that_no_app_knows_any_more_nothing_is_shown() -> None:
    event = make_event()
    OutboxEvent.objects.filter(id=event.id).update(event_type="gone.happened")
    event.refresh_from_db()

    shown = envelope_for(principals.of_session(make_user(is_staff=True)), event)

    assert shown["data"] == dict.fromkeys(event.payload, HIDDEN)


def test_the_admin_hides_what_a_workflow_made_as_the_pages_and_the_api_do(client: Client) -> None:
    run = make_completed(output_text="private words", result=b"private too")
    event = OutboxEvent.objects.get(event_type="workflow_run.completed")
    stored = OutboxEvent.objects.get(event_type="file.uploaded", aggregate_id=run.file_id)
    link, output_link = stored.payload["file"]["url"], event.payload["run"]["output_url"]

    def admin_page(of: OutboxEvent) -> str:
        answer = client.get(f"/admin/common/outboxevent/{of.id}/change/")
        assert answer.status_code == 200
        return html.unescape(answer.content.decode())

    client.force_login(make_onlooker())
    assert "private words" not in admin_page(event)
    assert output_link not in admin_page(event)
    assert link not in admin_page(stored)
    client.force_login(make_onlooker("access_all_files"))
    assert "private words" in admin_page(event)
    assert output_link in admin_page(event)
    assert link in admin_page(stored)


def test_the_admin_hides_a_runs_output_and_log_from_those_who_may_not_read_its_file(
    client: Client,
) -> None:
    run = make_completed(output_text="private words", lines=["private line"])

    def page() -> str:
        return client.get(f"/admin/uploads/workflowrun/{run.id}/change/").content.decode()

    client.force_login(make_onlooker("view_workflowrun"))
    assert "private words" not in page()
    assert "private line" not in page()
    client.force_login(make_onlooker("view_workflowrun", "access_all_files"))
    assert "private words" in page()
    assert "private line" in page()


def test_a_token_that_may_read_no_files_gets_no_link_to_its_owners() -> None:
    owner = make_user()
    event = OutboxEvent.objects.get(aggregate_id=make_stored(user=owner).id)
    whole = principals.of_session(owner)
    narrow = principals.Principal(owner, whole.actor, frozenset({principals.TokenScope.WEBHOOKS}))

    assert envelope_for(whole, event) == envelope(event)
    assert envelope_for(narrow, event)["data"]["file"]["url"] == HIDDEN


def test_a_kind_of_events_is_registered_once_and_holds_its_own_types_only() -> None:
    example = event_types.example_of("webhook.test")
    types = EventTypes()
    kind = EventKind("webhook", "Webhooks", {"webhook.test": example})

    types.register(kind)
    types.register(kind)  # the same again, as when an app is set up twice
    with pytest.raises(ValueError, match="registered already: webhook"):
        types.register(EventKind("webhook", "Others", {"webhook.made": example}))
    with pytest.raises(ValueError, match="no event of the kind file"):
        EventKind("file", "Files", {"webhook.test": example})

    assert list(types) == ["webhook.test"]
    assert "webhook.made" not in types


def test_an_event_of_an_unknown_type_is_not_known_by_its_kind_alone() -> None:
    assert "file.uploaded" in event_types
    assert "file.uploadet" not in event_types
    assert uuid7().hex not in event_types
