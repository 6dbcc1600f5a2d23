from datetime import timedelta

import pytest
from django.utils import timezone

from common.models import WebhookEndpoint
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
