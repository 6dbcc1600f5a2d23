from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils import timezone

from common.models import OutboxEvent, WebhookEndpoint
from frontend.templatetags import portal


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (150 * 1024, "150 KiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_are_short(count: int, shown: str):
    assert portal.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (30, "in a moment"),
        (-30, "just now"),
        (60, "in 1 minute"),
        (86_399, "in 24 hours"),
        (-119, "1 minute ago"),
        (-7200, "2 hours ago"),
        (86_400 * 3 + 5, "in 3 days"),
    ],
)
def test_times_are_told_from_now(seconds: float, shown: str):
    assert portal.relative(seconds) == shown


def test_a_moment_can_be_read_by_the_pages_script():
    at = timezone.now() + timedelta(hours=2, minutes=1)
    shown = portal.moment(at)
    assert f'datetime="{at.isoformat(timespec="seconds")}"' in shown
    assert shown.endswith("data-relative>in 2 hours</time>")
    assert portal.moment(None) == "—"


def test_a_receiver_is_named_without_the_secrets_of_its_url():
    endpoint = WebhookEndpoint(url="https://name:word@runner.example:8443/hook?key=secret")
    assert portal.receiver(endpoint) == "runner.example:8443"
    endpoint.description = "The runner"
    assert portal.receiver(endpoint) == "The runner"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "—"), (0.0, "0 %"), (0.5, "50 %"), (0.9996, "99.9 %"), (1.0, "100 %")],
)
def test_less_than_all_is_never_a_hundred_percent(share: float | None, shown: str):
    assert portal.percent(share) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "—"), (0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (30_049, "30.0 s")],
)
def test_durations_are_short(count: int | None, shown: str):
    assert portal.milliseconds(count) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0"), (999, "999"), (1000, "1,000+")])
def test_a_backlog_is_counted_up_to_a_limit(count: int, shown: str):
    assert portal.backlog(count) == shown


def test_a_query_is_left_out_of_lists():
    assert portal.without_query("https://a.example/hook?key=1") == "https://a.example/hook?…"
    assert portal.without_query("https://a.example/hook") == "https://a.example/hook"


@pytest.mark.parametrize(
    ("aggregate_type", "payload", "shown"),
    [
        ("file", {"file": {"original_filename": "a.pdf"}}, "a.pdf"),
        ("batch", {"batch": {"name": "March"}}, "March"),
        ("batch", {"batch": {"name": ""}}, f"batch {UUID(int=1)}"),
        ("webhook", {"webhook": {"description": "", "host": "a.example"}}, "a.example"),
        ("workflow_run", {}, f"workflow_run {UUID(int=1)}"),
    ],
)
def test_an_event_is_named_by_what_it_is_about(aggregate_type: str, payload, shown: str):
    event = OutboxEvent(aggregate_type=aggregate_type, aggregate_id=UUID(int=1), payload=payload)
    assert portal.subject(event) == shown


def test_headers_are_listed_by_name():
    assert portal.header_lines({"X-B": "2", "host": "a", "accept": "1"}) == (
        "accept: 1\nhost: a\nX-B: 2"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.9, "12 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7260, "2 h 1 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_how_long_something_took_is_short(seconds: float, shown: str):
    start = timezone.now()
    assert portal.took(start, start + timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.000000", "0.00"),
        ("0.001230", "0.00123"),
        ("0.000001", "0.000001"),
        ("12.500000", "12.50"),
        ("1200.000000", "1,200.00"),
    ],
)
def test_an_amount_has_the_digits_that_say_something(value: str, shown: str):
    assert portal.amount(Decimal(value)) == shown


@pytest.mark.parametrize("control", ["\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2069"])
def test_controls_that_turn_text_around_are_made_visible(control: str):
    assert portal.visible(f"a{control}b") == "a\ufffdb"
    assert portal.visible("słońce \u05d0") == "słońce \u05d0"
