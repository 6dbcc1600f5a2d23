"""Events against their published schemas."""

import json
from datetime import datetime
from functools import cache

from jsonschema import Draft202012Validator, FormatChecker

from common.models import OutboxEvent
from common.outbox import envelopes
from common.outbox import schemas as event_schemas

FORMATS = FormatChecker(["uuid"])


@FORMATS.checks("date-time", ValueError)
def _is_date_time(value: object) -> bool:
    """RFC 3339: with a zone. (jsonschema checks it with a further package only.)"""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@cache
def validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(event_schemas.schema(event_type), format_checker=FORMATS)


class Observer:
    """Notes each event that is written, as a receiver would get it."""

    def __init__(self) -> None:
        self._emitted: list[bytes] = []

    def __call__(self, *, instance: OutboxEvent, created: bool, **_: object) -> None:
        if created:
            self._emitted.append(envelopes.body(instance))

    def problems(self) -> list[str]:
        events = [json.loads(body) for body in self._emitted]
        return [
            f"{event['type']}: {error.json_path}: {error.message}"
            for event in events
            for error in validator(event["type"]).iter_errors(event)
        ]
