"""Workflow runs in the admin: read-only records that can be cancelled and retried."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.admin_records import CreatedFilter, ReadOnly
from common.errors import DooritoError
from common.outbox.payloads import HIDDEN
from uploads.admin_records import UploadRecordAdmin
from uploads.models import RunStatus, RunTrigger, Workflow, WorkflowAttempt, WorkflowRun
from uploads.workflows import claims, runs, selectors

_MOST_AT_ONCE = 500
_AMONG = 100_000  # the newest runs, which a filter without an index searches


class LatestFilter(admin.SimpleListFilter):
    """Searches the newest runs only: no index covers the column across all owners."""

    column: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        chosen = self.value()
        if not chosen:
            return queryset
        latest = WorkflowRun.objects.order_by("-id").values_list("id", flat=True)
        oldest = latest[_AMONG : _AMONG + 1].first()
        if oldest:
            queryset = queryset.filter(id__gt=oldest)
        try:
            return queryset.filter(**{self.column: chosen})
        except (ValueError, ValidationError) as exc:
            raise IncorrectLookupParameters from exc


class StatusFilter(LatestFilter):
    """Active runs are found however old they are: indexes cover them."""

    title = "status"
    parameter_name = "status"
    column = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [
            (value, label if value in WorkflowRun.ACTIVE else f"{label} (of the latest 100,000)")
            for value, label in RunStatus.choices
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in WorkflowRun.ACTIVE:
            return queryset.filter(status=self.value())
        return super().queryset(request, queryset)


class WorkflowFilter(LatestFilter):
    title = "workflow (of the latest 100,000)"
    parameter_name = "workflow"
    column = "workflow_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return [(str(workflow.id), workflow.name) for workflow in Workflow.objects.order_by("name")]


class TriggerFilter(LatestFilter):
    title = "what started it (of the latest 100,000)"
    parameter_name = "trigger"
    column = "trigger"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        return RunTrigger.choices


class AttemptInline(ReadOnly, admin.StackedInline):
    """Shown only to staff who may view attempts: tracebacks reveal details of the server."""

    model = WorkflowAttempt
    fields = ["outcome", "worker", "started_at", "ended_at", "error_code", "error_message", "trace"]
    readonly_fields = ["trace"]
    ordering = ["-number"]
    verbose_name_plural = "attempts, newest first"

    @admin.display(description="Traceback")
    def trace(self, attempt: WorkflowAttempt) -> SafeString | str:
        return format_html("<pre>{}</pre>", attempt.traceback) if attempt.traceback else "-"


@admin.register(WorkflowRun)
class WorkflowRunAdmin(UploadRecordAdmin):
    owner = "owner"
    id_fields = ("id", "file_id")
    search_help_text = "The id of a run or file, or the beginning of an e-mail address."
    list_display = [
        "id",
        "workflow",
        "file",
        "status",
        "progress_percent",
        "trigger",
        "owner",
        "created_at",
        "completed_at",
    ]
    list_filter = [StatusFilter, WorkflowFilter, TriggerFilter, CreatedFilter]
    list_select_related = ["workflow", "file", "owner"]
    inlines = [AttemptInline]
    actions = ["retry", "cancel"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "id",
                    "workflow",
                    "file",
                    "owner",
                    "status",
                    "progress_percent",
                    "progress_message",
                    "error_code",
                    "error_message",
                    "cost",
                ]
            },
        ),
        ("Result", {"fields": ["result", "output", "output_is_cut", "warnings", "consumes_file"]}),
        ("Log", {"fields": ["log"]}),
        (
            "Start",
            {"fields": ["trigger", "started_by", "previous", "chain_depth", "stored_config"]},
        ),
        (
            "State",
            {
                "fields": [
                    "attempt",
                    "attempts_left",
                    "due_at",
                    "lease_expires_at",
                    "is_handed_over",
                    "cancel_requested_at",
                    "created_at",
                    "started_at",
                    "completed_at",
                ]
            },
        ),
    ]
    readonly_fields = ["result", "output", "log", "stored_config"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("output_text", "config")

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Permission to list runs does not include reading results from other people's files."""
        run = super().get_object(request, object_id, from_field)
        if run is not None:
            principal = request.principal  # type: ignore[attr-defined]
            run.is_readable = selectors.may_read(principal, run)
        return run

    @admin.display(description="Result file")
    def result(self, run: WorkflowRun) -> SafeString | str:
        file = run.result_file
        if file is None:
            return "-"
        page = reverse("admin:uploads_ingestfile_change", args=[file.id])
        return format_html('<a href="{}">{}</a>', page, file.original_filename)

    @admin.display(description="Output")
    def output(self, run: Any) -> SafeString | str:
        if not run.is_readable:
            return HIDDEN
        return format_html("<pre>{}</pre>", run.output_text) if run.output_text else "-"

    @admin.display(description=f"Last {selectors.LOG_PAGE} lines")
    def log(self, run: Any) -> SafeString | str:
        if not run.is_readable:
            return HIDDEN
        lines = [
            f"{line.at:%Y-%m-%d %H:%M:%S} [{line.attempt}] {line.level}: {line.message}"
            for line in selectors.latest_log(run)
        ]
        return format_html("<pre>{}</pre>", "\n".join(lines)) if lines else "-"

    @admin.display(description="Configuration")
    def stored_config(self, run: WorkflowRun) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(run.config, indent=2, ensure_ascii=False))

    # Actions

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("uploads.change_workflowrun")

    @admin.action(description="Retry", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[WorkflowRun]) -> None:
        self._each(request, queryset, lambda run_id: runs.retry(run_id=run_id), done="started")

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[WorkflowRun]) -> None:
        active = queryset.filter(status__in=WorkflowRun.ACTIVE)
        self._each(request, active, lambda run_id: claims.cancel(run_id=run_id), done="ended")

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[WorkflowRun],
        act: Callable[[UUID], None],
        *,
        done: str,
    ) -> None:
        """Apply `act` to each run; report the number of successes and every reason for refusal."""
        count, refused = 0, set()
        for run_id in list(chosen.values_list("id", flat=True)[:_MOST_AT_ONCE]):
            try:
                act(run_id)
                count += 1
            except DooritoError as exc:
                refused.add(exc.message)
        for message in sorted(refused):
            self.message_user(request, message, messages.ERROR)
        text = f"{count} {done}." if count or refused else "None of these runs is active."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
