"""What every test of pages has: its own data directory, and a browser's client of a person."""

from pathlib import Path

import pytest
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
    client = Client()
    client.force_login(user)
    return client
