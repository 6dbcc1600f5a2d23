"""Webhooks, deliveries and events: who may call what, and what does not exist."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import TokenScope, User
from accounts.tests.factories import make_user
from uploads.tests.factories import Api, assert_problem

WEBHOOKS = "/api/v1/webhooks"
DELIVERIES = "/api/v1/deliveries"
EVENTS = "/api/v1/events"
ID = "01900000-0000-7000-8000-000000000000"
SEE, CHANGE = "view_webhookendpoint", "change_webhookendpoint"

# method, address, permission that it needs, code for an object that does not exist
CALLS = [
    ("GET", WEBHOOKS, SEE, None),
    ("POST", WEBHOOKS, CHANGE, None),
    ("GET", f"{WEBHOOKS}/{ID}", SEE, "webhook_not_found"),
    ("PATCH", f"{WEBHOOKS}/{ID}", CHANGE, "webhook_not_found"),
    ("DELETE", f"{WEBHOOKS}/{ID}", CHANGE, "webhook_not_found"),
    ("GET", f"{WEBHOOKS}/{ID}/secret", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/rotate-secret", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/replace-secret", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/revoke-old-secrets", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/test", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/disable", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/enable", CHANGE, "webhook_not_found"),
    ("POST", f"{WEBHOOKS}/{ID}/recover", CHANGE, "webhook_not_found"),
    ("GET", f"{WEBHOOKS}/{ID}/deliveries", SEE, "webhook_not_found"),
    ("GET", f"{DELIVERIES}/{ID}", SEE, "delivery_not_found"),
    ("POST", f"{DELIVERIES}/{ID}/resend", CHANGE, "delivery_not_found"),
    ("GET", EVENTS, SEE, None),
    ("GET", f"{EVENTS}/{ID}", SEE, "event_not_found"),
    ("POST", f"{EVENTS}/{ID}/redeliver", CHANGE, "event_not_found"),
]
BODIES = {
    f"{WEBHOOKS}/{ID}": b'{"description": "x"}',
    f"{WEBHOOKS}/{ID}/recover": b'{"since": "2026-11-20T10:00:00Z"}',
}


def call(client: Client, method: str, path: str):
    body = BODIES.get(path, b"{}")
    return client.generic(method, path, body, content_type="application/json")


def staff_with(codename: str) -> User:
    user = make_user()
    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename=codename))
    return user


def test_the_table_names_every_call_of_the_api(db):
    schema = Client().get("/api/v1/openapi.json").json()
    offered = {
        (method.upper(), "/".join(ID if part.startswith("{") else part for part in path.split("/")))
        for path, operations in schema["paths"].items()
        for method in operations
        if path.startswith((WEBHOOKS, DELIVERIES, EVENTS))
    }
    assert offered == {(method, path) for method, path, *_ in CALLS}


def test_every_call_and_every_field_that_needs_words_is_described(db):
    schema = Client().get("/api/v1/openapi.json").json()
    paths = {
        path: operations
        for path, operations in schema["paths"].items()
        if path.startswith((WEBHOOKS, DELIVERIES, EVENTS))
    }
    silent = [
        (method, path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if not operation.get("description")
    ]
    assert silent == []
    patch = schema["components"]["schemas"]["WebhookPatch"]["properties"]
    assert not any("default" in patch[name] for name in ("url", "description", "headers"))


@pytest.mark.parametrize(("method", "path", "permission", "code"), CALLS)
def test_without_credentials_nothing_is_answered(db, method, path, permission, code):
    assert_problem(call(Client(), method, path), 401, "not_authenticated")


@pytest.mark.parametrize(("method", "path", "permission", "code"), CALLS)
def test_a_token_needs_the_scope(db, method, path, permission, code):
    others = tuple(value for value in TokenScope.values if value != "webhooks")
    api = Api(make_user(is_staff=True), scopes=others)
    assert_problem(call(api.http, method, path), 403, "scope_missing")


@pytest.mark.parametrize(("method", "path", "permission", "code"), CALLS)
def test_an_account_needs_the_permission(db, method, path, permission, code):
    assert_problem(call(Api().http, method, path), 403, "permission_missing")
    other = CHANGE if permission == SEE else SEE
    assert_problem(call(Api(staff_with(other)).http, method, path), 403, "permission_missing")
    allowed = call(Api(staff_with(permission), scopes=("webhooks",)).http, method, path)
    assert allowed.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path", "permission", "code"), [row for row in CALLS if row[3]])
def test_what_does_not_exist_is_not_found(staff, method, path, permission, code):
    assert_problem(call(staff.http, method, path), 404, code)


def test_a_session_may_change_with_its_csrf_token_only(db):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(is_staff=True))
    assert client.get(WEBHOOKS).status_code == 200
    assert_problem(call(client, "POST", f"{WEBHOOKS}/{ID}/enable"), 403, "csrf_failed")
