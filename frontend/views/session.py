"""Lets the upload page check now and then that its account is still logged in."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.authentication import Authenticator
from common.http.problems import answers_problems

_authenticate = Authenticator()  # checks CSRF itself, and answers in problem documents


@csrf_exempt
@require_POST
@answers_problems
def renew(request: HttpRequest) -> HttpResponse:
    """Extend the session, so that it does not expire during an upload."""
    _authenticate(request)
    request.session["renewed_at"] = timezone.now().isoformat()  # renews the cookie too
    response = HttpResponse(status=204)
    add_never_cache_headers(response)
    return response
