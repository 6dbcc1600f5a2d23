"""Form fields for a task's configuration, made from its schema, and the values entered in them.

The fields are for convenience: `registry.check_config` checks the values.
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
    """The entered values by name, as JSON types. An empty field takes its default.

    An empty text stays empty where the default is a text. Empty fields without a default are left
    out.
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
    """The name of the field where an error of `check_config` is shown, and the message."""
    name, _, inside = place.partition(".")
    return name, f"{inside}: {message}" if inside else message


class _NumberField(forms.DecimalField):
    """A number kept as text: a float cannot hold every amount, and JSON has no Decimal."""

    def clean(self, value: Any) -> str | None:
        number = super().clean(value)
        return None if number is None else str(number)


class _TextField(forms.CharField):
    """Text with LF line ends: browsers send CR LF."""

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class _JSONDecoder(json.JSONDecoder):
    """Reports JSON that Python cannot read (too deep, number too long) as invalid JSON."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except (ValueError, RecursionError) as exc:
            raise json.JSONDecodeError("Not readable", s, 0) from exc


class _JSONField(forms.JSONField):
    """Shows indented JSON, and invalid input as it was entered."""

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
    """The default as a JSON value; None if there is no default."""
    return to_jsonable_python(
        None if info.is_required() else info.get_default(call_default_factory=True)
    )


def _described(own: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value: references resolved; of several types, the one the user enters."""
    kinds = [kind for kind in own.get("anyOf", [own]) if kind.get("type") != "null"]
    numbers = [
        kind for kind in kinds if kind.get("type") == "number"
    ]  # a Decimal's schema also allows text
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
    """All secrets, and the stored name even if that secret no longer exists."""
    names = set(WorkflowSecret.objects.values_list("name", flat=True))
    choices = [(name, name) for name in sorted(names)]
    if stored and stored not in names:
        choices.append((stored, f"{stored} (missing)"))
    return [_UNCHOSEN, *choices]
