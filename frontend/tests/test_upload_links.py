"""Upload links in the portal: made, shown once, renewed, revoked; what came by them."""

import re

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import make_user, principal_of
from common.models import AuditEntry
from frontend.tests.conftest import client_of, main_of
from uploads.files import grants
from uploads.models import UploadGrant, Workflow
from uploads.tests.factories import Guest, make_grant
from uploads.tests.workflow_factories import make_workflow

LINKS = "/app/links/"
NEW = f"{LINKS}new/"
VALID = {"name": "Invoices", "days": "7", "mails_owner": "on"}


def address_in(response) -> str:
    return re.search(r"http://[^/\s]+(/send/drg_\w{33}/)", response.content.decode())[1]


def test_a_new_link_opens_a_page_and_is_shown_once(ada: Client, user: User):
    make_workflow(slug="the-report")
    more = {"message": "Of March.", "max_files": "3", "max_file_mib": "10", "max_mib": "20"}
    types = {"kinds": ["images", "pdf"], "other_types": "text/csv, application/json"}

    made = ada.post(NEW, VALID | more | types | {"workflow": "the-report"})

    grant = UploadGrant.objects.get(owner=user)
    assert made.headers["Location"] == f"{LINKS}{grant.id}/"
    address = address_in(ada.get(f"{LINKS}{grant.id}/"))
    page = Client().get(address)
    assert page.status_code == 200
    assert (grant.max_files, grant.max_file_size, grant.max_bytes) == (3, 10 * 2**20, 20 * 2**20)
    assert grant.allowed_types == ["image/*", "application/pdf", "text/csv", "application/json"]
    assert grant.workflow.slug == "the-report"
    assert (grant.mails_owner, grant.message) == (True, "Of March.")
    assert "/send/" not in ada.get(f"{LINKS}{grant.id}/").content.decode()
    assert AuditEntry.objects.get(subject_id=str(grant.id)).action == "grant.created"


@pytest.mark.parametrize(
    ("base_url", "shown"),
    [("", "http://files.lan:8000"), ("https://files.example.com", "https://files.example.com")],
)
def test_an_address_is_what_the_portal_is_called(ada, settings, base_url: str, shown: str):
    settings.PORTAL_BASE_URL = settings.PUBLIC_URL = base_url
    made = ada.post(NEW, VALID)
    page = ada.get(made.headers["Location"], headers={"host": "files.lan:8000"})
    assert f"{shown}/send/drg_" in main_of(page)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"password": "short"}, "at least 6 characters"),
        ({"other_types": "pdf"}, "is not a content type"),
        ({"max_files": "0"}, "greater than or equal to 1"),
        ({"workflow": "none"}, "not one of the available choices"),
    ],
)
def test_what_makes_no_sense_is_marked_and_nothing_is_made(ada: Client, values, said):
    page = ada.post(NEW, VALID | values)
    assert said in main_of(page)
    assert 'aria-invalid="true"' in main_of(page)
    assert not UploadGrant.objects.exists()


def test_what_came_is_on_the_page_of_the_link_the_file_and_the_lists(ada: Client, user: User):
    guest = Guest(user, name="Invoices of March")
    file = guest.upload(filename="march.bin")
    client_of(make_user())  # somebody else

    assert "march.bin" in main_of(ada.get(f"{LINKS}{guest.grant.id}/"))
    assert "Invoices of March" in main_of(ada.get(LINKS))
    assert f"{LINKS}{guest.grant.id}/" in main_of(ada.get(f"/app/uploads/{file['id']}/"))
    assert "by <bdi>Invoices of March</bdi>" in main_of(ada.get("/app/uploads/"))
    filtered = main_of(ada.get(f"/app/uploads/?grant={guest.grant.id}"))
    assert "march.bin" in filtered
    other = make_grant(user=user)[0]
    assert "march.bin" not in main_of(ada.get(f"/app/uploads/?grant={other.id}"))


def test_a_list_of_many_files_costs_no_query_for_each(ada: Client, user: User, count_queries):
    guest = Guest(user)
    guest.upload()
    with count_queries() as few:
        ada.get("/app/uploads/")
    for _ in range(4):
        Guest(user).upload()
    with count_queries() as many:
        ada.get("/app/uploads/")
    assert len(many) == len(few)


def test_what_is_not_changed_in_the_form_is_not_changed(ada: Client, user: User):
    types = ("image/*", "application/json")
    grant, token = make_grant(
        user=user, max_file_size=2**20 + 1, max_files=1, allowed_types=types, message="Please."
    )
    page = f"{LINKS}{grant.id}/edit/"
    assert 'value="images" checked' in main_of(ada.get(page))
    values = {"name": "Better", "days": "-1", "max_file_mib": "1", "max_files": "5"}
    values |= {"message": "Please.", "other_types": "application/json"}

    saved = ada.post(page, values | {"kinds": "images"}, follow=True)

    assert "The link is changed." in main_of(saved)
    before = UploadGrant.objects.get(id=grant.id)
    assert (before.name, before.max_files, before.max_file_size) == ("Better", 5, 2**20 + 1)
    assert (before.allowed_types, before.expires_at) == (list(types), None)
    assert Client().get(f"/send/{token}/").status_code == 200
    ada.post(page, values | {"kinds": "pdf", "days": "7", "max_files": ""})
    after = UploadGrant.objects.get(id=grant.id)
    assert after.allowed_types == ["application/pdf", "application/json"]
    assert (after.max_files, after.expires_at is None) == (None, False)
    refused = ada.post(page, values | {"other_types": "json"})
    assert "is not a content type" in main_of(refused)


def test_a_new_address_takes_the_place_of_the_first(ada: Client, user: User):
    grant, token = make_grant(user=user)

    ada.post(f"{LINKS}{grant.id}/renew/")

    address = address_in(ada.get(f"{LINKS}{grant.id}/"))
    assert Client().get(address).status_code == 200
    assert Client().get(f"/send/{token}/").status_code == 404


def test_of_two_new_addresses_at_once_only_the_one_that_works_is_shown(ada: Client, user: User):
    grant, _ = make_grant(user=user)
    ada.post(f"{LINKS}{grant.id}/renew/")
    grants.replace_token(principal=principal_of(user), grant_id=grant.id)

    assert "/send/" not in main_of(ada.get(f"{LINKS}{grant.id}/"))


def test_a_form_that_comes_back_keeps_the_password_and_a_workflow_that_is_off(
    ada: Client, user: User
):
    values = {"name": "x", "days": "7", "password": "let me in", "other_types": "pdf"}
    assert "let me in" in main_of(ada.post(f"{LINKS}new/", values))
    workflow = make_workflow()
    grant, _ = make_grant(user=user, workflow=workflow.slug)
    Workflow.objects.filter(id=workflow.id).update(is_active=False)

    ada.post(f"{LINKS}{grant.id}/edit/", {"name": "x", "days": "-1", "workflow": workflow.slug})

    grant.refresh_from_db()
    assert (grant.name, grant.workflow) == ("x", workflow)


def test_a_revoked_link_says_so(ada: Client, user: User):
    grant, token = make_grant(user=user)
    page = ada.post(f"{LINKS}{grant.id}/revoke/", follow=True)
    assert "no longer works" in main_of(page)
    assert "Revoked" in main_of(page)
    assert 'id="revoke"' not in main_of(page)
    assert Client().get(f"/send/{token}/").status_code == 410


def test_links_of_others_do_not_exist(ada: Client):
    grant, _ = make_grant()
    for address in (f"{LINKS}{grant.id}/", f"/app/uploads/?grant={grant.id}"):
        assert ada.get(address).status_code == 404
    for action in ("renew", "revoke"):
        assert ada.post(f"{LINKS}{grant.id}/{action}/").status_code == 404
    assert "the suppliers" not in ada.get(LINKS).content.decode()
