import pytest
from django.contrib.auth.models import AnonymousUser, Permission

from accounts import permissions
from accounts.models import User
from accounts.tests.factories import make_user
from common.errors import Forbidden
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS

pytestmark = pytest.mark.django_db


def somebody(*, is_staff: bool, codename: str | None = None) -> User:
    user = make_user()
    user.is_staff = is_staff
    user.save()
    if codename:
        user.user_permissions.add(Permission.objects.get(codename=codename))
    return User.objects.get(id=user.id)


def test_an_administrator_may_do_both():
    admin = make_user(is_staff=True)
    assert permissions.allows(admin, SEE_WEBHOOKS)
    permissions.require(admin, CHANGE_WEBHOOKS)


def test_staff_may_do_what_they_were_given():
    user = somebody(is_staff=True, codename="view_webhookendpoint")
    assert permissions.allows(user, SEE_WEBHOOKS)
    assert not permissions.allows(user, CHANGE_WEBHOOKS)


def test_a_permission_alone_is_not_enough():
    user = somebody(is_staff=False, codename="change_webhookendpoint")
    with pytest.raises(Forbidden, match="staff account") as refused:
        permissions.require(user, CHANGE_WEBHOOKS)
    assert refused.value.code == "permission_missing"


def test_being_staff_alone_is_not_enough():
    assert not permissions.allows(somebody(is_staff=True), SEE_WEBHOOKS)


def test_an_account_that_is_switched_off_may_nothing():
    admin = make_user(is_staff=True)
    admin.is_active = False
    assert not permissions.allows(admin, SEE_WEBHOOKS)


def test_nobody_may_nothing():
    assert not permissions.allows(AnonymousUser(), SEE_WEBHOOKS)
