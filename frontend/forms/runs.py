"""The list's filter, and what can be set anew for one run."""

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
    """Members of a task's configuration; `uploads.workflows.starting` judges what is entered."""

    def __init__(
        self,
        *args: Any,
        task: TaskDefinition,
        names: Sequence[str],
        values: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """`values` are those of the workflow, or of the run that is made again."""
        super().__init__(*args, **kwargs)
        self.task = task
        fields = config_fields(task, values)
        self.fields |= {name: fields[name] for name in names}

    def changes(self) -> dict[str, Any]:
        return config_values(self.task, self.cleaned_data)

    def refuse(self, error: DooritoError) -> None:
        """Show an error at the fields that it names, or else above them."""
        named = [placed(each["field"], each["message"]) for each in error.extra.get("errors", [])]
        for name, message in named or [("", error.message)]:
            self.add_error(name if name in self.fields else None, message)
