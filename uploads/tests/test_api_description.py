"""The OpenAPI document: what it says is so, and a client made from it works."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.test import Client
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from accounts.tests.factories import make_user
from common.tests.factories import make_attempt, make_delivery
from uploads.tests.description import document, problems_of
from uploads.tests.factories import FILES, Api, body, sha256
from uploads.tests.workflow_factories import RUNS, make_completed

TEXT = b"Some plain text.\n"


def operations() -> Iterator[dict[str, Any]]:
    for path in document()["paths"].values():
        yield from path.values()


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from inside(item)


def our_models(of: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for model in of.__subclasses__():
        if model.__module__.startswith(("common.", "uploads.")):
            yield model
        yield from our_models(model)


def test_no_two_schemas_have_one_name():
    """django-ninja would let the last of them stand for all."""
    names = Counter(model.__name__ for model in set(our_models()))
    assert [name for name in document()["components"]["schemas"] if names[name] != 1] == []


def test_operations_have_names_of_their_own_that_no_move_of_a_module_changes():
    names = Counter(operation["operationId"] for operation in operations())
    assert [name for name, count in names.items() if count > 1] == []
    assert {"store_file", "list_runs", "create_webhook"} <= set(names)


def test_what_the_document_refers_to_is_in_it():
    known = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    used = {each["$ref"] for each in inside(document()) if "$ref" in each}
    assert used <= known
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_an_answer_that_is_not_as_described_is_found(api):
    """The guard over all tests of the API."""
    reply = api.get(FILES)
    assert problems_of("GET", FILES, reply) == []
    for answer in ('{"items": [{}]}', '{"items": 1, "next_cursor": null}', "[]"):
        reply.content = answer.encode()
        del reply.json
        reply.json = lambda answer=answer: json.loads(answer)
        assert problems_of("GET", FILES, reply)
    reply.status_code = 299
    assert problems_of("GET", FILES, reply) == [f"GET {FILES} is not described to answer 299"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A Python client, generated from the document."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(Client().get("/api/v1/openapi.json").content.decode())
    (folder / "config.yml").write_text("post_hooks: []\n")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", "openapi.json", "--config", "config.yml"),
            *("--output-path", "generated_client"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, "arning" in made.stdout + made.stderr) == (0, False), made.stdout
    return loaded(folder / "generated_client")


def loaded(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(folder.name, folder / "__init__.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = module
    spec.loader.exec_module(module)
    return module


def call(generated: ModuleType, name: str, api: Api, *args: Any, **values: Any) -> Any:
    """What one of its calls gives, `files.list_files` for example; the portal is right here."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = api.http.generic(
            request.method,
            request.url.raw_path.decode(),
            request.read(),
            content_type=request.headers.get("Content-Type", ""),
            headers={"authorization": request.headers["Authorization"]},
        )
        return httpx.Response(reply.status_code, headers=dict(reply.items()), content=body(reply))

    client = generated.AuthenticatedClient(
        base_url="http://testserver",
        token=api.token,
        httpx_args={"transport": httpx.MockTransport(answer)},
    )
    module = importlib.import_module(f"{generated.__name__}.api.{name}")
    return module.sync_detailed(*args, client=client, **values)


def models(generated: ModuleType) -> ModuleType:
    return importlib.import_module(f"{generated.__name__}.models")


@pytest.mark.process
def test_a_generated_client_uploads_in_parts(api, generated):
    wanted = models(generated).SessionIn(filename="a.txt", size_bytes=len(TEXT))
    session = call(generated, "upload_sessions.create_session", api, body=wanted).parsed
    part = call(
        generated,
        "upload_sessions.put_part",
        api,
        session.session_id,
        1,
        body=importlib.import_module(f"{generated.__name__}.types").File(BytesIO(TEXT)),
    )
    assert (part.status_code, part.parsed.total_parts) == (HTTPStatus.OK, 1), part.content
    file = call(generated, "upload_sessions.finalize_session", api, session.session_id).parsed
    assert (file.sha256, file.status) == (sha256(TEXT), "stored")
    listed = call(generated, "files.list_files", api).parsed
    assert [(each.id, each.original_filename) for each in listed.items] == [(file.id, "a.txt")]


@pytest.mark.process
def test_a_generated_client_reads_runs_with_their_attempts(api, generated, no_run_kicks):
    run = make_completed(user=api.user, output_text="Findings")
    shown = call(generated, "runs.get_run", api, run.id).parsed
    assert (shown.output_text, shown.status) == ("Findings", "completed")
    assert [(each.number, each.outcome) for each in shown.attempts] == [(1, "completed")]


@pytest.mark.process
def test_a_generated_client_reads_deliveries_with_their_attempts(generated, db):
    staff = Api(make_user(is_staff=True))
    attempt = make_attempt(delivery=make_delivery(), number=1, response_status=204)
    shown = call(generated, "deliveries.get_delivery", staff, attempt.delivery_id).parsed
    assert [(each.number, each.response_status) for each in shown.attempts] == [(1, 204)]


@pytest.mark.process
def test_a_generated_client_gets_errors_as_problems(api, generated):
    reply = call(generated, "files.get_file", api, UUID(int=0))
    assert reply.status_code == HTTPStatus.NOT_FOUND
    assert (reply.parsed.code, type(reply.parsed).__name__) == ("file_not_found", "Problem")


def test_the_two_kinds_of_attempts_are_told_apart(db):
    schemas = document()["components"]["schemas"]
    for holder, attempt in [
        ("RunDetailOut", "RunAttemptOut"),
        ("DeliveryDetailOut", "DeliveryAttemptOut"),
    ]:
        items = schemas[holder]["properties"]["attempts"]["items"]
        assert items == {"$ref": f"#/components/schemas/{attempt}"}
    assert RUNS in document()["paths"]
