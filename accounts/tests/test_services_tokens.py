from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import connection
from django.utils import timezone

from accounts import services
from accounts.models import ApiToken, TokenScope
from accounts.tests.factories import make_token, make_user
from common.errors import Conflict, InvalidInput, NotFound
from common.tests.threads import results_and_errors

pytestmark = pytest.mark.django_db


def stored_text_of(token: ApiToken) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_token::text FROM api_token WHERE id = %s", [token.id])
        return cursor.fetchone()[0]


def test_only_the_digest_and_a_hint_of_a_token_are_kept():
    token, text = make_token(name=" nightly ")

    assert token.name == "nightly"
    assert text.startswith(token.hint)
    stored = stored_text_of(token)
    assert token.digest in stored
    assert text not in stored
    assert text[len(token.hint) :] not in stored


def test_a_new_token_has_every_scope_unless_some_are_chosen():
    everything, _ = make_token()
    some, _ = make_token(scopes=("read", "upload", "read"))

    assert everything.scopes == list(TokenScope.values)
    assert some.scopes == ["upload", "read"]


@pytest.mark.parametrize("scopes", [(), ("read", "root")])
def test_no_scope_and_unknown_scopes_are_refused(scopes):
    with pytest.raises(InvalidInput) as refusal:
        make_token(scopes=scopes)

    assert refusal.value.code == "scope_unknown"


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "nul\0"])
def test_a_token_needs_a_printable_name(name):
    with pytest.raises(InvalidInput) as refusal:
        make_token(name=name)

    assert refusal.value.code == "token_name_invalid"


def test_an_expiry_in_the_past_is_refused():
    with pytest.raises(InvalidInput) as refusal:
        make_token(expires_at=timezone.now())

    assert refusal.value.code == "token_expiry_past"


def test_a_list_has_the_users_own_tokens_newest_first_and_is_bounded():
    user = make_user()
    made = [make_token(user=user)[0] for _ in range(4)]
    make_token()

    assert services.list_tokens(user=user) == made[::-1]
    assert services.list_tokens(user=user, limit=2) == [made[3], made[2]]


def test_revoking_twice_keeps_the_first_time():
    token, _ = make_token()

    first = services.revoke_token(user=token.user, token_id=token.id)
    second = services.revoke_token(user=token.user, token_id=token.id)

    assert first.revoked_at is not None
    assert second.revoked_at == first.revoked_at


def test_somebody_elses_token_does_not_exist():
    token, _ = make_token()

    with pytest.raises(NotFound) as refusal:
        services.revoke_token(user=make_user(), token_id=token.id)

    assert refusal.value.code == "token_not_found"
    token.refresh_from_db()
    assert token.revoked_at is None


def test_an_operator_finds_a_token_by_id_or_hint():
    token, _ = make_token()

    assert services.find_token(reference=str(token.id)) == token
    assert services.find_token(reference=token.hint) == token
    with pytest.raises(NotFound):
        services.find_token(reference="drt_nobody")


def test_a_hint_that_two_tokens_share_names_neither():
    first, _ = make_token()
    second, _ = make_token()
    ApiToken.objects.filter(id=second.id).update(hint=first.hint)

    with pytest.raises(Conflict) as refusal:
        services.find_token(reference=first.hint)

    assert refusal.value.code == "token_ambiguous"


def test_last_used_is_written_at_most_once_a_minute():
    token, _ = make_token()
    start = timezone.now()
    moments = [start + timedelta(seconds=seconds) for seconds in (0, 1, 59, 61, 119, 122)]

    written = []
    for moment in moments:
        with patch("django.utils.timezone.now", return_value=moment):
            written.append(services.note_use(ApiToken.objects.get(id=token.id)))

    assert written == [True, False, False, True, False, True]
    token.refresh_from_db()
    assert token.last_used_at == moments[-1]


@pytest.mark.django_db(transaction=True)
def test_of_eight_simultaneous_uses_one_writes():
    token, _ = make_token()  # each thread holds this stale copy: none sees another's write

    written = results_and_errors([lambda: services.note_use(token)] * 8)

    assert sorted(written) == [False] * 7 + [True]
