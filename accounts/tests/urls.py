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
def upload(request: HttpRequest) -> dict[str, str | None]:
    return {
        "email": request.user.email,
        "auth": request.auth.email,
        "token": request.token and request.token.name,
    }


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    try:
        user = Authenticator()(request)
    except DooritoError as error:
        return problem(request, error)
    return JsonResponse({"email": user.email})


urlpatterns = [
    path("api/", api.urls),
    path("plain/", plain),
]
