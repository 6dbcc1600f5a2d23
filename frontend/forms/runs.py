"""Forms to filter the list of runs, and to change settings for one run."""

from collections.abc import Sequence
from typing import Any

from django import forms

from common.errors import DooritoError
from uploads.models import RunStatus
from uploads.workflows.config_fields import config_fields, config_values, placed
from uploads.workflows.registry import TaskDefinition
from uploads.workflows.selectors import active_workflows


class RunFilterForm(forms.Form):
    workflow = forms.ChoiceField(label="Workflow", required=False)
    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "All states"), *RunStatus.choices]
    )
    file_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [(workflow.slug, workflow.name) for workflow in active_workflows()]
        self.fields["workflow"].choices = [("", "All workflows"), *offered]  # type: ignore[attr-defined]


class ConfigForm(forms.Form):
    """Some fields of a task's configuration; `uploads.workflows.starting` checks the input."""

    def __init__(
        self,
        *args: Any,
        task: TaskDefinition,
        names: Sequence[str],
        values: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """`values` come from the workflow, or from the earlier run that is repeated."""
        super().__init__(*args, **kwargs)
        self.task = task
        fields = config_fields(task, values)
        self.fields |= {name: fields[name] for name in names}

    def changes(self) -> dict[str, Any]:
        return config_values(self.task, self.cleaned_data)

    def refuse(self, error: DooritoError) -> None:
        """Show an error at the fields that it names; if it names none, above the fields."""
        named = [placed(each["field"], each["message"]) for each in error.extra.get("errors", [])]
        for name, message in named or [("", error.message)]:
            self.add_error(name if name in self.fields else None, message)
