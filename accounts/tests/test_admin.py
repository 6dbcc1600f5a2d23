from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from accounts.models import ApiToken, User
from accounts.tests.factories import PASSWORD, make_token, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(client):
    client.force_login(make_user(is_staff=True))
    return client


def test_an_administrator_logs_in_by_address(client):
    make_user(email="root@example.org", is_staff=True)
    form = {"username": "ROOT@example.org", "password": PASSWORD}

    answer = client.post(reverse("admin:login"), form | {"next": reverse("admin:index")})

    assert answer.headers["Location"] == reverse("admin:index")


def test_log_ins_are_counted_with_those_of_the_pages(client):
    make_user(email="root@example.org", is_staff=True)
    form = {"username": "root@example.org", "password": "wrong"}
    for address in ("/app/login/", reverse("admin:login")) * 5:
        assert client.post(address, form).status_code == 200

    answer = client.post(reverse("admin:login"), form | {"password": PASSWORD})

    assert answer.status_code == 429
    assert 890 < int(answer.headers["Retry-After"]) <= 900
    assert b"Too many failed log-ins. Try again in 15 minutes." in answer.content


def test_somebody_who_is_no_staff_is_told_so_and_not_counted(client):
    make_user(email="ada@example.org")
    form = {"username": "ada@example.org", "password": PASSWORD}
    for _ in range(11):
        answer = client.post(reverse("admin:login"), form)

    assert answer.status_code == 200
    assert b"for a staff account" in answer.content


def test_users_are_listed_searched_and_shown(office):
    user = make_user(email="ada@example.org")

    assert b"ada@example.org" in office.get(reverse("admin:accounts_user_changelist")).content
    found = office.get(reverse("admin:accounts_user_changelist"), {"q": "nobody@"})
    assert b"ada@example.org" not in found.content
    assert office.get(reverse("admin:accounts_user_change", args=[user.id])).status_code == 200


def test_a_user_is_added_by_address_and_password(office):
    form = {
        "email": "ada@example.org",
        "usable_password": "true",
        "password1": "long enough 42",
        "password2": "long enough 42",
    }

    assert office.get(reverse("admin:accounts_user_add")).status_code == 200
    answer = office.post(reverse("admin:accounts_user_add"), form)

    assert answer.status_code == 302
    assert User.objects.get(email="ada@example.org").check_password("long enough 42")


def test_adding_an_address_twice_is_a_form_error(office):
    make_user(email="ada@example.org")
    form = {"email": "ADA@example.org", "usable_password": "false"}

    answer = office.post(reverse("admin:accounts_user_add"), form)

    assert answer.status_code == 200
    assert b"An account with this e-mail address exists already." in answer.content


# --- Who may change whom ---------------------------------------------------------------------


def make_staff(*codenames: str, **fields: Any) -> User:
    """Staff with some permissions, and no superuser."""
    user = make_user()
    User.objects.filter(pk=user.pk).update(is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


MANAGES = ("add_user", "change_user", "delete_user", "view_user", "delete_apitoken")
ALSO = ("add_group", "change_group", "delete_group", "view_group")


@pytest.fixture
def manager(client):
    """Logged in as staff that may change users and groups."""
    client.manager = make_staff(*MANAGES, *ALSO)
    client.force_login(client.manager)
    return client


def page_of(user: User, page: str = "change") -> str:
    return reverse(f"admin:accounts_user_{page}", args=[user.pk])


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    """What the page of a user sends, with some changes."""
    flags = {
        name: "on" for name in ("is_active", "is_staff", "is_superuser") if getattr(user, name)
    }
    names = {"email": user.email, "first_name": user.first_name, "last_name": user.last_name}
    return names | flags | changes


PASSWORDS = {
    "usable_password": "true",
    "password1": "long enough 42",
    "password2": "long enough 42",
}
PRIVILEGES = {
    "superuser": {"is_superuser": "on"},
    "staff": {"is_staff": "on"},
    "groups": {"groups": "{group}"},
    "permissions": {"user_permissions": "{permission}"},
}


@pytest.mark.parametrize("privilege", PRIVILEGES)
@pytest.mark.parametrize("whose", ["own", "another's"])
def test_staff_who_may_change_users_give_nobody_privileges(manager, privilege, whose):
    user = manager.manager if whose == "own" else make_user()
    group = Group.objects.create(name="Everything")
    group.permissions.set(Permission.objects.all())
    permission = Permission.objects.get(codename="access_all_files")
    ids = {"group": group.pk, "permission": permission.pk}
    changes = {name: value.format(**ids) for name, value in PRIVILEGES[privilege].items()}
    before = (user.is_superuser, user.is_staff, user.get_all_permissions())

    answer = manager.post(page_of(user), form_of(user, first_name="Ada", **changes))

    assert answer.status_code == 302
    after = User.objects.get(pk=user.pk)
    assert (after.is_superuser, after.is_staff, after.get_all_permissions()) == before
    assert after.first_name == "Ada"


def test_staff_who_may_change_users_leave_their_flags_and_permissions_as_they_are(manager):
    user = make_staff("view_user")

    manager.post(page_of(user), {"email": user.email, "first_name": "Ada"})

    after = User.objects.get(pk=user.pk)
    assert (after.first_name, after.is_active, after.is_staff) == ("Ada", True, True)
    assert after.has_perm("accounts.view_user")


def make_superuser() -> User:
    return make_user(is_staff=True)


def make_runner() -> User:
    """No staff, but it reads everybody's files."""
    user = make_user()
    user.user_permissions.set(Permission.objects.filter(codename="access_all_files"))
    return user


def make_member() -> User:
    """Staff by a group that may do more."""
    group = Group.objects.create(name="Webhooks")
    group.permissions.set(Permission.objects.filter(codename="change_webhookendpoint"))
    user = make_staff()
    user.groups.set([group])
    return user


def make_resting() -> User:
    """Switched off, with permissions that return when it is switched on."""
    return make_staff("change_webhookendpoint", is_active=False)


MIGHTIER = [make_superuser, make_runner, make_member, make_resting]


@pytest.mark.parametrize("make", MIGHTIER)
def test_an_account_that_may_do_more_is_neither_changed_nor_taken_over_nor_deleted(manager, make):
    user = make()

    assert manager.get(page_of(user)).status_code == 200  # to look at
    refused = [
        manager.post(page_of(user), form_of(user, email="mine@example.org")),
        manager.get(reverse("admin:auth_user_password_change", args=[user.pk])),
        manager.post(reverse("admin:auth_user_password_change", args=[user.pk]), PASSWORDS),
        manager.get(page_of(user, "delete")),
        manager.post(page_of(user, "delete"), {"post": "yes"}),
    ]

    assert {answer.status_code for answer in refused} == {403}
    after = User.objects.get(pk=user.pk)
    assert after.email == user.email
    assert after.check_password(PASSWORD)


@pytest.mark.parametrize("make", MIGHTIER)
def test_an_account_that_may_do_more_is_not_deleted_among_others(manager, make):
    users = [make_user(), make()]
    form = {"action": "delete_selected", "_selected_action": [str(user.pk) for user in users]}

    manager.post(reverse("admin:accounts_user_changelist"), form | {"post": "yes"})

    assert User.objects.filter(pk__in=[user.pk for user in users]).count() == 2


@pytest.mark.parametrize("make", [make_user, partial(make_staff, "view_user")])
def test_accounts_that_may_do_no_more_are_managed_as_before(manager, make):
    user = make()

    changed = manager.post(page_of(user), form_of(user, first_name="Ada"))
    password = manager.post(reverse("admin:auth_user_password_change", args=[user.pk]), PASSWORDS)

    assert (changed.status_code, password.status_code) == (302, 302)
    assert User.objects.get(pk=user.pk).check_password("long enough 42")
    manager.post(page_of(user, "delete"), {"post": "yes"})
    assert not User.objects.filter(pk=user.pk).exists()


def test_superusers_change_superusers_flags_and_permissions(office):
    user = make_superuser()
    permission = Permission.objects.get(codename="access_all_files")
    form = form_of(user, user_permissions=[permission.pk])
    del form["is_superuser"]

    assert office.post(page_of(user), form).status_code == 302

    after = User.objects.get(pk=user.pk)
    assert not after.is_superuser
    assert list(after.user_permissions.all()) == [permission]


@pytest.mark.parametrize("page", ["add", "change", "delete"])
def test_groups_are_for_superusers_to_change_and_for_staff_to_see(manager, page):
    group = Group.objects.create(name="Readers")
    address = reverse(f"admin:auth_group_{page}", args=[] if page == "add" else [group.pk])
    form = {"name": "Mine", "permissions": [Permission.objects.first().pk], "post": "yes"}

    assert manager.post(address, form).status_code == 403
    assert [*Group.objects.values_list("name", flat=True)] == ["Readers"]
    assert manager.get(reverse("admin:auth_group_changelist")).status_code == 200
    manager.force_login(make_superuser())
    assert manager.post(address, form).status_code == 302


def test_nobody_sees_the_hash_of_a_password(manager):
    for user in (make_superuser(), make_user()):
        stored = User.objects.get(pk=user.pk).password

        assert stored not in manager.get(page_of(user)).content.decode()


# --- Tokens ----------------------------------------------------------------------------------


def test_tokens_are_shown_without_their_digest(office):
    token, text = make_token(name="nightly")

    for page in (
        reverse("admin:accounts_apitoken_changelist"),
        reverse("admin:accounts_apitoken_change", args=[token.id]),
    ):
        content = office.get(page).content.decode()
        assert "nightly" in content
        assert token.digest not in content
        assert text not in content


def test_tokens_cannot_be_added_here(office):
    assert office.get(reverse("admin:accounts_apitoken_add")).status_code == 403


def test_the_action_revokes_the_selected_tokens(office):
    chosen = [make_token()[0] for _ in range(2)]
    spared, _ = make_token()
    form = {"action": "revoke_selected", "_selected_action": [str(t.id) for t in chosen]}

    answer = office.post(reverse("admin:accounts_apitoken_changelist"), form, follow=True)

    assert b"2 token(s) revoked." in answer.content
    assert list(ApiToken.objects.filter(revoked_at=None)) == [spared]
