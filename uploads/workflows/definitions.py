"""Checks that a workflow must pass before it is saved."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from pydantic_core import to_jsonable_python

from common import content_types
from common.errors import InvalidInput
from uploads.models import Workflow, WorkflowSecret
from uploads.workflows import registry
from uploads.workflows.queue import MAX_CHAIN

MAX_PATTERNS = 200
_CHAINS = (
    0x63686169  # key of the advisory lock: chains change one at a time, so that no loop arises
)

Problem = dict[str, str]  # the field and the message, as in `registry.check_config`


def check(workflow: Workflow) -> None:
    """Refuse a workflow that cannot work; normalise its configuration and its types.

    Call in the transaction that saves the workflow. Only an active workflow needs all required
    values and secrets.

    Raises InvalidInput `workflow_invalid`, whose `errors` name the fields, those of the
    configuration as `config.<name>`.
    """
    task = registry.find(workflow.task_name)
    problems = [*_types(workflow, task), *_chain(workflow)]
    if task is not None:
        problems += _config(workflow, task)
    elif workflow.is_active:
        problems.append(
            _problem("is_active", f"There is no task {workflow.task_name!r} any more to be run.")
        )
    if problems:
        summary = "; ".join(f"{each['field']}: {each['message'].rstrip('.')}" for each in problems)
        raise InvalidInput(
            "workflow_invalid", f"The workflow cannot work: {summary}.", errors=problems
        )


def activate(*, workflow_id: UUID) -> None:
    """Switch a workflow on. Raises InvalidInput `workflow_invalid` when something is missing."""
    with transaction.atomic():
        workflow = Workflow.objects.select_for_update().get(id=workflow_id)
        workflow.is_active = True
        check(workflow)
        workflow.save()


def named_secrets(workflow: Workflow) -> dict[str, str]:
    """Names of secrets in the configuration, by field. The configuration may be invalid."""
    task = registry.find(workflow.task_name)
    if task is None:
        return {}
    return {
        name: workflow.config[name]
        for name, field in task.config.model_fields.items()
        if registry.is_marked(field, registry.SECRET) and workflow.config.get(name)
    }


def users_of_secret(name: str) -> list[Workflow]:
    """The workflows whose configuration uses a secret, ordered by name."""
    workflows = Workflow.objects.order_by("name", "id")
    return [workflow for workflow in workflows if name in named_secrets(workflow).values()]


def _types(workflow: Workflow, task: registry.TaskDefinition | None) -> Iterator[Problem]:
    given = dict.fromkeys(pattern.strip().lower() for pattern in workflow.accepted_types)
    workflow.accepted_types = list(given) or (list(task.accepts) if task else [])
    if len(workflow.accepted_types) > MAX_PATTERNS:
        yield _problem("accepted_types", f"At most {MAX_PATTERNS} types can be named.")
    for pattern in workflow.accepted_types:
        if not content_types.is_pattern(pattern):
            yield _problem(
                "accepted_types",
                f"{pattern[:100]} is not a content type such as application/pdf or image/*.",
            )


def _chain(workflow: Workflow) -> Iterator[Problem]:
    if workflow.on_success_id is None:
        return
    if workflow.consumes_file:
        yield _problem(
            "consumes_file",
            "The workflow that follows needs the file; let the last one of the chain consume it.",
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAINS])
    following: UUID | None = workflow.on_success_id
    length = 1
    while following is not None and length <= MAX_CHAIN:
        if following == workflow.id:
            yield _problem("on_success", "This leads back to the workflow itself.")
            return
        next_ids = Workflow.objects.filter(id=following).values_list("on_success_id", flat=True)
        following = next_ids.first()
        length += 1
    if following is not None:
        yield _problem("on_success", f"More than {MAX_CHAIN} workflows would follow each other.")


def _config(workflow: Workflow, task: registry.TaskDefinition) -> list[Problem]:
    try:
        workflow.config = registry.check_config(task, workflow.config)
    except InvalidInput as exc:
        missing = _missing(workflow, task)
        wrong = [problem for problem in exc.extra["errors"] if problem["field"] not in missing]
        if workflow.is_active:
            wrong += [
                {"field": name, "message": "It is needed before the workflow can be active."}
                for name in missing
            ]
        if not wrong:
            workflow.config = _as_kept(task, workflow.config)
        return [
            _problem(f"config.{problem['field']}".rstrip("."), problem["message"])
            for problem in wrong
        ]
    return _secrets(workflow) if workflow.is_active else []


def _secrets(workflow: Workflow) -> list[Problem]:
    named = named_secrets(workflow)
    secrets = WorkflowSecret.objects.filter(name__in=named.values())
    there = set(secrets.values_list("name", flat=True))
    return [
        _problem(f"config.{field}", f"There is no workflow secret {name}; add it first.")
        for field, name in named.items()
        if name not in there
    ]


def _missing(workflow: Workflow, task: registry.TaskDefinition) -> list[str]:
    fields = task.config.model_fields.items()
    return [name for name, field in fields if field.is_required() and name not in workflow.config]


def _as_kept(task: registry.TaskDefinition, values: dict[str, Any]) -> dict[str, Any]:
    """An incomplete configuration without its defaults, as `registry.check_config` returns it."""
    defaults = {
        name: to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in task.config.model_fields.items()
        if not field.is_required()
    }
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name]
    }


def _problem(field: str, message: str) -> Problem:
    return {"field": field, "message": message}
