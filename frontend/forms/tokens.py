"""The form for a new API token."""

from datetime import datetime, timedelta

from django import forms

from accounts.models import TokenScope
from common import lengths
from common.db import database_now


class TokenForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=lengths.TOKEN_NAME,
        help_text="What will use it, for example “nightly backup”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    days = forms.TypedChoiceField(
        label="Good for",
        coerce=int,
        choices=[("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("0", "no end")],
        initial="90",
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=TokenScope.choices,
        initial=list(TokenScope.values),
        error_messages={"required": "Choose at least one thing that the token may do."},
    )

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["days"]
        return database_now() + timedelta(days=days) if days else None
