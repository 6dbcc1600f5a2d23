"""The form fields of a task's configuration, made from its schema, and what is entered in them.

What they let pass is checked by `registry.check_config`: they only have to be convenient.
"""

import json
from functools import partial
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from uploads.models import WorkflowSecret
from uploads.workflows.registry import TaskDefinition

_UNCHOSEN = ("", "—")


def config_fields(task: TaskDefinition, config: dict[str, Any]) -> dict[str, forms.Field]:
    """A field for each value of the configuration, by name, filled from `config`."""
    schema = task.config.model_json_schema()
    fields = {}
    for name, info in task.config.model_fields.items():
        default = _default(info)
        described = _described(schema["properties"][name], schema)
        field = _field(described | {"default": default}, stored=config.get(name))
        field.label = info.title or name.replace("_", " ").capitalize()
        field.help_text = info.description or ""
        field.initial = config.get(name, default)
        field.required = info.is_required() and not isinstance(field, forms.BooleanField)
        if isinstance(field.widget, forms.NumberInput) and default is not None:
            field.widget.attrs["placeholder"] = str(default)
        fields[name] = field
    return fields


def config_values(task: TaskDefinition, entered: dict[str, Any]) -> dict[str, Any]:
    """What was entered, by the names above, in JSON's types: an empty field takes the default.

    Text can be empty instead of a default that is not. What has no default is left out.
    """
    values = {}
    for name, value in entered.items():
        info = task.config.model_fields[name]
        default = _default(info)
        is_empty = value is None or (value == "" and not isinstance(default, str))
        if not (is_empty and info.is_required()):
            values[name] = default if is_empty else value
    return values


def placed(place: str, message: str) -> tuple[str, str]:
    """The field that an error of `check_config` is shown at, and what is shown."""
    name, _, inside = place.partition(".")
    return name, f"{inside}: {message}" if inside else message


class _NumberField(forms.DecimalField):
    """Digit by digit, as JSON takes it: a float cannot say every amount, a Decimal is no JSON."""

    def clean(self, value: Any) -> str | None:
        number = super().clean(value)
        return None if number is None else str(number)


class _TextField(forms.CharField):
    """Text as it is meant: browsers end the lines of a form with CR LF."""

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class _JSONDecoder(json.JSONDecoder):
    """What is too deep or too long a number for Python is told as wrong JSON is."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except (ValueError, RecursionError) as exc:
            raise json.JSONDecodeError("Not readable", s, 0) from exc


class _JSONField(forms.JSONField):
    """Readable JSON, also after it was refused."""

    empty_values = [None, ""]

    def prepare_value(self, value: Any) -> str:
        if value is None or isinstance(value, InvalidJSONInput):
            return value or ""
        return json.dumps(value, indent=2, ensure_ascii=False)


_NUMBERS: dict[str, type[forms.IntegerField]] = {
    "integer": forms.IntegerField,
    "number": _NumberField,
}


def _default(info: FieldInfo) -> Any:
    """As JSON; None also where there is none."""
    return to_jsonable_python(
        None if info.is_required() else info.get_default(call_default_factory=True)
    )


def _described(own: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value: references followed, and of several kinds the one to be typed."""
    kinds = [kind for kind in own.get("anyOf", [own]) if kind.get("type") != "null"]
    numbers = [kind for kind in kinds if kind.get("type") == "number"]  # a Decimal may be text too
    if len(kinds) > 1 and not numbers:
        return {}
    chosen = (numbers or kinds)[0]
    if "$ref" in chosen:
        chosen = whole["$defs"][chosen["$ref"].rpartition("/")[2]]
    return {**own, **chosen, "nullable": {"type": "null"} in own.get("anyOf", [])}


def _field(schema: dict[str, Any], *, stored: Any) -> forms.Field:
    kind = schema.get("type", "")
    if schema.get("secret"):
        return forms.ChoiceField(choices=partial(_secret_choices, stored))
    if "enum" in schema or "const" in schema:
        known = schema.get("enum", [schema.get("const")])
        values = {str(value): value for value in known if value is not None}
        unchosen = [_UNCHOSEN] if schema["default"] is None else []
        return forms.TypedChoiceField(
            choices=[*unchosen, *((text, text) for text in values)],
            coerce=values.__getitem__,
            empty_value=None,
        )
    if kind == "boolean":
        return forms.NullBooleanField() if schema["nullable"] else forms.BooleanField()
    if kind in _NUMBERS:
        return _NUMBERS[kind](min_value=schema.get("minimum"), max_value=schema.get("maximum"))
    if kind == "string":
        long = schema.get("multiline") is True
        widget = forms.Textarea({"rows": 8}) if long else forms.TextInput({"autocomplete": "off"})
        return _TextField(strip=not long, max_length=schema.get("maxLength"), widget=widget)
    widget = forms.Textarea({"rows": 4, "spellcheck": "false"})
    return _JSONField(decoder=_JSONDecoder, widget=widget)


def _secret_choices(stored: str | None) -> list[tuple[str, str]]:
    """Those that there are, and the one that is named though it is gone."""
    names = set(WorkflowSecret.objects.values_list("name", flat=True))
    choices = [(name, name) for name in sorted(names)]
    if stored and stored not in names:
        choices.append((stored, f"{stored} (missing)"))
    return [_UNCHOSEN, *choices]
