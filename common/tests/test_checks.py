import pytest
from django.core import checks

from common.tests.certificates import make_certificates


def problems():
    """By their ids; of several with one id, the last."""
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
        ("PORTAL_WEBHOOK_CONCURRENCY", 0, "common.E003"),
        ("PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT", 0, "common.E003"),
        ("PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT", 257, "common.E004"),
        ("PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES", -1, "common.E003"),
        ("PORTAL_WEBHOOK_DISABLE_AFTER_HOURS", -1, "common.E003"),
        ("PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS", -1, "common.E003"),
        ("PORTAL_WEBHOOK_DETAIL_HOURS", 0, "common.E003"),
        ("OUTBOX_SWEEP_INTERVAL_MINUTES", 0, "common.E003"),
        ("OUTBOX_RETENTION_HOURS", 0, "common.E003"),
        ("PORTAL_RETRY_SCHEDULE", [10**11], "common.E001"),
        ("OUTBOX_RETENTION_HOURS", 10**11, "common.E003"),
        ("PORTAL_WEBHOOK_DETAIL_HOURS", 10**11, "common.E003"),
        ("PORTAL_WEBHOOK_TIMEOUT_SECONDS", 10**11, "common.E003"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(settings, name, value, identifier):
    settings.PORTAL_WEBHOOK_CONCURRENCY = 256
    setattr(settings, name, value)

    assert name in problems()[identifier]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTAL_RETRY_SCHEDULE", [0]),
        ("PORTAL_WEBHOOK_CONCURRENCY", 32),
        ("PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT", 256),
        ("PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES", 0),
        ("PORTAL_WEBHOOK_DISABLE_AFTER_HOURS", 0),
        ("PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS", 0),
        ("PORTAL_WEBHOOK_DETAIL_HOURS", 1),
    ],
)
def test_the_last_right_value_is_taken(settings, name, value):
    settings.PORTAL_WEBHOOK_CONCURRENCY = 256
    settings.PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT = 32
    setattr(settings, name, value)

    assert not {identifier for identifier in problems() if identifier.startswith("common.")}


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read (No such file"), (b"not PEM", "no certificate in PEM form")],
)
def test_a_file_of_authorities_that_cannot_be_used_is_refused(settings, tmp_path, content, told):
    settings.PORTAL_CA_BUNDLE = tmp_path / "authorities.pem"
    if content is not None:
        settings.PORTAL_CA_BUNDLE.write_bytes(content)

    problem = problems()["common.E005"]

    assert problem.startswith(f"PORTAL_CA_BUNDLE: {settings.PORTAL_CA_BUNDLE} cannot be used")
    assert told in problem


def test_a_file_of_authorities_is_taken(settings, tmp_path):
    settings.PORTAL_CA_BUNDLE, _ = make_certificates(tmp_path, host="runner.example")

    assert "common.E005" not in problems()
