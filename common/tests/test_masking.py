"""Secret addresses in logs."""

import logging
import sys

import pytest

from common.masking import MaskingFormatter, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("/f/0123:sig", "/f/[hidden]"),
        ("Error: /c/0123:sig?inline=1", "Error: /c/[hidden]"),
        (
            "POST /api/v1/runs/callback/0123:sig failed",
            "POST /api/v1/runs/callback/[hidden] failed",
        ),
        ("'/app/password/reset/MQ/abc-123/'", "'/app/password/reset/[hidden]'"),
        ("to https://files.example.com:8/f/0123:sig.", "to https://files.example.com:8/f/[hidden]"),
        ("GET /api/v1/files/0123/content", "GET /api/v1/files/0123/content"),
        ('File "/srv/c/doorito/f/views.py", line 1', 'File "/srv/c/doorito/f/views.py", line 1'),
    ],
)
def test_what_follows_a_secret_prefix_is_hidden(text, masked):
    assert mask(text) == masked


def test_arguments_and_errors_are_masked_too():
    try:
        raise ValueError("no answer from http://localhost/f/0123:sig")
    except ValueError:
        failed = sys.exc_info()
    record = logging.LogRecord("a", logging.ERROR, "", 1, "failed: %s", ("/c/45:sig",), failed)
    written = MaskingFormatter().format(record)
    assert "failed: /c/[hidden]" in written
    assert "http://localhost/f/[hidden]" in written
    assert "sig" not in written
