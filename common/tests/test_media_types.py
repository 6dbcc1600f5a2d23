"""One rule for content types and patterns of them."""

import pytest

from common import media_types


@pytest.mark.parametrize(
    ("pattern", "content_type", "fits"),
    [
        ("application/pdf", "application/pdf", True),
        ("application/pdf", "application/pdfx", False),
        ("image/*", "image/png", True),
        ("image/*", "images/png", False),
        ("image/*", "image", False),
        ("*/*", "image/png", True),
        ("application/vnd.*", "application/vnd.ms-excel", False),
        ("image/[a-z]*", "image/png", False),
    ],
)
def test_a_pattern_names_a_type_a_family_or_all(pattern, content_type, fits):
    assert media_types.is_in([pattern], content_type) is fits
    assert media_types.is_in(["text/x", pattern], content_type) is fits
    assert not media_types.is_in([], content_type)


@pytest.mark.parametrize("text", ["application/pdf", "image/*", "*/*", "image/svg+xml"])
def test_these_are_patterns(text):
    assert media_types.is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "pdf", ".pdf", "*/pdf", "image/", "/png", "image/p*", "Image/png", "a/b; c=d"),
        "a/" + "b" * 254,
    ],
)
def test_these_are_none(text):
    assert not media_types.is_pattern(text)
