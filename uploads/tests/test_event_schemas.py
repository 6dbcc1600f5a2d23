"""What is published about events: a schema and an example for each, and they agree."""

import json

import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from common.outbox import schemas as event_schemas
from common.outbox.types import event_types

TYPES = sorted(event_types)


def get(path, **headers):
    return Client().get(path, headers=headers)


def served(event_type):
    response = get(f"/schemas/{event_type}.v1.json")
    assert response.status_code == 200
    return response.json()


@pytest.mark.parametrize("event_type", TYPES)
def test_a_schema_is_valid_says_what_it_is_and_where_it_is(event_type, settings):
    settings.PUBLIC_URL = "https://portal.example.org"
    schema = served(event_type)

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://portal.example.org/schemas/{event_type}.v1.json"
    assert schema["title"] == event_type
    assert schema["description"].endswith(".")
    assert schema["properties"]["type"] == {"const": event_type}


@pytest.mark.parametrize("event_type", TYPES)
def test_the_example_is_valid(event_type, event_validator):
    (example,) = served(event_type)["examples"]

    assert example == event_schemas.example(event_type)
    event_validator(event_type).validate(example)


@pytest.mark.parametrize("event_type", TYPES)
def test_members_may_be_added_but_none_may_be_missing(event_type, event_validator):
    validator = event_validator(event_type)
    example = event_schemas.example(event_type)

    def valid(event):
        return validator.is_valid(json.loads(json.dumps(event)))

    assert valid(example | {"new": 1})
    assert valid(example | {"data": example["data"] | {"new": 1}})
    for name in example:
        assert not valid({key: value for key, value in example.items() if key != name})
    for name in example["data"]:
        data = {key: value for key, value in example["data"].items() if key != name}
        assert not valid(example | {"data": data})


@pytest.mark.parametrize("event_type", TYPES)
def test_no_schema_is_closed_against_further_members(event_type):
    assert '"additionalProperties": false' not in json.dumps(served(event_type))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", "evt_1"),
        ("type", "file.deleted"),
        ("timestamp", "yesterday"),
        ("schema_version", 2),
        ("data", {}),
    ],
)
def test_an_event_that_is_not_as_described_is_invalid(member, value, event_validator):
    event = event_schemas.example("file.uploaded") | {member: value}

    assert not event_validator("file.uploaded").is_valid(event)


def test_a_schema_is_for_every_web_page_and_every_cache(client):
    response = get("/schemas/file.uploaded.v1.json", Origin="https://elsewhere.example")

    assert response["Content-Type"] == "application/schema+json"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert set(response["Cache-Control"].split(", ")) == {"public", "max-age=3600"}
    assert "Cookie" not in response.get("Vary", "")
    again = get("/schemas/file.uploaded.v1.json", If_None_Match=response["ETag"])
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["file.upload.v1.json", "file.*.v1.json", "x.v1.json"])
def test_an_unknown_type_is_not_found(name):
    response = get(f"/schemas/{name}")

    assert (response.status_code, response.json()["code"]) == (404, "schema_not_found")
    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("name", ["file.uploaded.v2.json", "file.uploaded"])
def test_an_unknown_version_is_not_found(name, db):
    assert get(f"/schemas/{name}").status_code == 404


def test_a_schema_is_only_read():
    assert (
        Client(enforce_csrf_checks=True).post("/schemas/file.uploaded.v1.json").status_code == 405
    )


def test_the_fields_of_an_event_are_told_to_their_leaves():
    fields = {field.path: field for field in event_schemas.fields("file.failed")}

    assert fields["file.storage.key"].kind == "string"
    assert fields["file.expires_at"].kind == "string date-time or null"
    assert fields["file.size_bytes"].kind == "integer"
    assert "hex" in fields["file.sha256"].description
    assert fields["error.code"].description == "Stable: for programs."
    assert not {"file", "actor", "error"} & fields.keys()
