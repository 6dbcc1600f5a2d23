"""What every test of pages has: its own data directory, and a browser's client of a person."""

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from accounts.tests.factories import make_user


@pytest.fixture(autouse=True)
def _data_directory(settings, tmp_path: Path) -> None:
    settings.DOORITO_DATA_DIR = tmp_path / "data"
    settings.PORTAL_CHUNK_SIZE_MIN = 1


@pytest.fixture
def user(db) -> User:
    return make_user(email="ada@example.org")


@pytest.fixture
def ada(user: User) -> Client:
    """Logged in as `user`."""
    return client_of(user)


@pytest.fixture
def admin_user(db) -> User:
    return make_user(email="grace@example.org", is_staff=True)


@pytest.fixture
def grace(admin_user: User) -> Client:
    """Logged in as an administrator."""
    return client_of(admin_user)


@pytest.fixture
def viewer(db) -> Client:
    """Staff who may look at webhooks and change nothing."""
    user = make_user()
    User.objects.filter(id=user.id).update(is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_webhookendpoint"))
    return client_of(user)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def count_queries(django_assert_max_num_queries):
    """`with count_queries() as queries: …`, then `len(queries)`."""
    return lambda: django_assert_max_num_queries(1000)


def main_of(response: HttpResponse) -> str:
    """What the page says in its main area, without the frame around it."""
    return response.content.decode().split('id="page"')[1].split("</main>")[0]
