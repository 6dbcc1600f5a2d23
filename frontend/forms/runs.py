"""The list's filter, and what can be set anew for one run."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from django import forms

from common.errors import DooritoError
from uploads.models import RunStatus
from uploads.run_selectors import active_workflows
from uploads.workflows.registry import MULTILINE, TaskDefinition, is_marked

Schema = dict[str, Any]


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
    """Members of a task's configuration, as its JSON Schema describes them.

    What is entered is only read here; `uploads.workflows.starting` judges it.
    """

    def __init__(
        self, *args: Any, task: TaskDefinition, names: Sequence[str], values: Schema, **kwargs: Any
    ) -> None:
        """`values` are those of the workflow, or of the run that is made again."""
        super().__init__(*args, **kwargs)
        schema = task.config.model_json_schema()
        for name in names:
            info = task.config.model_fields[name]
            described = _described(schema, name)
            described["title"] = info.title or name.replace("_", " ").capitalize()
            initial = values.get(name, described.get("default"))
            is_long = is_marked(info, MULTILINE)
            self.fields[name] = _field(described, initial=initial, is_long=is_long)

    def refuse(self, error: DooritoError) -> None:
        """Show an error at the fields that it names, or else above them."""
        named = [
            (item["field"].partition(".")[0], item["message"])
            for item in error.extra.get("errors", [])
        ]
        for name, message in named:
            self.add_error(name if name in self.fields else None, message)
        if not named:
            self.add_error(None, error.message)


class _TextField(forms.CharField):
    """Text as it is meant: browsers end the lines of a form with CR LF."""

    def to_python(self, value: Any) -> str | None:
        text = super().to_python(value)
        return text and text.replace("\r\n", "\n")


class _NumberField(forms.DecimalField):
    """As JSON takes it: a float cannot say every amount, a Decimal is no JSON."""

    def clean(self, value: Any) -> str | None:
        number = super().clean(value)
        return None if number is None else str(number)


class _JSONField(forms.JSONField):
    """Readable JSON, also after it was refused."""

    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _described(schema: Schema, name: str) -> Schema:
    """A member's schema, with what it refers to, and whether it may be null."""
    own: Schema = schema["properties"][name]
    kinds = own.get("anyOf") or own.get("allOf") or [own]
    values = [kind for kind in kinds if kind.get("type") != "null"]
    described = dict(own)
    numbers = [kind for kind in values if kind.get("type") == "number"]  # a Decimal may be text
    if len(values) == 1 or numbers:
        described |= _resolved(schema, (numbers or values)[0])
    described |= {key: own[key] for key in ("description", "default") if key in own}
    return described | {"nullable": len(values) < len(kinds)}


def _resolved(schema: Schema, part: Schema) -> Schema:
    reference = part.get("$ref", "").rpartition("/")[2]
    return schema["$defs"][reference] if reference else part


def _field(schema: Schema, *, initial: Any, is_long: bool) -> forms.Field:
    common: Schema = {
        "label": schema["title"],
        "help_text": schema.get("description", ""),
        "initial": initial,
        "required": not schema["nullable"],
    }
    if "enum" in schema:
        return _choice(schema, common)
    make = _FIELDS.get(schema.get("type", ""), _json)
    return _long_text(schema, common) if is_long and make is _text else make(schema, common)


def _choice(schema: Schema, common: Schema) -> forms.Field:
    known = {str(value): value for value in schema["enum"]}
    choices = [(text, text) for text in known]
    if schema["nullable"]:
        choices.insert(0, ("", "—"))
    return forms.TypedChoiceField(
        choices=choices, coerce=lambda text: known[text], empty_value=None, **common
    )


def _truth(_: Schema, common: Schema) -> forms.Field:
    return forms.BooleanField(**common | {"required": False})


def _whole(schema: Schema, common: Schema) -> forms.Field:
    return forms.IntegerField(**_bounds(schema), **common)


def _number(schema: Schema, common: Schema) -> forms.Field:
    """What is typed is kept digit by digit: it may be money."""
    return _NumberField(
        **_bounds(schema), **common, widget=forms.NumberInput(attrs={"step": "any"})
    )


def _bounds(schema: Schema) -> Schema:
    return {"min_value": schema.get("minimum"), "max_value": schema.get("maximum")}


def _text(schema: Schema, common: Schema) -> forms.Field:
    """An empty text is one, unless there must be some: then the schema says so."""
    return _TextField(
        **_text_options(schema, common), widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


def _long_text(schema: Schema, common: Schema) -> forms.Field:
    return _TextField(**_text_options(schema, common), widget=forms.Textarea(attrs={"rows": 8}))


def _text_options(schema: Schema, common: Schema) -> Schema:
    return {
        **common,
        "required": schema.get("minLength", 0) > 0,
        "max_length": schema.get("maxLength"),
        "strip": False,
        "empty_value": None if schema["nullable"] else "",
    }


def _json(_: Schema, common: Schema) -> forms.Field:
    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false"})
    return _JSONField(**common | {"required": False}, widget=widget)


_FIELDS: dict[str, Callable[[Schema, Schema], forms.Field]] = {
    "boolean": _truth,
    "integer": _whole,
    "number": _number,
    "string": _text,
}
