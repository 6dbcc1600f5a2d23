"""The admin's form for a webhook endpoint."""

import json
from collections.abc import Mapping

from django import forms
from django.contrib.admin import widgets
from django.core.exceptions import ValidationError

from common.errors import DooritoError, InvalidInput
from common.models import WebhookEndpoint
from common.outbox.types import event_types
from common.webhooks import endpoints

CHOSEN = (  # about an endpoint, beside its headers
    "url",
    "description",
    "event_types",
    "content_types",
    "user_id",
    "batch_id",
    "retry_schedule",
    "timeout_seconds",
)


def _patterns() -> list[tuple[str, str]]:
    kinds = sorted(f"{kind.name}.*" for kind in event_types.kinds)
    return [(name, name) for name in ["*", *kinds, *sorted(event_types)]]


def parsed_headers(text: str) -> dict[str, str]:
    """Of a JSON object or of lines `Name: value`. Raises ValidationError."""
    if text.lstrip().startswith("{"):
        return _headers_of_json(text)
    headers = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = map(str.strip, line.partition(":"))
        if not colon or name in headers:
            raise ValidationError("Write each header once, in a line of its own: Name: value")
        headers[name] = value
    return headers


def _headers_of_json(text: str) -> dict[str, str]:
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValidationError(f"This is no JSON: {exc}") from exc
    if not all(isinstance(value, str) for value in headers.values()):
        raise ValidationError("The value of each header must be text.")
    return headers


class EndpointForm(forms.ModelForm):
    """What can be chosen about an endpoint; the service says whether it can work."""

    url = forms.CharField(
        label="URL", max_length=endpoints.URL_LENGTH, widget=widgets.AdminURLFieldWidget
    )
    event_types = forms.MultipleChoiceField(
        choices=_patterns,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None takes all.",
    )
    # Not named as the model's fields: what is stored is never shown again.
    new_headers = forms.CharField(
        label="Headers",
        required=False,
        strip=False,
        widget=widgets.AdminTextareaWidget(attrs={"rows": 4, "autocomplete": "off"}),
        help_text="Lines “Name: value”, or a JSON object, that go with every attempt. They take "
        "the place of those that are stored; left empty, these stay.",
    )
    without_headers = forms.BooleanField(label="Remove all headers", required=False)

    chosen: endpoints.EndpointSettings

    class Meta:
        model = WebhookEndpoint
        fields = CHOSEN
        help_texts = {
            "content_types": "Such as application/pdf, image/*. None takes all.",
            "user_id": "Only events of this user's files and batches.",
            "batch_id": "Only events of this batch.",
            "retry_schedule": "Seconds to wait before each attempt, the first included: "
            "0, 5, 300. Left empty, the setting counts.",
            "timeout_seconds": "Left empty, the setting counts.",
        }

    def clean_new_headers(self) -> dict[str, str]:
        return parsed_headers(self.cleaned_data["new_headers"])

    def clean(self) -> None:
        if self.errors:
            return
        try:
            self.chosen = self._chosen()
            endpoints.check(self.chosen)
        except InvalidInput as exc:
            self._refuse(exc.extra["field"], exc)
        except DooritoError as exc:
            self._refuse("headers", exc)

    def _post_clean(self) -> None:
        """The model's own validation knows less than the service, and other hosts' names."""

    def _chosen(self) -> endpoints.EndpointSettings:
        values = {name: self.cleaned_data[name] for name in CHOSEN}
        values["retry_schedule"] = values["retry_schedule"] or None
        return endpoints.EndpointSettings(**values, headers=self._headers())

    def _headers(self) -> Mapping[str, str]:
        """Raises DooritoError `secret_unreadable` when the stored ones stay, but no key fits."""
        if self.cleaned_data["without_headers"]:
            return {}
        return self.cleaned_data["new_headers"] or self.instance.headers

    def _refuse(self, setting: str, error: DooritoError) -> None:
        field = "new_headers" if setting == "headers" else setting
        self.add_error(field, ValidationError(error.message, code=error.code))
