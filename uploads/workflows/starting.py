"""Starts a workflow with its own configuration, or with changes for this run."""

from typing import Any
from uuid import UUID

from accounts.principals import Principal
from common.errors import Forbidden
from uploads.models import Workflow, WorkflowRun
from uploads.workflows import registry, runs, selectors
from uploads.workflows.permissions import CHANGE_WORKFLOWS


def start(
    *, principal: Principal, file_id: UUID, slug: str, changes: dict[str, Any] | None = None
) -> WorkflowRun:
    """Start the workflow `slug` on a file. `changes` replace members of its configuration.

    Raises NotFound, InvalidInput `config_invalid`, Forbidden `config_fixed`, and what
    `uploads.workflows.runs.start_run` raises.
    """
    workflow = selectors.get_workflow(slug)
    config = _changed(workflow, changes, principal=principal) if changes else None
    return runs.start_run(principal=principal, file_id=file_id, workflow=workflow, config=config)


def adjustable_fields(workflow: Workflow, *, principal: Principal) -> list[str]:
    """The members of the configuration that a principal may change for one run."""
    task = registry.find(workflow.task_name)
    if task is None:
        return []
    return [
        name
        for name, field in task.config.model_fields.items()
        if principal.is_staff_with(CHANGE_WORKFLOWS)
        or registry.is_marked(field, registry.ADJUSTABLE)
    ]


def _changed(
    workflow: Workflow, changes: dict[str, Any], *, principal: Principal
) -> dict[str, Any]:
    task = registry.get(workflow.task_name)
    fixed = set(changes).intersection(task.config.model_fields) - set(
        adjustable_fields(workflow, principal=principal)
    )
    if fixed:
        raise Forbidden(
            "config_fixed",
            f"{', '.join(sorted(fixed))}: only administrators change this for a run.",
        )
    return registry.check_config(task, workflow.config | changes)
