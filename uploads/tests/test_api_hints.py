"""Where people stumble, the answer says what to do; harmless variants are taken."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from uploads.models import IngestFile, UploadSession
from uploads.tests.factories import (
    BATCHES,
    FILES,
    SESSIONS,
    assert_nothing_is_left,
    assert_problem,
    events,
)
from uploads.tests.workflow_factories import RUNS, make_workflow

TEXT = b"Some plain text.\n"


@pytest.mark.parametrize("path", [f"{FILES}/", f"{SESSIONS}/", f"{BATCHES}//"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slash_too_many_is_named(api, method, path):
    problem = assert_problem(api.http.generic(method, path), 404, "endpoint_not_found")
    assert f"Leave out the slash at the end: {path.rstrip('/')}." in problem["detail"]


@pytest.mark.parametrize("path", ["/api/v1/nothing/", "/api/v1/nothing", "/api/"])
def test_an_address_that_is_none_without_the_slash_either_has_no_hint(api, path):
    assert "slash" not in assert_problem(api.get(path), 404, "endpoint_not_found")["detail"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (FILES, 405, "method_not_allowed"),
        (f"{FILES}/report.pdf", 404, "endpoint_not_found"),
        (f"{FILES}/", 404, "endpoint_not_found"),
    ],
)
def test_who_puts_a_file_is_told_to_post_it(api, path, status, code):
    """As `curl -T report.pdf` does."""
    problem = assert_problem(api.http.put(path, TEXT, content_type="text/plain"), status, code)
    assert "POST /api/v1/files?filename=" in problem["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_raw_body_without_a_name_is_told_how_to_give_one(api, content_type):
    problem = assert_problem(api.post_raw(TEXT, content_type=content_type), 400, "invalid_filename")
    assert "/api/v1/files?filename=" in problem["detail"]
    assert "multipart/form-data" in problem["detail"]
    assert_nothing_is_left()


def test_null_means_not_given_where_something_is_optional(api):
    optional = ["content_type", "relative_path", "sha256", "batch_id", "metadata"]
    optional += ["idempotency_key", "chunk_size_bytes"]
    reply = api.create_session(**dict.fromkeys(optional))
    assert reply.status_code == 201, reply.content
    session = UploadSession.objects.select_related("file").get()
    assert (session.file.content_type, session.file.metadata) == ("", {})
    assert api.post(BATCHES, {"name": None}).json()["name"] == ""


def test_null_for_what_is_needed_or_unknown_is_refused(api):
    for values in ({"filename": None}, {"size_bytes": None}, {"file_name": None}):
        problem = assert_problem(api.create_session(**values), 400, "invalid_request")
        assert next(iter(values)) in problem["detail"]
    assert_nothing_is_left()


def test_a_run_may_be_started_with_null_for_its_configuration(api, no_run_kicks):
    file = api.upload(TEXT)
    workflow = make_workflow()
    body = {"workflow": workflow.slug, "config": None}
    assert api.post(f"{FILES}/{file['id']}/runs", body).status_code == 201
    assert len(api.get(RUNS).json()["items"]) == 1


# --- Metadata beside a file that is sent in one request ----------------------------------------

METADATA = '{"project": "Łódź", "pages": [1, 2], "nested": {"null": null}}'
AS_READ = {"project": "Łódź", "pages": [1, 2], "nested": {"null": None}}


def test_a_form_may_carry_metadata_as_json_text(api):
    reply = api.http.post(FILES, {"file": SimpleUploadedFile("a.txt", TEXT), "metadata": METADATA})
    assert (reply.status_code, reply.json()["metadata"]) == (201, AS_READ)
    assert IngestFile.objects.get().metadata == AS_READ
    assert events("file.uploaded")[0].payload["file"]["metadata"] == AS_READ


def test_a_query_may_carry_metadata_as_json_text(api):
    reply = api.post_raw(TEXT, filename="a.txt", metadata=METADATA)
    assert (reply.status_code, reply.json()["metadata"]) == (201, AS_READ)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "1", '"text"', "null", "project=1", '{"a": NaN}', '{"a": "\\u0000"}', "[" * 5000],
)
def test_metadata_that_is_no_object_is_refused_with_a_reason(api, text):
    problem = assert_problem(
        api.post_raw(TEXT, filename="a.txt", metadata=text), 400, "invalid_metadata"
    )
    assert problem["detail"].startswith("metadata ")
    assert_nothing_is_left()
