"""System checks of the settings for outgoing requests. Wrong ones are refused at start, by name."""

import ipaddress
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from common.net import tls


@register()
def check_allowed_cidrs(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PORTAL_WEBHOOK_ALLOWED_CIDRS: {block!r} is not a network such as 10.1.0.0/16.",
            id="common.E002",
        )
        for block in settings.PORTAL_WEBHOOK_ALLOWED_CIDRS
        if not _is_network(block)
    ]


def _is_network(block: str) -> bool:
    try:
        ipaddress.ip_network(block)
    except ValueError:
        return False
    return True


@register()
def check_ca_bundle(**_: Any) -> list[CheckMessage]:
    bundle = settings.PORTAL_CA_BUNDLE
    if not bundle or not (problem := tls.bundle_problem(bundle)):
        return []
    return [
        Error(
            f"PORTAL_CA_BUNDLE: {bundle} cannot be used: {problem}. It must be a file of one or "
            "more certificates in PEM form.",
            id="common.E005",
        )
    ]
