"""The form of a task's configuration, made from its schema (see `TaskConfig`).

What the fields let pass is checked by the schema itself: they only have to be convenient.
"""

from decimal import Decimal
from functools import partial
from typing import Any

from django import forms
from django.contrib.admin import widgets
from pydantic_core import to_jsonable_python

from uploads.models import WorkflowSecret
from uploads.workflows.registry import TaskDefinition

PREFIX = "config_"  # of the form's fields: a task may name its own as the workflow's are named
_UNCHOSEN = ("", "---------")
_NUMBERS: dict[str, type[forms.IntegerField]] = {
    "integer": forms.IntegerField,
    "number": forms.DecimalField,
}


def config_fields(task: TaskDefinition, config: dict[str, Any]) -> dict[str, forms.Field]:
    """A form field for each value of the configuration, by name, filled from `config`."""
    schema = task.config.model_json_schema()
    fields = {}
    for name, info in task.config.model_fields.items():
        field = _field(_resolved(schema["properties"][name], schema), stored=config.get(name))
        field.label = info.title or name.replace("_", " ").capitalize()
        field.help_text = info.description or ""
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        field.initial = config.get(name, to_jsonable_python(default))
        if info.is_required():
            field.help_text = f"{field.help_text} Required of an active workflow.".lstrip()
        elif isinstance(default, int | float | Decimal) and not isinstance(default, bool):
            field.widget.attrs["placeholder"] = str(default)
        fields[PREFIX + name] = field
    return fields


def config_values(task: TaskDefinition, cleaned: dict[str, Any]) -> dict[str, Any]:
    """The configuration that the form's fields say, in JSON's types; what is empty is left out.

    Text is different: empty, it takes the place of a default that is not.
    """
    values = {}
    for name, info in task.config.model_fields.items():
        value = cleaned.get(PREFIX + name)
        if value in (None, "") and not (isinstance(info.default, str) and info.default):
            continue
        if value is not None:
            values[name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    """As JSON and tasks want it: forms have numbers of their own, and browsers line ends."""
    if isinstance(value, Decimal):
        return str(value)
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value: references followed, and of several kinds the one to be typed."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    numbers = [kind for kind in kinds if kind.get("type") in _NUMBERS]  # a Decimal may be text too
    if len(kinds) > 1 and not numbers:
        return {"secret": schema.get("secret")}
    chosen = (numbers or kinds)[0]
    if "$ref" in chosen:
        chosen = whole["$defs"][chosen["$ref"].rpartition("/")[2]]
    return {**schema, **chosen, "nullable": {"type": "null"} in schema.get("anyOf", [])}


def _field(schema: dict[str, Any], *, stored: Any) -> forms.Field:
    kind = schema.get("type")
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if schema.get("secret"):
        return forms.ChoiceField(choices=partial(_secret_choices, stored), required=False)
    if choices and all(isinstance(choice, str) for choice in choices):
        options = [(choice, choice) for choice in choices]
        may_be_none = schema.get("default") is None
        return forms.ChoiceField(choices=[_UNCHOSEN] * may_be_none + options, required=False)
    if kind == "boolean":
        boolean = forms.NullBooleanField if schema["nullable"] else forms.BooleanField
        return boolean(required=False)
    if kind in _NUMBERS:
        return _NUMBERS[kind](
            required=False,
            min_value=schema.get("minimum"),
            max_value=schema.get("maximum"),
            widget=forms.NumberInput(attrs={"class": "vIntegerField", "step": _step(kind)}),
        )
    if kind == "string":
        long = schema.get("multiline") is True
        widget = widgets.AdminTextareaWidget if long else widgets.AdminTextInputWidget
        return forms.CharField(
            required=False, strip=not long, max_length=schema.get("maxLength"), widget=widget
        )
    return forms.JSONField(required=False, widget=widgets.AdminTextareaWidget(attrs={"rows": 4}))


def _step(kind: str) -> str:
    return "1" if kind == "integer" else "any"


def _secret_choices(stored: str | None) -> list[tuple[str, str]]:
    """Those that there are, and the one that is named though it is gone."""
    names = set(WorkflowSecret.objects.values_list("name", flat=True))
    choices = [(name, name) for name in sorted(names)]
    if stored and stored not in names:
        choices.append((stored, f"{stored} (missing)"))
    return [_UNCHOSEN, *choices]
