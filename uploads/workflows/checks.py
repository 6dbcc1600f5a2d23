"""System checks of the workflows in the database.

They need the database, so they run where that is there: `manage.py check --database default`,
`./doorito check`, which refuses them, and `./doorito up`, which does not: the portal does its
other work, and a run of such a workflow fails and says why.
"""

from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import ProgrammingError

from common.errors import InvalidInput
from uploads.models import Workflow
from uploads.workflows import registry


@register(Tags.database)
def check_workflows(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Warn of active workflows whose task is not installed or rejects their configuration."""
    if not databases:
        return []
    try:
        workflows = list(Workflow.objects.filter(is_active=True).order_by("slug"))
    except ProgrammingError:
        return []  # not migrated yet
    return [problem for workflow in workflows for problem in _problems(workflow)]


def _problems(workflow: Workflow) -> list[CheckMessage]:
    task = registry.find(workflow.task_name)
    if task is None:
        return [
            Warning(
                f"The workflow {workflow.slug} runs the task {workflow.task_name!r}, "
                "which no installed app registers.",
                hint="Install the app that has it, choose another task, or switch it off.",
                id="uploads.W001",
            )
        ]
    try:
        registry.check_config(task, workflow.config)
    except InvalidInput as exc:
        return [
            Warning(
                f"The workflow {workflow.slug}: {exc.message}",
                hint="Correct its configuration in the admin, or switch it off.",
                id="uploads.W002",
            )
        ]
    return []
