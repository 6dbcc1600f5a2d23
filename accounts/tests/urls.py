"""A portal in miniature: one ninja API and one plain view behind the Authenticator."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from accounts.authentication import Authenticator
from accounts.models import TokenScope
from common.errors import DooritoError

api = NinjaAPI(urls_namespace="accounts-tests")


@api.exception_handler(DooritoError)
def problem(request: HttpRequest, error: DooritoError) -> HttpResponse:
    return JsonResponse({"code": error.code, "detail": error.message}, status=error.status)


@api.api_operation(
    ["GET", "POST", "PUT", "DELETE"], "/upload", auth=Authenticator(TokenScope.UPLOAD)
)
def upload(request: HttpRequest) -> dict[str, object]:
    assert request.auth is request.principal
    return {
        "email": request.user.email,
        "owner": request.principal.owner.email,
        "actor": request.principal.actor.kind,
        "label": request.principal.actor.label,
        "scopes": sorted(request.principal.scopes),
    }


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    try:
        principal = Authenticator()(request)
    except DooritoError as error:
        return problem(request, error)
    return JsonResponse({"email": principal.owner.email})


urlpatterns = [
    path("api/", api.urls),
    path("plain/", plain),
]
