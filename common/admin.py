"""Announcing in the admin: endpoints are managed, everything else is a record to look at."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from common.errors import DooritoError
from common.models import OutboxEvent, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from common.services import dispatch, endpoints, webhook


class ReadOnly(admin.options.BaseModelAdmin):
    """Mixin: rows that only the dispatcher writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class NoNulInFilters(admin.ModelAdmin):
    """PostgreSQL's text holds no NUL: a filter with one is as wrong as others Django refuses."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        if any("\x00" in text for key, values in request.GET.lists() for text in (key, *values)):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)


class RecordAdmin(ReadOnly, NoNulInFilters):
    """Large tables: newest first by key, and no count of the whole table."""

    ordering = ["-id"]
    list_per_page = 50
    show_full_result_count = False


class EndpointForm(forms.ModelForm):
    class Meta:
        model = WebhookEndpoint
        fields = ["url", "description", "event_types", "is_active"]

    def clean_url(self) -> str:
        return self._checked("url", endpoints.check_target)

    def clean_event_types(self) -> list[str]:
        return self._checked("event_types", endpoints.check_event_types)

    def _checked(self, field: str, check: Any) -> Any:
        value = self.cleaned_data[field]
        try:
            check(value)
        except DooritoError as exc:
            raise ValidationError(exc.message, code=exc.code) from exc
        return value


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(NoNulInFilters):
    form = EndpointForm
    list_display = ["url", "description", "event_types", "is_active", "created_at"]
    list_filter = ["is_active"]
    search_fields = ["url", "description"]
    ordering = ["-id"]
    actions = ["send_test", "enable", "disable"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        shown = ["created_by", "created_at", "updated_at"]
        return ["signing_secret", *shown] if self.has_change_permission(request, obj) else shown

    @admin.display(description="Secret")
    def signing_secret(self, obj: WebhookEndpoint) -> str:
        try:
            return obj.secret
        except DooritoError as exc:
            return exc.message

    def save_model(
        self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool
    ) -> None:
        if not change:
            obj.secret = webhook.new_secret()
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data and not obj.is_active:
            endpoints.disable(endpoint_id=obj.id)

    def get_deleted_objects(
        self,
        objs: Any,
        request: HttpRequest,  # noqa: ARG002
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        """What the confirmation lists: not the deliveries, of which there may be millions."""
        names = [str(endpoint) for endpoint in objs]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), []

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:  # noqa: ARG002
        endpoints.remove_endpoint(endpoint_id=obj.id)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:  # noqa: ARG002
        for endpoint in queryset:
            endpoints.remove_endpoint(endpoint_id=endpoint.id)

    @admin.action(description="Send a test event", permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: models.QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            attempt = dispatch.send_test(endpoint_id=endpoint.id)
            level = messages.ERROR if attempt.error else messages.SUCCESS
            answer = attempt.error or f"{attempt.response_status} in {attempt.duration_ms} ms"
            self.message_user(request, f"{endpoint.url}: {answer}", level)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: models.QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            endpoints.enable(endpoint_id=endpoint.id)
            self.message_user(request, f"Enabled {endpoint.url}", messages.SUCCESS)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: models.QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            endpoints.disable(endpoint_id=endpoint.id)
            self.message_user(request, f"Disabled {endpoint.url}", messages.SUCCESS)


class DeliveryInline(ReadOnly, admin.TabularInline):
    model = WebhookDelivery
    fields = ["endpoint", "status", "attempt_count", "due_at", "last_error"]
    show_change_link = True


class AttemptInline(ReadOnly, admin.TabularInline):
    model = WebhookAttempt
    fields = ["number", "started_at", "duration_ms", "response_status", "error", "response_body"]
    ordering = ["number"]


@admin.register(OutboxEvent)
class OutboxEventAdmin(RecordAdmin):
    list_display = ["id", "event_type", "aggregate_type", "aggregate_id", "status", "created_at"]
    list_filter = ["status", "event_type"]
    search_fields = ["=id", "=aggregate_id"]
    inlines = [DeliveryInline]


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(RecordAdmin):
    list_display = [
        "id",
        "status",
        "attempt_count",
        "event__event_type",
        "endpoint",
        "due_at",
        "last_error",
    ]
    list_filter = ["status", ("endpoint", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["event", "endpoint"]
    search_fields = ["=id", "=event__id"]
    inlines = [AttemptInline]
    actions = ["retry_failed"]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("common.change_webhookdelivery")

    @admin.action(description="Retry failed deliveries now", permissions=["retry"])
    def retry_failed(
        self, request: HttpRequest, queryset: models.QuerySet[WebhookDelivery]
    ) -> None:
        started = dispatch.retry_failed(queryset)
        self.message_user(request, f"{started} of {queryset.count()} are being sent again.")


@admin.register(WebhookAttempt)
class WebhookAttemptAdmin(RecordAdmin):
    list_display = ["id", "delivery", "number", "started_at", "duration_ms", "response_status"]
    list_filter = ["response_status"]
    list_select_related = ["delivery"]
    search_fields = ["=delivery__id"]
