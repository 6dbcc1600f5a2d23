"""What tests rely on between them."""

import unittest

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import TransactionTestCase

from accounts.models import User
from accounts.services import create_user
from boot.tests.database import UNSYNCED


@pytest.mark.django_db(transaction=True)
def test_a_transactional_test_leaves_what_migrations_made_and_nothing_else() -> None:
    made = [list(model.objects.values_list("id")) for model in (ContentType, Permission)]

    class LeavingRows(TransactionTestCase):
        def test(self) -> None:
            user = create_user(email="ada@example.org", password="correct horse")
            user.user_permissions.add(Permission.objects.all()[0])

    outcome = unittest.TestSuite([LeavingRows("test")]).run(unittest.TestResult())

    assert outcome.wasSuccessful(), outcome.errors
    assert not User.objects.exists()
    assert [list(model.objects.values_list("id")) for model in (ContentType, Permission)] == made
    assert all(made)


@pytest.mark.django_db
@pytest.mark.parametrize("name", UNSYNCED)
def test_the_tests_own_server_does_not_wait_for_the_disk(name: str, settings) -> None:
    if settings.EMBEDDED_POSTGRES:  # another server is its owner's to configure
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == ("off",)
