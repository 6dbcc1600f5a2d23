"""Logging in and out, registration, passwords."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, views
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django.views.generic import FormView

from accounts import tasks, throttle
from accounts.client_address import client_address
from accounts.models import User
from accounts.services import create_user
from common.errors import DooritoError, TooManyRequests
from frontend.forms.accounts import LoginForm, PasswordResetForm, RegistrationForm


class LoginView(views.LoginView):
    """The log-in page. `next` is followed within this portal only (Django checks it)."""

    template_name = "auth/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    @cached_property
    def extra_context(self) -> dict[str, bool]:  # type: ignore[override]
        return {"registration_open": settings.PORTAL_REGISTRATION_OPEN}


class LogoutView(views.LogoutView):
    """Logs out, by POST only: a link or an image on another site must not log anybody out."""

    next_page = "frontend:login"

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        response = super().post(request, *args, **kwargs)
        messages.success(request, "You are logged out.")
        return response


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@never_cache
def register(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("frontend:dashboard")
    if not settings.PORTAL_REGISTRATION_OPEN:
        return render(request, "auth/registration_closed.html", status=404)
    form = RegistrationForm(request.POST or None)
    if form.is_valid():
        user = _created(request, form)
        if user is not None:
            login(request, user)
            messages.success(request, "Welcome! Your account is ready.")
            return redirect(_next(request) or "frontend:upload")
    context = {"form": form, "next": _next(request)}
    return TemplateResponse(request, "auth/register.html", context)


def _next(request: HttpRequest) -> str:
    """Where to go afterwards, as the query or the form says; empty if outside of this portal."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else ""


def _created(request: HttpRequest, form: RegistrationForm) -> User | None:
    """The new account, or None with the reason in the form."""
    try:
        throttle.count_registration(address=client_address(request))
        return create_user(email=form.cleaned_data["email"], password=form.cleaned_data["password"])
    except TooManyRequests as refusal:
        form.refuse(refusal)
    except DooritoError as error:
        form.add_error("email", error.message)
    return None


class PasswordChangeView(views.PasswordChangeView):
    template_name = "pages/password_change.html"
    success_url = reverse_lazy("frontend:dashboard")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, "Your password is changed.")
        _remind_of_tokens(self.request)
        return response


class PasswordResetView(FormView):
    """Asks for a reset link. The answer is the same whether or not the address has an account.

    A task sends the mail.
    """

    template_name = "auth/password_reset.html"
    form_class = PasswordResetForm
    success_url = reverse_lazy("frontend:password_reset_sent")

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        email = form.cleaned_data["email"]
        try:
            throttle.count_reset(email=email, address=client_address(self.request))
        except TooManyRequests as refusal:
            form.refuse(refusal)
            return self.form_invalid(form)
        tasks.request_reset_link(email=email)
        return redirect(self.get_success_url())


class PasswordResetSentView(views.PasswordResetDoneView):
    template_name = "auth/password_reset_sent.html"


class PasswordResetConfirmView(views.PasswordResetConfirmView):
    template_name = "auth/password_reset_confirm.html"
    success_url = reverse_lazy("frontend:login")

    def form_valid(self, form: SetPasswordForm) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, "Your password is changed. Log in with it.")
        _remind_of_tokens(self.request)
        throttle.forget_failed_logins(email=form.user.email, address=client_address(self.request))
        return response


def _remind_of_tokens(request: HttpRequest) -> None:
    """Remind the user that API tokens stay valid, also those that somebody may have stolen."""
    reminder = 'API tokens still work: <a class="link" href="{}">revoke</a> any you do not trust.'
    messages.info(request, format_html(reminder, reverse("frontend:tokens")))
