"""Webhooks in the admin: endpoints can be changed, everything else is read-only.

The permission `view_webhookendpoint` shows all of it; sending again needs `change_webhookendpoint`.
"""

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.admin_records import (
    CreatedFilter,
    ListsNamesOnly,
    NoNulInFilters,
    ReadOnly,
    RecordAdmin,
)
from common.errors import DooritoError
from common.models import OutboxEvent, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from common.outbox.envelopes import envelope_for
from common.webhooks import dispatch, endpoints, recovery, replay
from common.webhooks.admin_filters import (
    AnswerFilter,
    DueFilter,
    EventTypeFilter,
    FailingFilter,
    TakesFilter,
)
from common.webhooks.admin_forms import EndpointAdminForm
from common.webhooks.endpoint_settings import readable_headers
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS
from common.webhooks.selectors import Health, health_of

TESTS_AT_ONCE = 5  # each may take as long as its endpoint's timeout
MOST_AT_ONCE = 1000  # deliveries; more is what recovery is for
RECOVERED = timedelta(hours=24)


class EndpointChangeList(ChangeList):
    """Loads the health of all endpoints on a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        health = health_of([endpoint.id for endpoint in self.result_list])
        for endpoint in self.result_list:
            endpoint.health = health.get(endpoint.id, Health())


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ListsNamesOnly, NoNulInFilters):
    form = EndpointAdminForm
    list_display = [
        "__str__",
        "host",
        "event_types",
        "is_active",
        "success_rate",
        "p95",
        "last_failure",
        "backlog",
        "created_at",
    ]
    list_filter = ["is_active", "disabled_reason", FailingFilter, TakesFilter]
    list_per_page = 50
    search_fields = ["url", "description"]
    ordering = ["-id"]
    sortable_by = ("__str__", "is_active", "created_at")
    show_full_result_count = False
    actions = [
        "send_test",
        "enable",
        "disable",
        "rotate_secret",
        "revoke_old_secrets",
        "recover_a_day",
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return EndpointChangeList

    # What was chosen, for those who may not change it. The values of headers are for nobody.
    SHOWN = (
        "url",
        "description",
        "event_types",
        "content_types",
        "user_id",
        "batch_id",
        "header_names",
        "retry_schedule",
        "timeout_seconds",
    )

    # How it fares: see EndpointChangeList

    @admin.display(description="success (24 h)")
    def success_rate(self, endpoint: Any) -> str:
        rate = endpoint.health.success_rate
        return "-" if rate is None else f"{rate:.1%} of {endpoint.health.attempts}"

    @admin.display(description="p95")
    def p95(self, endpoint: Any) -> str:
        return "-" if endpoint.health.p95_ms is None else f"{endpoint.health.p95_ms} ms"

    @admin.display(description="last failure (24 h)")
    def last_failure(self, endpoint: Any) -> str:
        health = endpoint.health
        if not health.last_failure_at:
            return "-"
        return f"{date(health.last_failure_at, 'DATETIME_FORMAT')}: {health.last_error}"

    @admin.display(description="waiting")
    def backlog(self, endpoint: Any) -> int:
        return endpoint.health.backlog

    # One endpoint

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": list(self.form.base_fields)})]
        state = ("State", {"fields": self._state_fields()})
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": self.SHOWN}), state]
        secret = [self._secret_field(request), "old_secrets"]
        return [
            (None, {"fields": list(self.form.base_fields)}),
            ("Secret", {"fields": secret}),
            state,
        ]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """With the fields that the form declares, not the model's fields of the same names."""
        return super().get_form(request, obj, change, **kwargs | {"fields": []})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        return [self._secret_field(request), "old_secrets", *self._state_fields()]

    def _secret_field(self, request: HttpRequest) -> str:
        return "signing_secret" if request.GET.get("secret") == "shown" else "hidden_secret"

    def _state_fields(self) -> list[str]:
        return [
            "is_active",
            "disabled_reason",
            "disabled_at",
            "consecutive_failures",
            "failing_since",
            "expires_at",
            "created_by",
            "created_at",
            "updated_at",
        ]

    @admin.display(description="Secret")
    def signing_secret(self, endpoint: WebhookEndpoint) -> str:
        try:
            return endpoint.secret
        except DooritoError as exc:
            return exc.message

    @admin.display(description="Secret")
    def hidden_secret(self, endpoint: WebhookEndpoint) -> SafeString:  # noqa: ARG002
        return format_html('<a href="{}">Show</a>', "?secret=shown")

    @admin.display(description="Old secrets")
    def old_secrets(self, endpoint: WebhookEndpoint) -> str:
        ends = endpoint.retired_secrets.filter(expires_at__gt=Now()).order_by("-id")
        parts = [
            f"one signs until {date(end, 'DATETIME_FORMAT')}"
            for end in ends.values_list("expires_at", flat=True)
        ]
        return ", ".join(parts) or "-"

    @admin.display(description="Stored headers")
    def header_names(self, endpoint: WebhookEndpoint) -> str:
        headers = readable_headers(endpoint)
        return "They cannot be decrypted." if headers is None else ", ".join(headers) or "-"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show errors of the service as messages."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DooritoError as exc:
            self.message_user(request, exc.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> WebhookEndpoint:
        if change:
            return endpoints.change_endpoint(endpoint_id=form.instance.id, chosen=form.chosen)
        return endpoints.add_endpoint(form.chosen, user=cast(AbstractBaseUser, request.user))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Does nothing: `save_form` has saved the endpoint."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Does nothing: the form has no related rows."""

    def response_add(
        self,
        request: HttpRequest,
        obj: WebhookEndpoint,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Redirect to the endpoint's page, which shows the secret once."""
        self.message_user(request, f"Added {obj}. Its receiver needs the secret.", messages.SUCCESS)
        return HttpResponseRedirect(f"../{obj.pk}/change/?secret=shown")

    # Removal

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:  # noqa: ARG002
        # After the transaction of the view: removal makes short ones of its own.
        transaction.on_commit(partial(endpoints.remove_endpoint, endpoint_id=obj.id))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for endpoint in queryset:
            self.delete_model(request, endpoint)

    # Actions

    def _each(
        self,
        request: HttpRequest,
        chosen: Iterable[WebhookEndpoint],
        act: Callable[[WebhookEndpoint], str],
    ) -> None:
        """Show a message for each endpoint: what was done, or why not."""
        for endpoint in chosen:
            try:
                self.message_user(request, f"{endpoint}: {act(endpoint)}", messages.SUCCESS)
            except DooritoError as exc:
                self.message_user(request, f"{endpoint}: {exc.message}", messages.ERROR)

    @admin.action(description="Send a test event", permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        chosen = list(queryset[: TESTS_AT_ONCE + 1])
        if len(chosen) > TESTS_AT_ONCE:
            text = f"Test at most {TESTS_AT_ONCE} endpoints at once."
            self.message_user(request, text, messages.ERROR)
            return
        self._each(request, chosen, self._test)

    def _test(self, endpoint: WebhookEndpoint) -> str:
        attempt = dispatch.send_test(endpoint_id=endpoint.id)
        if attempt.error:
            raise DooritoError("test_failed", attempt.error)
        return f"{attempt.response_status} in {attempt.duration_ms} ms"

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        def act(endpoint: WebhookEndpoint) -> str:
            endpoints.enable(endpoint_id=endpoint.id)
            return "enabled. What it missed can be recovered."

        self._each(request, queryset, act)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        def act(endpoint: WebhookEndpoint) -> str:
            endpoints.disable(endpoint_id=endpoint.id)
            return "disabled."

        self._each(request, queryset, act)

    @admin.action(description="Rotate the secret", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        def act(endpoint: WebhookEndpoint) -> str:
            endpoints.rotate_secret(endpoint_id=endpoint.id)
            return "the new secret is on its page; the old one signs beside it for a while."

        self._each(request, queryset, act)

    @admin.action(description="Revoke old secrets now", permissions=["change"])
    def revoke_old_secrets(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        def act(endpoint: WebhookEndpoint) -> str:
            return f"{endpoints.revoke_old_secrets(endpoint_id=endpoint.id)} revoked."

        self._each(request, queryset, act)

    @admin.action(description="Recover the last 24 hours", permissions=["change"])
    def recover_a_day(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        def act(endpoint: WebhookEndpoint) -> str:
            recovery.start(endpoint_id=endpoint.id, since=timezone.now() - RECOVERED)
            return "what failed or was missed in the last 24 hours is being sent."

        self._each(request, queryset, act)


class EventRecordAdmin(RecordAdmin):
    """Records that are visible to everybody who may see endpoints."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(SEE_WEBHOOKS)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(CHANGE_WEBHOOKS)


class VisibleWithEndpoints(ReadOnly):
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(SEE_WEBHOOKS)


class DeliveryInline(VisibleWithEndpoints, admin.TabularInline):
    model = WebhookDelivery
    fields = ["endpoint", "status", "attempt_count", "due_at", "last_error"]
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("endpoint").order_by("id")


class AttemptInline(VisibleWithEndpoints, admin.TabularInline):
    model = WebhookAttempt
    fields = ["number", "started_at", "duration_ms", "response_status", "error"]
    ordering = ["-number"]
    show_change_link = True


@admin.register(OutboxEvent)
class OutboxEventAdmin(EventRecordAdmin):
    id_fields = ("id", "aggregate_id")
    search_help_text = "The id of an event, or of what it is about."
    list_display = ["id", "event_type", "aggregate_type", "aggregate_id", "status", "created_at"]
    list_filter = ["status", EventTypeFilter, CreatedFilter]
    exclude = ["payload"]
    readonly_fields = ["envelope"]
    inlines = [DeliveryInline]

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            event.envelope = envelope_for(request.principal, event)  # type: ignore[attr-defined]
        return event

    @admin.display(description="event")
    def envelope(self, event: Any) -> str:
        return json.dumps(event.envelope, indent=2, ensure_ascii=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("payload")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(EventRecordAdmin):
    id_fields = ("id", "event_id")
    search_help_text = "The id of a delivery or of an event."
    list_display = [
        "id",
        "status",
        "attempt_count",
        "event__event_type",
        "endpoint",
        "due_at",
        "last_error",
    ]
    list_filter = ["status", "endpoint", DueFilter]
    list_select_related = ["event", "endpoint"]
    inlines = [AttemptInline]
    actions = ["retry_failed", "resend"]

    def _chosen(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> QuerySet[WebhookDelivery]:
        ids = list(queryset.values_list("id", flat=True)[: MOST_AT_ONCE + 1])
        if len(ids) > MOST_AT_ONCE:
            text = f"The first {MOST_AT_ONCE} were taken; to send more, recover the endpoint."
            self.message_user(request, text, messages.WARNING)
        return WebhookDelivery.objects.filter(id__in=ids[:MOST_AT_ONCE])

    @admin.action(description="Retry failed deliveries now", permissions=["send"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        chosen = self._chosen(request, queryset)
        count = chosen.count()
        started = replay.retry_failed(chosen)
        self.message_user(request, f"{started} of {count} are being sent again.")

    @admin.action(description="Send again, whatever became of it", permissions=["send"])
    def resend(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        started, refused = 0, set()
        for delivery_id in self._chosen(request, queryset).values_list("id", flat=True):
            try:
                replay.resend(delivery_id=delivery_id)
                started += 1
            except DooritoError as exc:
                refused.add(exc.message)
        for message in sorted(refused):
            self.message_user(request, message, messages.ERROR)
        self.message_user(request, f"{started} are being sent again.")


@admin.register(WebhookAttempt)
class WebhookAttemptAdmin(EventRecordAdmin):
    id_fields = ("id", "delivery_id")
    search_help_text = "The id of an attempt or of a delivery."
    list_display = [
        "id",
        "endpoint",
        "number",
        "started_at",
        "duration_ms",
        "response_status",
        "error",
    ]
    list_filter = ["endpoint", AnswerFilter]
    list_select_related = ["endpoint"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        details = ("request_headers", "response_headers", "response_body")
        return super().get_queryset(request).defer(*details)
