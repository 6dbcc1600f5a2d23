"""How the API describes itself: the OpenAPI document and the page that shows it."""

from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any

from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from common.http.problems import STATUSES, Problem

# django-ninja would make a model of each for every operation, a thousand at each start.
_PROBLEMS: dict[int, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for status in STATUSES
}


class DescribedAPI(NinjaAPI):
    """Every operation can answer with each of the problem documents."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The function's name alone: generated clients must not change when a module moves."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **_kwargs: Any) -> OpenAPISchema:
        """The same document for everybody. It is only read: to make it takes a second of CPU."""
        return self._description

    @cached_property
    def _description(self) -> OpenAPISchema:
        schema = super().get_openapi_schema()
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].update(_PROBLEMS)
        return schema


def read_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """For the pages that describe the API: any other method is a 405, whoever asks."""
    return csrf_exempt(require_safe(view))
