"""Content types and their patterns: one rule for webhooks, workflows and accepted uploads."""

import pytest

from common.content_types import is_pattern, matches


@pytest.mark.parametrize(
    "text",
    ["application/pdf", "image/*", "*/*", "application/vnd.ms-excel", "image/svg+xml", "a/b"],
)
def test_a_type_or_a_pattern_of_some_is_one(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "pdf", "image/", "/png", "image/p*", "Image/PNG", "a b/c", "a/b/c"),
        "text/plain; x=y",
        f"a/{'b' * 254}",
    ],
)
def test_what_is_no_type_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("patterns", "content_type", "expected"),
    [
        ([], "image/png", False),
        (["image/png"], "image/png", True),
        (["IMAGE/PNG"], "image/png", True),
        (["image/*"], "image/png", True),
        (["image/*"], "imagery/png", False),
        (["text/plain", "image/*"], "image/png", True),
        (["*/*"], "image/png", True),
        (["*"], "image/png", True),
        (["image/p?g"], "image/png", False),
        (["image/png"], "", False),
    ],
)
def test_a_type_is_taken_by_its_name_or_kind(
    patterns: list[str], content_type: str, expected: bool
) -> None:
    assert matches(patterns, content_type) is expected
