"""AI workflows: tasks that work on stored files, each attempt in a process of its own.

A task is a function `(RunContext) -> WorkflowResult`, registered with `@workflow_task`.
"""

from uploads.workflows.context import HandedOver, InputFile, RunContext, WorkflowResult
from uploads.workflows.errors import TaskFailed, TryAgain
from uploads.workflows.registry import (
    ADJUSTABLE,
    MULTILINE,
    SecretName,
    TaskConfig,
    workflow_task,
)

__all__ = [
    "ADJUSTABLE",
    "MULTILINE",
    "HandedOver",
    "InputFile",
    "RunContext",
    "SecretName",
    "TaskConfig",
    "TaskFailed",
    "TryAgain",
    "WorkflowResult",
    "workflow_task",
]
