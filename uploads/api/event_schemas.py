"""Serving the schemas of events: public, for any web page and every cache."""

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import cache_control
from django.views.decorators.http import conditional_page

from common.http.problems import answers_problems
from common.outbox import schemas as event_schemas
from uploads.api.openapi import read_only


@read_only
@conditional_page
@answers_problems
@cache_control(public=True, max_age=3600)
def event_schema(_request: HttpRequest, event_type: str) -> HttpResponseBase:
    return JsonResponse(
        event_schemas.schema(event_type),
        content_type="application/schema+json",
        headers={"Access-Control-Allow-Origin": "*"},
        json_dumps_params={"indent": 2},
    )
