"""The form fields of a configuration: what is shown of it, and what comes of what is entered."""

from decimal import Decimal
from typing import Any, Literal

import pytest
from django import forms
from pydantic import Field, JsonValue

from uploads.models import WorkflowSecret
from uploads.workflows import MULTILINE, SecretName, TaskConfig, WorkflowResult
from uploads.workflows.config_fields import config_fields, config_values, placed
from uploads.workflows.registry import TaskDefinition, check_config


class PosterConfig(TaskConfig):
    heading: str
    colour: str = "red"
    note: str | None = None
    text: str = Field("", max_length=5, json_schema_extra=MULTILINE)
    count: int = Field(5, ge=1, le=9)
    share: float | None = Field(0.5, ge=0, le=1)
    price: Decimal = Decimal("1.5")
    columns: Literal[1, 2] = 1
    unit: Literal["mm"] = "mm"
    tone: Literal["dry", "warm"] | None = None
    careful: bool = True
    known: bool | None = None
    key: SecretName = ""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    limit: int | Literal["auto"] = "auto"


TASK = TaskDefinition("poster", ("*/*",), PosterConfig, lambda _: WorkflowResult())

pytestmark = pytest.mark.django_db


def form_of(config: dict[str, Any], sent: dict[str, str] | None = None) -> forms.Form:
    form = forms.Form(sent)
    form.fields |= config_fields(TASK, config)
    return form


def as_sent(form: forms.Form) -> dict[str, str]:
    """What a browser would send of the form as it is shown."""
    return {
        bound.html_name: str(bound.value())
        for bound in form
        if bound.value() is not None and (bound.value() or bound.widget_type != "checkbox")
    }


def entered(form: forms.Form) -> dict[str, Any]:
    assert form.is_valid(), form.errors
    return config_values(TASK, form.cleaned_data)


def test_what_is_sent_as_it_was_shown_is_kept_as_it_was():
    WorkflowSecret.objects.create(name="a-key", value="s3cret")
    config = {
        "heading": "Grüße",
        "colour": "",
        "note": "n",
        "text": "a\nb",
        "count": 7,
        "share": 0.25,
        "price": "1.50000000000000000000001",
        "columns": 2,
        "tone": "warm",
        "careful": False,
        "known": False,
        "key": "a-key",
        "extra": {"ä": [1, None]},
        "limit": 3,
    }
    assert check_config(TASK, config) == config
    values = entered(form_of(config, as_sent(form_of(config))))
    assert check_config(TASK, values) == config


def test_an_empty_field_takes_the_default_and_text_can_be_empty_instead():
    chosen = {"heading": "x", "columns": "1", "unit": "mm", "careful": "on"}
    form = form_of({"count": 7}, dict.fromkeys(PosterConfig.model_fields, "") | chosen)
    values = entered(form)
    assert values["count"] == 5
    assert values["extra"] == {}
    assert check_config(TASK, values) == {"heading": "x", "colour": ""}


def test_what_has_no_default_must_be_entered_or_is_left_out():
    assert list(form_of({}, as_sent(form_of({}))).errors) == ["heading"]
    assert config_values(TASK, {"heading": "", "count": None}) == {"count": 5}


def test_browsers_line_ends_count_as_one_character():
    sent = as_sent(form_of({"heading": "x"}))
    assert entered(form_of({}, sent | {"text": "ab\r\ncd"}))["text"] == "ab\ncd"
    assert list(form_of({}, sent | {"text": "ab\r\ncde"}).errors) == ["text"]


@pytest.mark.parametrize("text", ['{"a": [', "[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_json_that_cannot_be_read_is_refused_and_shown_as_it_was_typed(text: str):
    form = form_of({}, as_sent(form_of({"heading": "x"})) | {"extra": text})
    assert list(form.errors) == ["extra"]
    assert form["extra"].value() == text


def test_json_is_shown_on_lines_of_its_own_also_when_another_field_is_wrong():
    shown = '{\n  "ä": 1\n}'
    assert form_of({"extra": {"ä": 1}})["extra"].value() == shown
    form = form_of({}, as_sent(form_of({})) | {"extra": '{"ä":1}', "limit": '"auto"'})
    assert list(form.errors) == ["heading"]
    assert form["extra"].value() == shown
    assert form["limit"].value() == '"auto"'


def test_choices_numbers_and_secrets_offer_what_there_is():
    WorkflowSecret.objects.create(name="a-key", value="s3cret")
    fields = config_fields(TASK, {"key": "lost"})
    offered = {
        name: [value for value, _ in field.choices]
        for name, field in fields.items()
        if isinstance(field, forms.ChoiceField)
    }
    assert offered == {
        "columns": ["1", "2"],
        "unit": ["mm"],
        "tone": ["", "dry", "warm"],
        "key": ["", "a-key", "lost"],
    }
    assert fields["key"].choices[-1] == ("lost", "lost (missing)")
    shown = fields["count"].widget.attrs
    assert (shown["min"], shown["max"], shown["placeholder"]) == (1, 9, "5")
    assert fields["share"].widget.attrs["step"] == "any"


def test_an_error_is_placed_at_its_field():
    assert placed("count", "Too many.") == ("count", "Too many.")
    assert placed("extra.a.0", "Wrong.") == ("extra", "a.0: Wrong.")
