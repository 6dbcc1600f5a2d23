from datetime import UTC, datetime, timedelta

import click
import pytest
from django.utils import timezone

from common.cli_params import Duration, PastMoment


@pytest.mark.parametrize(
    ("text", "span"), [("90s", timedelta(seconds=90)), ("8w", timedelta(weeks=8))]
)
def test_durations_have_units(text, span):
    assert Duration().convert(text, None, None) == span


@pytest.mark.parametrize("text", ["", "0s", "-1d", "30", "d", "1.5h", "30 d", "100000w", "٣d"])
def test_other_durations_are_refused(text):
    with pytest.raises(click.BadParameter, match="duration"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:01+02:00", datetime(2026, 11, 20, 8, 0, 1, tzinfo=UTC)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_moments_are_dates_in_utc_unless_they_say_otherwise(text, moment):
    assert PastMoment().convert(text, None, None) == moment


def test_moments_are_so_long_ago():
    before = timezone.now()
    moment = PastMoment().convert("2h", None, None)
    assert before <= moment + timedelta(hours=2) <= timezone.now()


def test_moments_that_are_yet_to_come_are_refused():
    with pytest.raises(click.BadParameter, match="yet to come"):
        PastMoment().convert("2999-01-01", None, None)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "10:00", "2h ago"])
def test_other_moments_are_refused(text):
    with pytest.raises(click.BadParameter, match="moment"):
        PastMoment().convert(text, None, None)
