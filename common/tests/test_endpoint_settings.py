"""What can be chosen about an endpoint: how it is written, and whether it can work."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from common.errors import InvalidInput
from common.ids import uuid7
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint
from common.webhooks import endpoint_settings
from common.webhooks.endpoint_settings import (
    KEPT,
    EndpointSettings,
    read_headers,
    read_schedule,
    read_user,
    read_words,
    write_headers,
    write_schedule,
    write_user,
)

URL = "http://127.0.0.1:8000/hook"


# --- As people write it ----------------------------------------------------------------------


def test_words_stand_between_commas_blanks_and_line_ends() -> None:
    assert read_words("Image/*,a/b  c/d\n e/f\r\n") == ["image/*", "a/b", "c/d", "e/f"]
    assert read_words(" \n") == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", [0]),
        ("0, 5s 5m,2H 1d", [0, 5, 300, 7200, 86_400]),
        ("90", [90]),
        ("0s, 1w", [0, 604_800]),
        ("", None),
        (" ,\n", None),
    ],
)
def test_a_schedule_is_waits_with_units(text: str, seconds: list[int] | None) -> None:
    assert read_schedule(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "٣", "5 x", "5ss", "s"])
def test_another_schedule_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_schedule(text)

    assert refused.value.extra["field"] == "retry_schedule"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [([], ""), ([0], "0s"), ([60, 61], "1m, 61s"), ([7200, 86_400], "2h, 1d")],
)
def test_a_schedule_is_written_in_the_largest_unit_that_fits(
    seconds: list[int], written: str
) -> None:
    assert write_schedule(seconds) == written
    assert read_schedule(written) == (seconds or None)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer a:b\r\n\r\n X-Team :  north ",
        '{"Authorization": "Bearer a:b", "X-Team": "north"}',
        ' \n{"Authorization": "Bearer a:b",\n"X-Team": "north"}\n',
    ],
)
def test_headers_are_lines_or_a_json_object(text: str) -> None:
    assert read_headers(text) == {"Authorization": "Bearer a:b", "X-Team": "north"}


@pytest.mark.parametrize(
    "text",
    [
        "no colon",
        "X-Twice: a\nX-Twice: b",
        "X-Twice: a\nx-twice: b",
        '{"X-Twice": "a", "x-twice": "b"}',
        '{"X-Twice": "a", "X-Twice": "b"}',
        '{"X-Number": 1}',
        '{"X-Open": ',
        '{"X":' * 100_000,
        f"X-New: {KEPT}",
    ],
    ids=lambda text: text[:20],
)
def test_other_headers_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_headers(text, stored={"X-Other": "hidden"})

    assert refused.value.extra["field"] == "headers"


def test_a_header_whose_name_was_forgotten_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_headers("hush")

    assert "hush" not in refused.value.message


def test_stored_values_are_kept_replaced_and_dropped_but_not_written() -> None:
    stored = {"X-Keep": "hidden-1", "X-New": "hidden-2", "X-Drop": "hidden-3"}

    read = read_headers(f"x-keep: {KEPT}\nX-New: other", stored=stored)

    assert read == {"x-keep": "hidden-1", "X-New": "other"}
    written = write_headers(WebhookEndpoint(url=URL, headers=stored))
    assert written == f"X-Keep: {KEPT}\nX-New: {KEPT}\nX-Drop: {KEPT}"
    assert read_headers(written, stored=stored) == stored


@pytest.mark.django_db
def test_a_user_is_named_by_address_or_id() -> None:
    user = get_user_model().objects.create_user("ada@example.org", "pw")
    gone = uuid7()

    assert read_user("ADA@example.org") == read_user(str(user.pk)) == user.pk
    assert read_user("") is None
    assert read_user(str(gone)) == gone  # a filter by somebody who is gone stays
    assert write_user(user.pk) == "ada@example.org"
    assert write_user(gone) == str(gone)
    assert write_user(None) == ""


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["nobody@example.org", "nul\x00@example.org"])
def test_an_unknown_user_is_refused(email: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_user(email)

    assert (refused.value.code, refused.value.extra["field"]) == ("webhook_user_unknown", "user_id")


@pytest.mark.django_db
def test_headers_whose_key_is_lost_are_none(settings: Any) -> None:
    make_endpoint(headers={"a": "b"})
    settings.SECRET_KEY = "another"
    endpoint = WebhookEndpoint.objects.get()

    assert endpoint_settings.readable_headers(endpoint) is None
    assert write_headers(endpoint) == ""


# --- Whether it can work ---------------------------------------------------------------------


def take(**chosen: Any) -> None:
    endpoint_settings.check(EndpointSettings(**{"url": URL} | chosen))


def assert_refused(code: str, field: str, **chosen: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        take(**chosen)
    assert (refused.value.code, refused.value.extra["field"]) == (code, field)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org/", "webhook_url_invalid"),
        ("http://127.0.0.1:8000/" + "x" * 2048, "webhook_url_invalid"),
        ("http://127.0.0.1:8000/\x00", "webhook_url_invalid"),
        ("http://127.0.0.1:8000/\udcff", "webhook_url_invalid"),
        ("http://10.0.0.1/", "webhook_url_not_public"),
    ],
)
def test_a_url_that_the_guard_refuses_is_refused(url: str, code: str) -> None:
    assert_refused(code, "url", url=url)


def test_loopback_is_refused_where_the_setting_says_so(settings: Any) -> None:
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False

    assert_refused("webhook_url_not_public", "url", url=URL)


@pytest.mark.parametrize("pattern", ["file.uploaded", "file.*", "batch.*", "*", "webhook.disabled"])
def test_known_event_types_are_taken(pattern: str) -> None:
    take(event_types=[pattern])


@pytest.mark.parametrize(
    "pattern",
    ["file.upload", "files.*", "file", "file.", "", "File.*", "**", "file.\x00", "file.\udcff"],
)
def test_a_filter_that_can_never_match_is_refused(pattern: str) -> None:
    assert_refused("webhook_event_type_unknown", "event_types", event_types=["file.*", pattern])


@pytest.mark.parametrize("description", ["x" * 256, "byte \udcff", "nul\x00"])
def test_a_description_that_the_database_cannot_keep_is_refused(description: str) -> None:
    assert_refused("webhook_description_invalid", "description", description=description)


def test_the_longest_description_is_taken() -> None:
    take(description="ä" * 255)


@pytest.mark.parametrize(
    "pattern",
    ["application/pdf", "image/*", "*/*", "application/vnd.ms-excel.sheet.macroenabled.12"],
)
def test_content_types_are_taken(pattern: str) -> None:
    take(content_types=[pattern])


@pytest.mark.parametrize(
    "pattern",
    ["pdf", "*", "*/pdf", "image/", "/png", "Image/png", "a/b; c=d", "a/" + "b" * 254, ""],
)
def test_what_is_no_content_type_is_refused(pattern: str) -> None:
    assert_refused("webhook_content_type_invalid", "content_types", content_types=["a/b", pattern])


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer x"},
        {"X-Empty": ""},
        {"X-Tab": "a\tb"},
        {"X-Long": "v" * 4096},
        {f"X-{number}": "v" for number in range(20)},
    ],
)
def test_headers_are_taken(headers: dict[str, str]) -> None:
    take(headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"": "v"},
        {"with space": "v"},
        {"colon:": "v"},
        {"Größe": "v"},
        {"X-Lines": "a\r\nInjected: b"},
        {"X-Nul": "a\x00"},
        {"X-Umlaut": "ä"},
        {"X-Long": "v" * 4097},
        {"Host": "elsewhere.example"},
        {"content-length": "3"},
        {"Transfer-Encoding": "chunked"},
        {"Webhook-Id": "forged"},
        {"X-Webhook-Signature": "forged"},
        {"Proxy-Authorization": "v"},
        {"X-Twice": "a", "x-twice": "b"},
        {f"X-{number}": "v" for number in range(21)},
    ],
)
def test_headers_that_would_break_or_forge_the_request_are_refused(headers: dict[str, str]) -> None:
    assert_refused("webhook_header_invalid", "headers", headers=headers)


@pytest.mark.parametrize("schedule", [[0], [604_800], [0] * 20])
def test_a_schedule_of_its_own_is_taken(schedule: list[int]) -> None:
    take(retry_schedule=schedule)


@pytest.mark.parametrize("schedule", [[], [0] * 21, [-1], [0, 604_801]])
def test_a_schedule_without_sense_is_refused(schedule: list[int]) -> None:
    assert_refused("webhook_schedule_invalid", "retry_schedule", retry_schedule=schedule)


@pytest.mark.parametrize("timeout", [1, 60])
def test_a_timeout_of_its_own_is_taken(timeout: int) -> None:
    take(timeout_seconds=timeout)


@pytest.mark.parametrize("timeout", [-1, 0, 61])
def test_a_timeout_without_sense_is_refused(timeout: int) -> None:
    assert_refused("webhook_timeout_invalid", "timeout_seconds", timeout_seconds=timeout)
