"""The form for a webhook endpoint, used by the pages and the admin."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError

from common import lengths
from common.errors import DooritoError, InvalidInput
from common.models import WebhookEndpoint
from common.outbox.types import event_types
from common.webhooks import endpoint_settings
from common.webhooks.endpoint_settings import (
    KEPT,
    TIMEOUT_MAX,
    EndpointSettings,
)

_PLAIN = {"autocomplete": "off", "spellcheck": "false"}


class EndpointForm(forms.Form):
    """Parses the input; `endpoint_settings.check` checks it."""

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
        max_length=lengths.DESCRIPTION,
        help_text="How it is called in lists and mails, for example “Transcriber”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    event_types = forms.MultipleChoiceField(
        label="Events",
        required=False,
        choices=lambda: [
            (label, [(name, name) for name in names]) for label, names in event_groups()
        ],
        widget=forms.CheckboxSelectMultiple,
        help_text="None takes all.",
    )
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
        max_length=lengths.EMAIL,
        help_text="The e-mail address of an account. Empty for everybody's.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email"}),
    )
    batch_id = forms.UUIDField(
        label="Only of the batch",
        required=False,
        help_text="The id of a batch. Empty for all.",
        error_messages={"invalid": "This is not the id of a batch."},
        widget=forms.TextInput(attrs=_PLAIN),
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        help_text="Sent with every request, one “Name: value” per line, for example what the "
        f"receiver asks for as authorization. Saved values are not shown again: {KEPT} keeps one.",
        widget=forms.Textarea(attrs={"rows": 3, "autocapitalize": "off", **_PLAIN}),
    )
    retry_schedule = forms.CharField(
        label="Retry schedule",
        required=False,
        max_length=500,
        help_text="The wait before each attempt, the first included, such as 0s, 5s, 5m, 2h, 1d. "
        "A number alone is in seconds.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    timeout_seconds = forms.IntegerField(
        label="Timeout in seconds",
        required=False,
        widget=forms.NumberInput(attrs={"min": 1, "max": TIMEOUT_MAX}),
    )

    def __init__(self, *args: Any, endpoint: WebhookEndpoint | None = None, **kwargs: Any) -> None:
        self._stored_headers = endpoint and endpoint_settings.readable_headers(endpoint)
        if endpoint:
            kwargs["initial"] = _written(endpoint)
        super().__init__(*args, **kwargs)

    @property
    def event_groups(self) -> list[tuple[str, list[str]]]:
        return event_groups()

    def clean_content_types(self) -> list[str]:
        return endpoint_settings.read_words(self.cleaned_data["content_types"])

    def clean_user(self) -> UUID | None:
        return _read(endpoint_settings.read_user, self.cleaned_data["user"])

    def clean_headers(self) -> dict[str, str]:
        text = self.cleaned_data["headers"]
        return _read(endpoint_settings.read_headers, text, stored=self._stored_headers)

    def clean_retry_schedule(self) -> list[int] | None:
        return _read(endpoint_settings.read_schedule, self.cleaned_data["retry_schedule"])

    def settings(self) -> EndpointSettings:
        values = dict(self.cleaned_data)
        return EndpointSettings(user_id=values.pop("user"), **values)

    def refuse(self, error: DooritoError) -> None:
        """Show an error of the service at its field."""
        field = {"user_id": "user"}.get(error.extra["field"], error.extra["field"])
        self.add_error(field, ValidationError(error.message, code=error.code))


def event_groups() -> list[tuple[str, list[str]]]:
    """What can be subscribed to, by kind; `file.*` is all of a kind, later ones too."""
    return [(kind.label, [f"{kind.name}.*", *sorted(kind.examples)]) for kind in event_types.kinds]


def _read[T](read: Callable[..., T], text: str, **options: Any) -> T:
    try:
        return read(text, **options)
    except InvalidInput as exc:
        raise ValidationError(exc.message, code=exc.code) from exc


def _written(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": [] if "*" in endpoint.event_types else endpoint.event_types,
        "content_types": "\n".join(endpoint.content_types),
        "user": endpoint_settings.write_user(endpoint.user_id),
        "batch_id": endpoint.batch_id,
        "headers": endpoint_settings.write_headers(endpoint),
        "retry_schedule": endpoint_settings.write_schedule(endpoint.retry_schedule or []),
        "timeout_seconds": endpoint.timeout_seconds,
    }
