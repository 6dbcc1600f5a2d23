"""The tasks that workflows can be made of: registered by name, each with what it accepts.

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

_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # in JSON; a backslash before it may be one itself

# Marks of a configuration's fields.
SECRET: JsonDict = {"secret": True}
ADJUSTABLE: JsonDict = {"adjustable": True}
MULTILINE: JsonDict = {"multiline": True}

# The name of a WorkflowSecret: the task gets its value, the configuration never holds it.
SecretName = Annotated[str, Field(json_schema_extra=SECRET, max_length=lengths.SECRET_NAME)]


class TaskConfig(BaseModel):
    """Base of a task's configuration. Its fields' titles and descriptions make the form.

    A field with `json_schema_extra=ADJUSTABLE` may be set anew by whoever starts a run; others
    only by those who may change workflows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        """PostgreSQL's JSON has no NUL and no half characters, and no number that is none."""
        kept = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
        if _NUL.search(kept):
            raise ValueError("must be without NUL characters")
        try:
            kept.encode()
        except UnicodeEncodeError as exc:
            raise ValueError("must be valid Unicode text") from exc
        return value


class NoConfig(TaskConfig):
    """There is nothing to configure."""


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
        """The secrets that a configuration, as it is kept, names."""
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
    """Register a function as a task. Raises ValueError when the name is another's."""

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
    """A configuration as it is kept: JSON values, without what is as by default.

    Raises InvalidInput `config_invalid`, whose `errors` name the fields.
    """
    return load_config(task, values).model_dump(mode="json", exclude_defaults=True)


def load_config(task: TaskDefinition, values: dict[str, Any]) -> TaskConfig:
    """A configuration as its task gets it. May look up host names. Raises as `check_config`."""
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
        said = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        raise InvalidInput(
            "config_invalid", f"The configuration is not valid: {said}.", errors=errors
        ) from exc


def is_marked(field: Any, mark: JsonDict) -> bool:
    """Whether a field of a configuration carries one of the marks above."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and all(extra.get(key) == mark[key] for key in mark)
