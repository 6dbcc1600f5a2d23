import pytest

from accounts.models import User
from boot.errors import CannotRunError
from boot.startup import DEFAULT_ADMIN_EMAIL, create_first_admin, offer_workflows
from uploads.models import Workflow

pytestmark = pytest.mark.django_db


def test_a_password_is_generated_printed_once_and_works(client, capsys):
    create_first_admin()
    printed = capsys.readouterr().out.splitlines()
    password = printed[1].removeprefix(f"Password of {DEFAULT_ADMIN_EMAIL}, shown this once only: ")
    assert client.login(username=DEFAULT_ADMIN_EMAIL, password=password)
    assert client.get("/admin/").status_code == 200

    create_first_admin()
    assert capsys.readouterr().out == ""
    assert User.objects.count() == 1


def test_a_new_database_gets_the_workflows_that_are_offered_once():
    User.objects.create_superuser("root@example.com", "correct horse")  # `make superuser`
    offer_workflows()
    assert Workflow.objects.filter(is_active=False).count() == 5
    Workflow.objects.all().delete()
    offer_workflows()
    assert not Workflow.objects.exists()


def test_given_credentials_are_used_and_the_password_is_not_printed(settings, client, capsys):
    settings.DOORITO_ADMIN_EMAIL = "boss@example.com"
    settings.DOORITO_ADMIN_PASSWORD = "correct horse"
    create_first_admin()
    assert "correct horse" not in capsys.readouterr().out
    assert client.login(username="boss@example.com", password="correct horse")


def test_an_ordinary_account_of_that_address_is_not_made_an_administrator(settings):
    settings.DOORITO_ADMIN_EMAIL = "person@example.com"
    User.objects.create_user("Person@example.com", "correct horse")
    with pytest.raises(CannotRunError, match="is an ordinary account"):
        create_first_admin()
