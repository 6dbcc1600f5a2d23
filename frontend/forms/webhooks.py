"""Forms to filter deliveries and events, and to send them again."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateformat import format as format_date

from common.models import DeliveryStatus
from common.outbox.types import event_types
from common.webhooks.endpoints import list_endpoints

ENDPOINTS_OFFERED = 200

# Keys are numbers of hours.
_WINDOWS = {"1": "in the last hour", "24": "in the last 24 hours", "168": "in the last 7 days"}


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
    """Since when to recover: one of the offered spans, or a typed time, which takes precedence."""

    window = forms.ChoiceField(label="What failed or was missed", required=False)
    at = forms.DateTimeField(
        label="Or since another time (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def __init__(self, *args: Any, since: datetime | None = None, **kwargs: Any) -> None:
        """`since` is when the trouble began, if known; the form proposes it."""
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
    """The endpoints to send an event to again; if none is chosen, all that it was meant for."""

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
