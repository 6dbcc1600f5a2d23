"""The admin's forms for workflows and their secrets."""

import re
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib.admin import widgets
from django.core.exceptions import ValidationError

from accounts.models import User
from common.errors import InvalidInput
from uploads.models import UploadBatch, Workflow, WorkflowSecret
from uploads.workflows import definitions, registry
from uploads.workflows.config_fields import config_fields, config_values, placed
from uploads.workflows.registry import TaskDefinition

_PREFIX = "config_"  # so that a task's fields never clash with the workflow's own fields
_WIDGETS = {
    forms.TextInput: widgets.AdminTextInputWidget,
    forms.Textarea: widgets.AdminTextareaWidget,
}


def config_inputs(task: TaskDefinition, config: dict[str, Any]) -> dict[str, forms.Field]:
    """The fields of a task's configuration as the admin's form has them."""
    fields = config_fields(task, config)
    for field in fields.values():
        if type(field.widget) in _WIDGETS:
            field.widget = _WIDGETS[type(field.widget)](field.widget.attrs)
        if field.required:
            field.required = False
            field.help_text = f"{field.help_text} Required of an active workflow.".lstrip()
    return {_PREFIX + name: field for name, field in fields.items()}


class TypesField(forms.CharField):
    """A list of content types, entered one per line or separated by commas."""

    widget = widgets.AdminTextareaWidget(attrs={"rows": 5})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return [pattern for pattern in re.split(r"[\s,;]+", value or "") if pattern]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.to_python(data)


class WorkflowForm(forms.ModelForm):
    """A workflow of `task`, whose configuration's fields are added (see `config_inputs`)."""

    task: TaskDefinition | None = None  # None when the workflow's task is no longer installed

    accepted_types = TypesField(required=False)
    auto_start_user = forms.CharField(
        label="Only files of",
        required=False,
        widget=widgets.AdminTextInputWidget(attrs={"type": "email"}),
        help_text="The e-mail address of an account. Empty: files of everybody.",
    )
    auto_start_batch = forms.CharField(
        label="Only files in the batch",
        required=False,
        widget=widgets.AdminTextInputWidget,
        help_text="The id of a batch. Empty: all files.",
    )

    class Meta:
        model = Workflow
        fields = (
            "name",
            "slug",
            "description",
            "is_active",
            "accepted_types",
            "auto_start",
            "time_limit_seconds",
            "max_attempts",
            "max_concurrent",
            "on_success",
            "consumes_file",
        )
        widgets = {"description": widgets.AdminTextareaWidget(attrs={"rows": 3})}
        labels = {
            "auto_start": "Start by itself",
            "time_limit_seconds": "Time limit (seconds)",
            "max_attempts": "Attempts at most",
            "max_concurrent": "Runs at once, at most",
            "on_success": "Next workflow",
            "consumes_file": "Consume the file",
        }
        help_texts = {
            "slug": "Names the workflow in addresses, the API and the command line.",
            "is_active": "Only an active workflow can be started.",
            "auto_start": "Starts on every file that is stored from now on, if its type is "
            "accepted.",
            "time_limit_seconds": "Of each attempt; then it is ended.",
            "max_attempts": "An attempt that fails for now is followed by another.",
            "max_concurrent": "On all workers together. Empty: as many as there is room for.",
            "on_success": "Starts on the same file when a run of this one has completed.",
            "consumes_file": "The file goes when a run has completed, and no other run needs it.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.task is not None:
            before = registry.find(self.instance.task_name)
            if before and before != self.task and self._has_all_types_of(before):
                self.initial[
                    "accepted_types"
                ] = []  # they are the task's default, not somebody's choice
            self.instance.task_name = self.task.name
        if "accepted_types" in self.fields:
            self.fields["accepted_types"].help_text = self._types_help()
        if "on_success" in self.fields:
            self._limit_next()
        self.initial["auto_start_user"] = _address_of(self.instance.auto_start_user_id)
        self.initial["auto_start_batch"] = str(self.instance.auto_start_batch_id or "")

    def _has_all_types_of(self, task: TaskDefinition) -> bool:
        return self.instance.accepted_types == list(task.accepts)

    def _types_help(self) -> str:
        told = "One in a line, such as application/pdf or image/*."
        if self.task is None:
            return told
        some = ", ".join(self.task.accepts[:3]) + ("…" if len(self.task.accepts) > 3 else "")
        return f"{told} Empty: all that the task takes ({some})."

    def _limit_next(self) -> None:
        field = cast(forms.ModelChoiceField, self.fields["on_success"])
        field.queryset = Workflow.objects.exclude(id=self.instance.id).order_by("name", "id")
        for option in ("can_add_related", "can_change_related", "can_delete_related"):
            setattr(field.widget, option, False)

    def clean_auto_start_user(self) -> UUID | None:
        given = self.cleaned_data["auto_start_user"]
        if "auto_start_user" not in self.changed_data:
            return self.instance.auto_start_user_id
        if not given:
            return None
        user = User.objects.filter(email__iexact=given).first()
        if user is None:
            raise ValidationError("No account has this e-mail address.")
        return user.id

    def clean_auto_start_batch(self) -> UUID | None:
        given = self.cleaned_data["auto_start_batch"]
        if "auto_start_batch" not in self.changed_data:
            return self.instance.auto_start_batch_id
        if not given:
            return None
        try:
            batch = UploadBatch.objects.filter(id=UUID(given)).first()
        except ValueError as exc:
            raise ValidationError("This is not the id of a batch.") from exc
        if batch is None:
            raise ValidationError("There is no batch with this id.")
        return batch.id

    def _post_clean(self) -> None:
        """Check the workflow as a whole too, so that all mistakes are shown together."""
        super()._post_clean()  # type: ignore[misc]  # unknown to django-stubs
        workflow = self.instance
        for name in ("auto_start_user", "auto_start_batch"):
            if name in self.cleaned_data:
                setattr(workflow, f"{name}_id", self.cleaned_data[name])
        if self.task is not None:
            entered = {
                name.removeprefix(_PREFIX): value
                for name, value in self.cleaned_data.items()
                if name.startswith(_PREFIX)
            }
            workflow.config = config_values(self.task, entered)
        try:
            definitions.check(workflow)
        except InvalidInput as exc:
            for problem in exc.extra["errors"]:
                self._refuse(problem["field"], problem["message"])

    def _refuse(self, place: str, message: str) -> None:
        """Show the message at the form's field, unless that field has an error already."""
        setting = place.removeprefix("config.")
        field, told = placed(setting, message)
        if setting != place:
            field = _PREFIX + field
        if field not in self.fields:
            self.add_error(None, f"{place}: {message}")
        elif field not in self.errors:
            self.add_error(field, told)


def _address_of(user_id: UUID | None) -> str:
    """The e-mail address to show for an account; its id when the account is deleted."""
    if user_id is None:
        return ""
    email = User.objects.filter(id=user_id).values_list("email", flat=True).first()
    return email or str(user_id)


class SecretForm(forms.ModelForm):
    """The value can be written but is never shown."""

    new_value = forms.CharField(
        label="Value",
        widget=forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "new-password"}),
        max_length=10_000,
    )

    class Meta:
        model = WorkflowSecret
        fields = ("name", "description")
        help_texts = {"name": "What configurations call it. It stays as it is."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding and "new_value" in self.fields:
            self.fields["new_value"].required = False
            self.fields[
                "new_value"
            ].help_text = "It is stored encrypted and not shown. Left empty, it stays as it is."

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # unknown to django-stubs
        if self.cleaned_data.get("new_value"):
            self.instance.value = self.cleaned_data["new_value"]
