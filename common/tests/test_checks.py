import pytest
from django.core import checks


def problems():
    return {problem.id: problem.msg for problem in checks.run_checks()}


def test_the_settings_of_the_tests_are_right():
    assert not {identifier for identifier in problems() if identifier.startswith("common.")}


@pytest.mark.parametrize(
    ("name", "value", "identifier"),
    [
        ("PORTAL_RETRY_SCHEDULE", [], "common.E001"),
        ("PORTAL_RETRY_SCHEDULE", [0, -1], "common.E001"),
        ("PORTAL_WEBHOOK_ALLOWED_CIDRS", ["10.0.0.0/8", "10.0.0.1/8"], "common.E002"),
        ("PORTAL_WEBHOOK_ALLOWED_CIDRS", ["example.org"], "common.E002"),
        ("PORTAL_WEBHOOK_TIMEOUT_SECONDS", 0, "common.E003"),
        ("OUTBOX_SWEEP_INTERVAL_MINUTES", 0, "common.E003"),
        ("OUTBOX_RETENTION_HOURS", 0, "common.E003"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(settings, name, value, identifier):
    setattr(settings, name, value)

    assert name in problems()[identifier]
