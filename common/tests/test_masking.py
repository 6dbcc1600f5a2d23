"""Secret addresses in logs."""

import pytest

from accounts.tokens import generate
from common.masking import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("/f/0123:sig", "/f/[hidden]"),
        ("GET /send/mistyped/pass/", "GET /send/[hidden]"),
        ("GET /share/mistyped/content", "GET /share/[hidden]"),
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


@pytest.mark.parametrize("prefix", ["drt_", "drg_", "drs_"])
def test_of_a_token_only_its_kind_is_shown(prefix):
    assert mask(f"Bearer {generate(prefix=prefix)} is wrong") == f"Bearer {prefix}[hidden] is wrong"


def test_a_secret_of_webhooks_is_hidden():
    assert mask('{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}') == (
        '{"secret": "whsec_[hidden]"}'
    )
