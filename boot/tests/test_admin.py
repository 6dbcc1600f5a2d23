"""The admin carries the product's name and icon on every page, ours and those of libraries."""

import pytest

from accounts.models import User
from accounts.tests.factories import PASSWORD

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
