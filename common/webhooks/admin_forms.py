"""The admin's form for a webhook endpoint."""

from typing import Any

from django import forms

from common.errors import InvalidInput
from common.models import WebhookEndpoint
from common.webhooks import endpoint_settings
from common.webhooks.endpoint_settings import EndpointSettings
from common.webhooks.forms import EndpointForm


class EndpointAdminForm(EndpointForm, forms.ModelForm):
    """The form of the pages, adapted to the admin, which expects a model form."""

    chosen: EndpointSettings

    class Meta:
        model = WebhookEndpoint
        fields = ()  # the form's own are all there are

    def __init__(self, *args: Any, instance: WebhookEndpoint | None = None, **kwargs: Any) -> None:
        is_saved = instance is not None and not instance._state.adding
        super().__init__(
            *args, endpoint=instance if is_saved else None, instance=instance, **kwargs
        )

    def clean(self) -> None:
        if self.errors:
            return
        self.chosen = self.settings()
        try:
            endpoint_settings.check(self.chosen)
        except InvalidInput as exc:
            self.refuse(exc)

    def _post_clean(self) -> None:
        """Skip the model's own validation: the service checks more."""
