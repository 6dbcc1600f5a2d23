"""Every failure of the API is a problem document; every call needs its scope."""

import pytest
from django.test import Client

from accounts.models import TokenScope
from uploads.tests.factories import BATCHES, FILES, GRANTS, SESSIONS, Api, assert_problem
from uploads.tests.workflow_factories import RUNS, WORKFLOWS

ID = "01900000-0000-7000-8000-000000000000"

# method, address, scopes that it needs, code for an object that does not exist
CALLS = [
    ("POST", SESSIONS, "upload", None),
    ("GET", SESSIONS, "upload", None),
    ("GET", f"{SESSIONS}/{ID}", "upload", "session_not_found"),
    ("PUT", f"{SESSIONS}/{ID}/parts/1", "upload", "session_not_found"),
    ("GET", f"{SESSIONS}/{ID}/part-urls", "upload", "session_not_found"),
    ("POST", f"{SESSIONS}/{ID}/finalize", "upload", "session_not_found"),
    ("DELETE", f"{SESSIONS}/{ID}", "upload", "session_not_found"),
    ("POST", FILES, "upload", None),
    ("GET", FILES, "read", None),
    ("GET", f"{FILES}/{ID}", "read", "file_not_found"),
    ("GET", f"{FILES}/{ID}/content", "read", "file_not_found"),
    ("DELETE", f"{FILES}/{ID}", "consume", "file_not_found"),
    ("POST", f"{FILES}/{ID}/consume", "consume", "file_not_found"),
    ("POST", f"{FILES}/{ID}/extend", "upload", "file_not_found"),
    ("POST", f"{FILES}/{ID}/links", "read", "file_not_found"),
    ("GET", f"{FILES}/{ID}/links", "read", "file_not_found"),
    ("DELETE", f"{FILES}/{ID}/links/{ID}", "read", "file_not_found"),
    ("POST", f"{FILES}/{ID}/runs", "workflows", None),
    ("POST", f"{FILES}/{ID}/links", "read", "file_not_found"),
    ("GET", f"{FILES}/{ID}/links", "read", "file_not_found"),
    ("DELETE", f"{FILES}/{ID}/links/{ID}", "read", "file_not_found"),
    ("POST", GRANTS, "upload", None),
    ("GET", GRANTS, "upload", None),
    ("GET", f"{GRANTS}/{ID}", "upload", "grant_not_found"),
    ("PATCH", f"{GRANTS}/{ID}", "upload", "grant_not_found"),
    ("DELETE", f"{GRANTS}/{ID}", "upload", "grant_not_found"),
    ("POST", f"{GRANTS}/{ID}/renew", "upload", "grant_not_found"),
    ("POST", BATCHES, "upload", None),
    ("GET", BATCHES, "read", None),
    ("GET", f"{BATCHES}/{ID}", "read", "batch_not_found"),
    ("GET", f"{BATCHES}/{ID}/files", "read", "batch_not_found"),
    ("POST", f"{BATCHES}/{ID}/close", "upload", "batch_not_found"),
    ("POST", f"{BATCHES}/{ID}/runs", "workflows", None),
    ("GET", WORKFLOWS, "workflows", None),
    ("GET", f"{WORKFLOWS}/none", "workflows", "workflow_not_found"),
    ("GET", RUNS, "workflows", None),
    ("GET", f"{RUNS}/{ID}", "workflows", "run_not_found"),
    ("GET", f"{RUNS}/{ID}/log", "workflows read", "run_not_found"),
    ("GET", f"{RUNS}/{ID}/output", "workflows read", "run_not_found"),
    ("POST", f"{RUNS}/{ID}/cancel", "workflows", "run_not_found"),
    ("POST", f"{RUNS}/{ID}/retry", "workflows", "run_not_found"),
]
WITHOUT_ACCOUNT = f"{RUNS}/callback/"  # its link is the right to use it
BODY = b'{"expires_at": "2099-01-01T00:00:00Z"}'


def call(client: Client, method: str, path: str):
    return client.generic(method, path, BODY, content_type="application/json")


def test_the_table_names_every_call_of_the_api(db):
    schema = Client().get("/api/v1/openapi.json").json()
    known = {
        (method, path.replace(ID, "*").replace("/parts/1", "/parts/*").replace("/none", "/*"))
        for method, path, *_ in CALLS
    }
    offered = {
        (
            method.upper(),
            "/".join("*" if part.startswith("{") else part for part in path.split("/")),
        )
        for path, operations in schema["paths"].items()
        for method in operations
        if path.startswith((SESSIONS, FILES, GRANTS, BATCHES, WORKFLOWS, RUNS))
        and not path.startswith(WITHOUT_ACCOUNT)
        and not path.endswith("/restore")  # is the staff's alone
        and method != "head"
    }
    assert offered == known


@pytest.mark.parametrize(("method", "path", "scope", "code"), CALLS)
def test_without_credentials_nothing_is_answered(db, method, path, scope, code):
    reply = call(Client(), method, path)
    assert_problem(reply, 401, "not_authenticated")
    assert reply["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "scope", "code"), CALLS)
def test_an_unknown_token_is_not_accepted(db, method, path, scope, code):
    reply = call(Client(headers={"authorization": "Bearer drt_x"}), method, path)
    assert_problem(reply, 401, "token_invalid")


@pytest.mark.parametrize(("method", "path", "scope", "code"), CALLS)
def test_a_token_needs_the_scopes_of_the_call(db, method, path, scope, code):
    for missing in scope.split():
        others = tuple(value for value in TokenScope.values if value != missing)
        assert_problem(call(Api(scopes=others).http, method, path), 403, "scope_missing")
    reply = call(Api(scopes=tuple(scope.split())).http, method, path)
    assert reply.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path", "scope", "code"), [row for row in CALLS if row[3]])
def test_what_does_not_exist_is_not_found(api, method, path, scope, code):
    assert_problem(call(api.http, method, path), 404, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", SESSIONS, {"GET", "POST"}),
        ("POST", f"{SESSIONS}/{ID}", {"GET", "DELETE"}),
        ("GET", f"{SESSIONS}/{ID}/parts/1", {"PUT"}),
        ("GET", f"{SESSIONS}/{ID}/finalize", {"POST"}),
        ("DELETE", FILES, {"GET", "POST"}),
        ("PUT", f"{FILES}/{ID}", {"GET", "DELETE"}),
        ("POST", f"{FILES}/{ID}/content", {"GET", "HEAD"}),
        ("GET", f"{FILES}/{ID}/consume", {"POST"}),
        ("DELETE", f"{BATCHES}/{ID}", {"GET"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(api, method, path, allowed):
    reply = call(api.http, method, path)
    problem = assert_problem(reply, 405, "method_not_allowed")
    assert {name.strip() for name in reply["Allow"].split(",")} == allowed
    assert all(name in problem["detail"] for name in allowed)


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v2/files",
        f"{FILES}/",
        f"{FILES}/x/y",
        "/api/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_address_is_a_problem_document_too(api, method, path):
    assert_problem(call(api.http, method, path), 404, "endpoint_not_found")


def test_a_browser_session_must_bring_the_csrf_token(api):
    client = Client(enforce_csrf_checks=True)
    client.force_login(api.user)
    assert client.get(FILES).status_code == 200
    reply = client.post(
        SESSIONS, {"filename": "a", "size_bytes": 1}, content_type="application/json"
    )
    assert_problem(reply, 403, "csrf_failed")


def test_an_error_that_nobody_foresaw_tells_nothing_of_itself(api, monkeypatch):
    def fail(**_):
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr("uploads.selectors.files_page", fail)
    problem = assert_problem(api.get(FILES), 500, "internal_error")
    assert "42" not in str(problem)


def test_every_error_of_the_specification_is_described_as_a_problem(db):
    schema = Client().get("/api/v1/openapi.json").json()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            assert {"400", "401", "404", "409"} <= set(answers), path
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert set(answer["content"]) == {"application/problem+json"}, (path, status)


@pytest.mark.parametrize("path", ["/api/v1/docs", "/api/v1/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_the_description_of_the_api_is_only_read(db, method, path):
    client = Client(enforce_csrf_checks=True)
    assert client.get(path).status_code == 200
    reply = call(client, method, path)
    assert_problem(reply, 405, "method_not_allowed")
    assert reply["Allow"] == "GET, HEAD"
