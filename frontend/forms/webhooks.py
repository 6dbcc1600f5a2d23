"""Endpoints, what is listed of their deliveries and of events, and sending again."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateformat import format as format_date

from accounts.models import User
from accounts.services import get_user
from common.errors import DooritoError, NotFound
from common.models import DeliveryStatus, WebhookEndpoint
from common.outbox.types import event_types
from common.webhooks.endpoints import (
    DESCRIPTION_LENGTH,
    TIMEOUT_MAX,
    EndpointSettings,
    list_endpoints,
)

# Stands for the value of a header that is kept: values are never shown again.
KEPT = "••••••••"
ENDPOINTS_OFFERED = 200

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WAIT = re.compile(r"(\d{1,7})([dhms]?)")
# By hours.
_WINDOWS = {"1": "in the last hour", "24": "in the last 24 hours", "168": "in the last 7 days"}


class EndpointForm(forms.Form):
    """`common.webhooks.endpoints.check` judges the values; here they are only read."""

    url = forms.CharField(
        label="URL",
        help_text="Events are sent there by POST, as signed JSON.",
        widget=forms.URLInput(
            attrs={"autocomplete": "off", "placeholder": "https://runner.example.org/hook"}
        ),
    )
    description = forms.CharField(
        label="Name",
        required=False,
        max_length=DESCRIPTION_LENGTH,
        help_text="How it is called in lists and mails, for example “Transcriber”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    event_types = forms.MultipleChoiceField(label="Events", required=False)
    content_types = forms.CharField(
        label="Content types",
        required=False,
        help_text="One per line, such as application/pdf or image/*. Empty for all. "
        "Events that are not about a file always pass.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )
    user = forms.CharField(
        label="Only of the user",
        required=False,
        max_length=254,
        help_text="The e-mail address of an account. Empty for everybody's.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email"}),
    )
    batch_id = forms.UUIDField(
        label="Only of the batch",
        required=False,
        help_text="The id of a batch. Empty for all.",
        error_messages={"invalid": "This is not the id of a batch."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        help_text="Sent with every request, one “Name: value” per line, for example what the "
        f"receiver asks for as authorization. Saved values are not shown again: {KEPT} keeps one.",
        widget=forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off", "autocapitalize": "off"}
        ),
    )
    retry_schedule = forms.CharField(
        label="Retry schedule",
        required=False,
        max_length=500,
        help_text="The wait before each attempt, the first included, such as 0s, 5s, 5m, 2h, 1d. "
        "A number alone is in seconds.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    timeout_seconds = forms.IntegerField(
        label="Timeout in seconds",
        required=False,
        widget=forms.NumberInput(attrs={"min": 1, "max": TIMEOUT_MAX}),
    )

    def __init__(self, *args: Any, endpoint: WebhookEndpoint | None = None, **kwargs: Any) -> None:
        self._kept = (readable_headers(endpoint) or {}) if endpoint else {}
        kwargs["initial"] = _initial(endpoint, self._kept) if endpoint else {}
        super().__init__(*args, **kwargs)
        choices = [(value, value) for _, values in self.event_groups for value in values]
        self.fields["event_types"].choices = choices  # type: ignore[attr-defined]

    @property
    def event_groups(self) -> list[tuple[str, list[str]]]:
        """What can be subscribed to, by kind; `file.*` is all of a kind, later ones too."""
        return [
            (kind.label, [f"{kind.name}.*", *sorted(kind.examples)]) for kind in event_types.kinds
        ]

    def clean_content_types(self) -> list[str]:
        return _words(self.cleaned_data["content_types"])

    def clean_user(self) -> UUID | None:
        text = self.cleaned_data["user"]
        try:
            return UUID(text) if text else None
        except ValueError:
            return self._user_id(text)

    def _user_id(self, email: str) -> UUID:
        try:
            return get_user(email=email).id
        except NotFound as exc:
            raise ValidationError("No account has this e-mail address.") from exc

    def clean_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for line in filter(None, map(str.strip, self.cleaned_data["headers"].splitlines())):
            name, colon, value = (part.strip() for part in line.partition(":"))
            if not colon:
                raise ValidationError("Write each header as “Name: value”, one per line.")
            if name.lower() in map(str.lower, headers):
                raise ValidationError(f"The header {name} is there twice.")
            headers[name] = self._kept_value(name) if value == KEPT else value
        return headers

    def _kept_value(self, name: str) -> str:
        kept = {known.lower(): value for known, value in self._kept.items()}
        if name.lower() not in kept:
            raise ValidationError(f"No value of {name} is saved: write it out.")
        return kept[name.lower()]

    def clean_retry_schedule(self) -> list[int] | None:
        return [_seconds(word) for word in _words(self.cleaned_data["retry_schedule"])] or None

    def settings(self) -> EndpointSettings:
        values = dict(self.cleaned_data)
        return EndpointSettings(user_id=values.pop("user"), **values)

    def refuse(self, error: DooritoError) -> None:
        """Show an error of the service at the field that it is about."""
        field = {"user_id": "user"}.get(error.extra["field"], error.extra["field"])
        self.add_error(field, error.message)


def readable_headers(endpoint: WebhookEndpoint) -> dict[str, str] | None:
    """An endpoint's own headers; None when the key that they were encrypted with is lost."""
    try:
        return endpoint.headers
    except DooritoError:
        return None


def email_of(user_id: UUID | None) -> str | None:
    """The address of an account; its id when it is gone."""
    if user_id is None:
        return None
    return User.objects.filter(id=user_id).values_list("email", flat=True).first() or str(user_id)


def waits(seconds: list[int]) -> str:
    """A retry schedule as it is written in the form: `0s, 5s, 30m, 2h`."""
    return ", ".join(map(_wait, seconds))


def _wait(seconds: int) -> str:
    unit, length = next(
        (unit for unit in _UNITS.items() if seconds and seconds % unit[1] == 0), ("s", 1)
    )
    return f"{seconds // length}{unit}"


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").split()


def _seconds(text: str) -> int:
    match = _WAIT.fullmatch(text)
    if match is None:
        raise ValidationError(f"{text} is no wait: write 30s, 5m, 2h or 1d.")
    return int(match[1]) * _UNITS[match[2] or "s"]


def _initial(endpoint: WebhookEndpoint, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": [] if "*" in endpoint.event_types else endpoint.event_types,
        "content_types": "\n".join(endpoint.content_types),
        "user": email_of(endpoint.user_id),
        "batch_id": endpoint.batch_id,
        "headers": "\n".join(f"{name}: {KEPT}" for name in headers),
        "retry_schedule": waits(endpoint.retry_schedule or []),
        "timeout_seconds": endpoint.timeout_seconds,
    }


class DeliveryFilterForm(forms.Form):
    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "All states"), *DeliveryStatus.choices]
    )


class EventFilterForm(DeliveryFilterForm):
    event_type = forms.ChoiceField(
        label="Type",
        required=False,
        choices=lambda: [("", "All types"), *((name, name) for name in sorted(event_types))],
    )


class RecoverForm(forms.Form):
    """Since when: one of some spans, or a time of one's own, which goes first."""

    window = forms.ChoiceField(label="What failed or was missed", required=False)
    at = forms.DateTimeField(
        label="Or since another time (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def __init__(self, *args: Any, since: datetime | None = None, **kwargs: Any) -> None:
        """`since` is when the trouble began, if that is known: it is proposed."""
        super().__init__(*args, **kwargs)
        choices = list(_WINDOWS.items())
        if since:
            label = f"since it began, {format_date(since, 'j M H:i')} UTC"
            choices.insert(0, (since.isoformat(), label))
        self.fields["window"].choices = choices  # type: ignore[attr-defined]

    def clean_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["at"]
        if at and at > timezone.now():
            raise ValidationError("This time is yet to come.")
        return at

    def since(self) -> datetime:
        at: datetime | None = self.cleaned_data["at"]
        window: str = self.cleaned_data["window"] or "1"
        if at:
            return at
        if window in _WINDOWS:
            return timezone.now() - timedelta(hours=int(window))
        return datetime.fromisoformat(window)


class RedeliverForm(forms.Form):
    """To whom an event is sent again; nobody chosen means all that it was meant for."""

    endpoint = forms.TypedChoiceField(
        label="Send again to", required=False, coerce=UUID, empty_value=None
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        active = list_endpoints().filter(is_active=True)[:ENDPOINTS_OFFERED]
        self.fields["endpoint"].choices = [  # type: ignore[attr-defined]
            ("", "all that it was meant for"),
            *((str(endpoint.id), endpoint.description or endpoint.host) for endpoint in active),
        ]
