"""Forms for logging in, registering and asking for a new password."""

from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError

from accounts.forms import ThrottledAuthenticationForm, ThrottledForm
from accounts.models import User
from common import lengths


class LoginForm(ThrottledAuthenticationForm):
    # Django always calls the log-in name "username"; here it is an e-mail address.
    username = forms.EmailField(
        label="E-mail address",
        max_length=lengths.EMAIL,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )

    error_messages = {
        "invalid_login": "This e-mail address and password do not belong together. "
        "Check both; capital letters count in the password.",
        "inactive": "This account is switched off. Ask your administrator.",
    }


class RegistrationForm(ThrottledForm):
    email = forms.EmailField(
        label="E-mail address",
        max_length=lengths.EMAIL,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1024,
        help_text="At least 8 characters. A few words in a row make a good one.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        password = cleaned.get("password")
        if password:
            try:
                password_validation.validate_password(
                    password, User(email=cleaned.get("email") or "")
                )
            except ValidationError as error:
                self.add_error("password", error)
        return cleaned


class PasswordResetForm(ThrottledForm):
    email = forms.EmailField(
        label="E-mail address",
        max_length=lengths.EMAIL,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )
