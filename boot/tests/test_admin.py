"""The admin carries the product's name and icon on every page, ours and those of libraries."""

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts.models import User
from accounts.tests.factories import PASSWORD
from common.ids import uuid7

PAGES = [
    "/admin/",
    "/admin/accounts/user/",
    "/admin/uploads/ingestfile/",
    "/admin/uploads/workflow/add/",
    "/admin/django_celery_beat/periodictask/",
    "/admin/django_celery_beat/periodictask/add/",
]


def assert_branded(page: str) -> None:
    assert '<a href="/admin/">Doorito</a>' in page
    assert "| Doorito</title>" in page
    assert 'rel="icon" href="/static/img/favicon.svg"' in page
    assert "Django administration" not in page


def test_the_log_in_page_is_branded(client, db):
    assert_branded(client.get("/admin/login/").content.decode())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_branded(client, db, path):
    client.force_login(User.objects.create_superuser("root@example.org", PASSWORD))
    assert_branded(client.get(path).content.decode())


def test_browsers_find_the_icon_where_no_page_names_one(client):
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, "/static/img/favicon.svg")


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=str))
def test_whoever_may_not_see_a_model_does_not_learn_which_ids_there_are(client, db, model):
    """Neither from the pages of an object nor from that of its history."""
    user = User.objects.create_user("staff@example.org", PASSWORD, is_staff=True)
    client.force_login(user)
    known = list(model._default_manager.values_list("pk", flat=True)[:1])
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    answers = {
        client.get(reverse(f"{name}_{page}", args=[pk])).status_code
        for page in ("change", "history", "delete")
        for pk in [*known, uuid7()]
    }

    assert answers == {403}


def test_whoever_may_see_a_model_sees_its_history(client, db):
    client.force_login(User.objects.create_superuser("root@example.org", PASSWORD))

    page = client.get(reverse("admin:accounts_user_history", args=[User.objects.get().pk]))

    assert page.status_code == 200
