"""The registered tasks that workflows can run, by name.

An app registers its tasks by importing their module in its AppConfig's `ready`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.config import JsonDict

from common import lengths
from common.errors import InvalidInput
from uploads.workflows.context import HandedOver, RunContext, WorkflowResult

Outcome = WorkflowResult | HandedOver
Task = Callable[[RunContext[Any]], Outcome]

_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # a NUL in JSON, not preceded by an escaping backslash

# Marks for fields of a configuration.
SECRET: JsonDict = {"secret": True}
ADJUSTABLE: JsonDict = {"adjustable": True}
MULTILINE: JsonDict = {"multiline": True}

# The name of a WorkflowSecret. The task gets its value; the configuration holds only the name.
SecretName = Annotated[str, Field(json_schema_extra=SECRET, max_length=lengths.SECRET_NAME)]


class TaskConfig(BaseModel):
    """Base class of a task's configuration. The form shows its fields' titles and descriptions.

    Whoever starts a run may change fields with `json_schema_extra=ADJUSTABLE`; the others need
    permission to change workflows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        """Refuse what PostgreSQL's JSON cannot store: NUL, lone surrogates, NaN and infinity."""
        kept = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
        if _NUL.search(kept):
            raise ValueError("must be without NUL characters")
        try:
            kept.encode()
        except UnicodeEncodeError as exc:
            raise ValueError("must be valid Unicode text") from exc
        return value


class NoConfig(TaskConfig):
    """The configuration of a task without options."""


@dataclass(frozen=True)
class TaskDefinition:
    name: str
    accepts: tuple[str, ...]  # media types or patterns such as image/*
    config: type[TaskConfig]
    run: Task

    @property
    def description(self) -> str:
        """The first line of the task's documentation."""
        return (getdoc(self.run) or "").partition("\n")[0]

    def secret_names(self, values: dict[str, Any]) -> list[str]:
        """The names of the secrets in a stored configuration."""
        named = (
            values.get(name)
            for name, field in self.config.model_fields.items()
            if is_marked(field, SECRET)
        )
        return [name for name in named if name]


_tasks: dict[str, TaskDefinition] = {}


def workflow_task(
    name: str, *, accepts: tuple[str, ...] = ("*/*",), config: type[TaskConfig] = NoConfig
) -> Callable[[Task], Task]:
    """Register a function as a task. Raises ValueError when the name is taken."""

    def register(run: Task) -> Task:
        known = _tasks.get(name)
        if known is not None and known.run.__module__ != run.__module__:
            raise ValueError(f"Two workflow tasks are named {name!r}.")
        _tasks[name] = TaskDefinition(name=name, accepts=accepts, config=config, run=run)
        return run

    return register


def find(name: str) -> TaskDefinition | None:
    return _tasks.get(name)


def get(name: str) -> TaskDefinition:
    """Raises InvalidInput `task_unknown`."""
    task = find(name)
    if task is None:
        raise InvalidInput(
            "task_unknown",
            f"There is no task {name!r}. There are: {', '.join(sorted(_tasks))}.",
            field="task_name",
        )
    return task


def all_tasks() -> list[TaskDefinition]:
    return sorted(_tasks.values(), key=lambda task: task.name)


def check_config(task: TaskDefinition, values: dict[str, Any]) -> dict[str, Any]:
    """Validate a configuration and return it for storage: JSON values, without defaults.

    Raises InvalidInput `config_invalid`, whose `errors` name the fields.
    """
    return load_config(task, values).model_dump(mode="json", exclude_defaults=True)


def load_config(task: TaskDefinition, values: dict[str, Any]) -> TaskConfig:
    """Validate a configuration for its task. May resolve host names. Raises like `check_config`."""
    try:
        return task.config.model_validate(values)
    except ValidationError as exc:
        errors = [
            {
                "field": ".".join(map(str, error["loc"])),
                "message": error["msg"].removeprefix("Value error, "),
            }
            for error in exc.errors(include_url=False, include_context=False)
        ]
        summary = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        raise InvalidInput(
            "config_invalid", f"The configuration is not valid: {summary}.", errors=errors
        ) from exc


def is_marked(field: Any, mark: JsonDict) -> bool:
    """Whether a configuration field has one of the marks above."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and all(extra.get(key) == mark[key] for key in mark)
