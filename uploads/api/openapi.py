"""How the API describes itself: the OpenAPI document and the page that shows it."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation


class DescribedAPI(NinjaAPI):
    """django-ninja describes every answer as JSON; errors are problem documents here."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The function's name alone: generated clients must not change when a module moves."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **_kwargs: Any) -> OpenAPISchema:
        """The same document for everybody. It is only read: to make it takes a second of CPU."""
        return self._description

    @cached_property
    def _description(self) -> OpenAPISchema:
        schema = super().get_openapi_schema()
        for operations in schema["paths"].values():
            for operation in operations.values():
                _describe_problems(operation["responses"])
        return schema


def read_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """For the pages that describe the API: any other method is a 405, whoever asks."""
    return csrf_exempt(require_safe(view))


def _describe_problems(responses: dict[int, dict[str, Any]]) -> None:
    for status, answer in responses.items():
        if status >= 400 and "content" in answer:
            (schema,) = answer["content"].values()
            answer["content"] = {"application/problem+json": schema}
