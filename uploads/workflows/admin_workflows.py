"""Workflows and their secrets in the admin."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from common.admin_records import NoNulInFilters
from common.errors import DooritoError
from uploads.models import Workflow, WorkflowRun, WorkflowSecret
from uploads.workflows import definitions, registry
from uploads.workflows.admin_forms import SecretForm, WorkflowForm, config_inputs
from uploads.workflows.registry import TaskDefinition

_TYPES_SHOWN = 3
_USERS_SHOWN = 50

_MAIN = ["name", "slug", "description", "is_active"]
_LIMITS = ["time_limit_seconds", "max_attempts", "max_concurrent"]
_AFTERWARDS = ["on_success", "consumes_file"]


@admin.register(Workflow)
class WorkflowAdmin(NoNulInFilters):
    """Adding a workflow starts with the choice of its task, which determines the form."""

    form = WorkflowForm
    list_display = ["name", "slug", "task_name", "is_active", "auto_start", "types"]
    list_filter = ["is_active", "auto_start"]
    search_fields = ["name", "slug", "task_name"]
    ordering = ["name", "id"]
    readonly_fields = [
        "task",
        "stored_config",
        "types",
        "auto_start_user_id",
        "auto_start_batch_id",
    ]
    actions = ["activate", "deactivate"]

    @admin.display(description="accepted types")
    def types(self, workflow: Workflow) -> str:
        shown = ", ".join(workflow.accepted_types[:_TYPES_SHOWN])
        more = len(workflow.accepted_types) - _TYPES_SHOWN
        return f"{shown} and {more} more" if more > 0 else shown

    # The task

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        chosen = request.GET.get("task")
        to_be_chosen = object_id is None if chosen is None else registry.find(chosen) is None
        if to_be_chosen:
            return self._choose_task(request, object_id)
        if chosen is not None:  # Django's form URL drops the parameter
            form_url = form_url or f"?{urlencode({'task': chosen})}"
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _choose_task(self, request: HttpRequest, object_id: str | None) -> HttpResponse:
        may = self.has_add_permission if object_id is None else self.has_change_permission
        if not may(request):
            raise PermissionDenied
        others = [(name, str(value)) for name, value in request.GET.items() if name != "task"]
        tasks = [
            {
                "name": task.name,
                "description": task.description,
                "query": urlencode([*others, ("task", task.name)]),
            }
            for task in registry.all_tasks()
        ]
        context = self.admin_site.each_context(request) | {
            "title": "Choose a task",
            "opts": self.opts,
            "tasks": tasks,
        }
        return TemplateResponse(request, "admin/uploads/workflow/choose_task.html", context)

    def _task(self, request: HttpRequest, workflow: Workflow | None) -> TaskDefinition | None:
        """The task named in the URL, otherwise the workflow's own; None if it is not installed."""
        stored = workflow.task_name if workflow else ""
        return registry.find(request.GET.get("task") or stored)

    @admin.display(description="Task")
    def task(self, workflow: Workflow) -> SafeString:
        task = registry.find(workflow.task_name)
        told = task.description if task else "This task is missing: no installed app has it."
        return format_html(
            '{}<br>{} <a href="?task=">Choose another task</a>',
            workflow.task_name,
            told,
        )

    @admin.display(description="Configuration")
    def stored_config(self, workflow: Workflow) -> SafeString:
        shown = json.dumps(workflow.config, indent=2, ensure_ascii=False)
        return format_html("<pre>{}</pre>", shown)

    # The form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        task = self._task(request, obj)
        may_write = self._may_write(request, obj)
        rule = (
            ["accepted_types", "auto_start", "auto_start_user", "auto_start_batch"]
            if may_write
            else ["types", "auto_start", "auto_start_user_id", "auto_start_batch_id"]
        )
        config = (
            list(config_inputs(task, {})) if task is not None and may_write else ["stored_config"]
        )
        return [
            (None, {"fields": ["task", *_MAIN]}),
            *([("Configuration", {"fields": config})] if config else []),
            ("Files", {"fields": rule}),
            ("Limits", {"fields": _LIMITS}),
            ("Afterwards", {"fields": _AFTERWARDS}),
        ]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        task = self._task(request, obj)
        attributes: dict[str, Any] = {"task": task, "Meta": WorkflowForm.Meta}
        if task is not None and self._may_write(request, obj):
            config = obj.config if obj is not None and obj.task_name == task.name else {}
            attributes |= config_inputs(task, config)
        form = type("ConfiguredWorkflowForm", (WorkflowForm,), attributes)
        return super().get_form(request, obj, change=change, form=form, **kwargs)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:  # noqa: ARG002
        return {} if obj else {"slug": ["name"]}

    def _may_write(self, request: HttpRequest, workflow: Workflow | None) -> bool:
        if workflow is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, workflow)

    # Removal

    def get_deleted_objects(
        self,
        objs: Any,
        request: HttpRequest,  # noqa: ARG002
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        """Workflows with runs cannot be deleted: runs are records, possibly millions of them."""
        kept = [
            f"The runs of {workflow}: switch it off instead, then nobody can start it."
            for workflow in objs
            if WorkflowRun.objects.filter(workflow=workflow).exists()
        ]
        names = [str(workflow) for workflow in objs]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), kept

    # Actions

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        for workflow in queryset.filter(is_active=False):
            try:
                definitions.activate(workflow_id=workflow.id)
            except DooritoError as exc:
                self.message_user(request, f"{workflow}: {exc.message}", messages.ERROR)
            else:
                self.log_change(request, workflow, "Activated.")
                self.message_user(request, f"{workflow} is active.", messages.SUCCESS)

    @admin.action(description="Switch off", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        for workflow in queryset.filter(is_active=True):
            Workflow.objects.filter(id=workflow.id).update(is_active=False)
            self.log_change(request, workflow, "Switched off.")
            text = f"{workflow} is switched off; runs that still wait will fail."
            self.message_user(request, text, messages.SUCCESS)


@admin.register(WorkflowSecret)
class WorkflowSecretAdmin(NoNulInFilters):
    """Keys and tokens can be added, replaced and removed, but are never shown."""

    form = SecretForm
    list_display = ["name", "description", "updated_at"]
    search_fields = ["name", "description"]
    ordering = ["name"]

    @method_decorator(sensitive_post_parameters("new_value"))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["name", "description", "new_value"]
        value = ["new_value"] if self.has_change_permission(request, obj) else []
        return ["name", "description", *value, "used_by", "updated_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:  # noqa: ARG002
        return [] if obj is None else ["name", "used_by", "updated_at"]

    @admin.display(description="Used by")
    def used_by(self, secret: WorkflowSecret) -> str:
        users = definitions.users_of_secret(secret.name)
        links = format_html_join(
            ", ",
            '<a href="{}">{}</a>',
            (
                (reverse("admin:uploads_workflow_change", args=[workflow.id]), workflow.name)
                for workflow in users[:_USERS_SHOWN]
            ),
        )
        more = len(users) - _USERS_SHOWN
        return format_html("{} and {} more", links, more) if more > 0 else links or "-"

    def get_deleted_objects(
        self,
        objs: Any,
        request: HttpRequest,  # noqa: ARG002
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        """Secrets that a workflow uses cannot be deleted."""
        names = [str(secret) for secret in objs]
        kept = [
            f"The workflow {workflow}, whose configuration names {name}."
            for name in names
            for workflow in definitions.users_of_secret(name)[:_USERS_SHOWN]
        ]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), kept
