"""API tokens: listing, creating, revoking."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from accounts.services import create_token, list_tokens, revoke_token
from common.errors import InvalidInput
from frontend.forms.tokens import TokenForm
from frontend.views import shown_once
from frontend.views.access import SignedInRequest, signed_in

_NEW = "text_of_new_token"  # in the session


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@sensitive_variables("text")
def tokens(request: SignedInRequest) -> HttpResponse:
    """List tokens; POST creates one and redirects to the one page that shows it."""
    form = TokenForm(request.POST or None)
    text = _created(request, form) if form.is_valid() else None
    if text:
        shown_once.keep(request, _NEW, text)
        return redirect("frontend:tokens")
    context = {
        "section": "tokens",
        "form": form,
        "text": shown_once.take(request, _NEW),
        "tokens": list_tokens(user=request.user),
        "now": timezone.now(),
        "public_url": settings.PUBLIC_URL,
    }
    return render(request, "pages/tokens.html", context)


@require_POST
@signed_in
def revoke(request: SignedInRequest, token_id: UUID) -> HttpResponse:
    token = revoke_token(user=request.user, token_id=token_id)
    messages.success(request, format_html("The token “<bdi>{}</bdi>” no longer works.", token.name))
    return redirect("frontend:tokens")


def _created(request: SignedInRequest, form: TokenForm) -> str | None:
    """The new token's text, or None with the reason in the form."""
    try:
        _, text = create_token(
            user=request.user,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires_at=form.expires_at(),
        )
    except InvalidInput as error:
        form.add_error("name", error.message)
        return None
    return text
