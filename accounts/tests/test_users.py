import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError

from accounts import services
from accounts.models import User
from accounts.tests.factories import PASSWORD, make_user
from common.errors import Conflict, InvalidInput, NotFound
from common.tests.threads import results_and_errors

pytestmark = pytest.mark.django_db


def test_a_registered_user_logs_in_whatever_the_case_of_the_address():
    user = make_user(email="Ada.Lovelace@Example.org")

    assert authenticate(username="ADA.lovelace@example.ORG", password=PASSWORD) == user
    assert authenticate(username="ada.lovelace@example.org", password="wrong") is None
    assert not user.is_staff


def test_staff_may_do_everything():
    user = make_user(is_staff=True)

    assert user.is_staff
    assert user.is_superuser


def test_the_same_address_in_another_case_is_taken():
    make_user(email="ada@example.org")

    with pytest.raises(Conflict) as refusal:
        make_user(email="ADA@example.org")

    assert refusal.value.code == "email_taken"
    assert User.objects.count() == 1


def test_the_database_itself_refuses_the_second_case():
    make_user(email="ada@example.org")

    with pytest.raises(IntegrityError, match="account_user_email_any_case"):
        User.objects.create(email="Ada@example.org")


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_registrations_in_different_case_one_wins():
    addresses = ["ada@example.org", "ADA@example.org", "Ada@Example.org", "aDa@example.org"]

    results = results_and_errors(
        [lambda address=address: make_user(email=address) for address in addresses]
    )

    assert sum(isinstance(result, User) for result in results) == 1
    assert [r.code for r in results if isinstance(r, Conflict)] == ["email_taken"] * 3
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "a b@example.org", f"{'a' * 300}@example.org"]
)
def test_what_is_no_address_is_refused(email):
    with pytest.raises(InvalidInput) as refusal:
        make_user(email=email)

    assert refusal.value.code == "email_invalid"


def test_an_empty_password_is_refused():
    with pytest.raises(InvalidInput) as refusal:
        services.create_user(email="ada@example.org", password="")

    assert refusal.value.code == "password_missing"


def test_a_user_is_found_by_address_in_any_case():
    user = make_user(email="ada@example.org")

    assert services.get_user(email=" ADA@example.org ") == user
    with pytest.raises(NotFound) as refusal:
        services.get_user(email="bob@example.org")
    assert refusal.value.code == "user_not_found"
    assert "bob@example.org" in refusal.value.message
