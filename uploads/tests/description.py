"""Every JSON answer that a test gets is compared with the description of the API."""

import json
import re
from functools import cache
from typing import Any

from django.test import Client
from jsonschema import Draft202012Validator

from uploads.api import api
from uploads.tests.event_validation import FORMATS

JSON_TYPES = ("application/json", "application/problem+json")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    return json.loads(json.dumps(api.get_openapi_schema(), default=str))


def problems_of(method: str, path: str, response: Any) -> list[str]:
    """What of an answer the description does not say; nothing for an address that it lacks."""
    operation = _operations(path).get(method.lower())
    if operation is None:
        return []
    described = operation["responses"].get(str(response.status_code))
    if described is None:
        return [f"{method} {path} is not described to answer {response.status_code}"]
    media_type = response.get("Content-Type", "").split(";")[0]
    if media_type not in JSON_TYPES or response.status_code == 204:
        return []
    schema = described.get("content", {}).get(media_type, {}).get("schema")
    if schema is None:
        return [f"{method} {path}: {response.status_code} is not described as {media_type}"]
    errors = _validator(json.dumps(schema)).iter_errors(response.json())
    return [f"{method} {path}: {error.json_path}: {error.message}" for error in errors]


@cache
def _operations(path: str) -> dict[str, Any]:
    """The operations at an address, by their method; none where it is not of the API."""
    paths = document()["paths"]
    for template in sorted(paths, key=lambda path: "{" in path):  # those without variables first
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return paths[template]
    return {}


@cache
def _validator(schema: str) -> Draft202012Validator:
    whole = json.loads(schema) | {"components": document()["components"]}
    return Draft202012Validator(whole, format_checker=FORMATS)


class DescribedClient(Client):
    """Fails a test whose answer is not as the API describes it."""

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        assert problems_of(request["REQUEST_METHOD"], request["PATH_INFO"], response) == []
        return response
