"""Forms whose submissions are limited in number."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.views.decorators.debug import sensitive_variables

from accounts import throttle
from accounts.client_address import client_address
from common.errors import TooManyRequests


class ThrottledForm(forms.Form):
    """A form that says how long to wait; RefusedFormMiddleware sets the status of its page."""

    refusal: TooManyRequests | None = None

    def refuse(self, refusal: TooManyRequests) -> None:
        self.refusal = refusal
        self.add_error(None, refusal.message)


class ThrottledAuthenticationForm(ThrottledForm, AuthenticationForm):
    """Limits log-in attempts, both on the portal's page and in the admin.

    This is not an authentication backend, because sessions store the name of the backend that
    created them: a new name would end all of them.
    """

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        email = self.cleaned_data.get("username")
        if email is None or not self.cleaned_data.get("password"):
            return super().clean()  # nothing to check
        address = client_address(self.request) if self.request else ""
        try:
            attempt = throttle.begin_login(email=email, address=address)
        except TooManyRequests as refusal:
            self.refuse(refusal)
            return self.cleaned_data
        try:
            return super().clean()
        finally:
            if self.user_cache is not None:
                throttle.succeeded(attempt)
