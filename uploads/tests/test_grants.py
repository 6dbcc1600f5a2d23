"""Upload grants: made, limited, taken back."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from accounts import principals
from accounts.models import TokenScope
from accounts.principals import Principal
from accounts.tests.factories import make_token, make_user, principal_of
from common.errors import DooritoError, NotFound
from uploads.files import batches, grants
from uploads.files.new_grants import NewGrant
from uploads.models import PartOrder, UploadGrant, UploadSession
from uploads.receiving import sessions
from uploads.receiving.appending import declare_length
from uploads.receiving.requests import UploadRequest
from uploads.tests.factories import make_grant

pytestmark = pytest.mark.django_db


def test_a_grant_lets_its_holder_upload_unless_told_otherwise():
    grant, text = make_grant()

    guest = grants.guest_of(text).principal

    assert (guest.owner, guest.grant_id) == (grant.owner, grant.id)
    assert guest.scopes == {TokenScope.UPLOAD}
    assert (guest.actor.kind, guest.actor.id, guest.actor.label) == (
        "grant",
        grant.id,
        "the suppliers",
    )


def test_the_text_of_a_token_is_kept_nowhere():
    grant, text = make_grant()

    kept = UploadGrant.objects.filter(id=grant.id).values().get()
    assert text.startswith("drg_")
    assert kept["hint"] == text[:10]
    assert text not in map(str, kept.values())


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"name": "  "}, "grant_name_invalid"),
        ({"name": "x" * 101}, "grant_name_invalid"),
        ({"name": "a\nb"}, "grant_name_invalid"),
        ({"scopes": ()}, "scope_unknown"),
        ({"scopes": ("webhooks",)}, "scope_unknown"),
        ({"scopes": ("upload", "everything")}, "scope_unknown"),
        ({"message": "x" * 2001}, "grant_message_invalid"),
        ({"password": "short"}, "link_password_invalid"),
        ({"max_files": 0}, "grant_limit_invalid"),
        ({"max_files": 2**31}, "grant_limit_invalid"),
        ({"max_bytes": -1}, "grant_limit_invalid"),
        ({"max_file_size": 2**63}, "grant_limit_invalid"),
        ({"allowed_types": ("pdf",)}, "grant_type_invalid"),
        ({"allowed_types": tuple(f"a/{n}" for n in range(51))}, "grant_type_invalid"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "grant_expiry_past"),
    ],
)
def test_what_makes_no_sense_is_not_granted(values, code):
    with pytest.raises(DooritoError) as refused:
        make_grant(**values)
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert not UploadGrant.objects.exists()


def test_the_largest_limits_can_be_kept():
    grant, _ = make_grant(max_files=2**31 - 1, max_bytes=2**63 - 1, max_file_size=2**63 - 1)
    grant.refresh_from_db()
    assert (grant.max_files, grant.max_bytes) == (2**31 - 1, 2**63 - 1)


def test_types_are_kept_in_lower_case_and_once():
    grant, _ = make_grant(allowed_types=("Image/*", " application/pdf", "image/*"))
    assert grant.allowed_types == ["image/*", "application/pdf"]


def test_a_batch_must_be_the_owners_and_open():
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    assert make_grant(user=user, batch_id=batch.id)[0].batch == batch

    with pytest.raises(DooritoError) as refused:
        make_grant(batch_id=batch.id)
    assert refused.value.code == "batch_not_found"

    batches.close_batch(principal=principal_of(user), batch_id=batch.id)
    with pytest.raises(DooritoError) as refused:
        make_grant(user=user, batch_id=batch.id)
    assert refused.value.code == "batch_closed"


def test_nobody_grants_more_than_they_may_do_themselves():
    token, _ = make_token(scopes=("upload",))
    script = principals.of_token(token)

    grants.create_grant(principal=script, new=NewGrant("its own scope"))
    with pytest.raises(DooritoError, match="read") as refused:
        grants.create_grant(principal=script, new=NewGrant("more", scopes=("upload", "read")))
    assert (refused.value.code, refused.value.status) == ("scope_missing", 403)


def test_a_guest_grants_nothing_and_revokes_nothing():
    grant, text = make_grant(scopes=("upload", "read", "consume"))
    guest = grants.guest_of(text).principal

    with pytest.raises(DooritoError) as refused:
        grants.create_grant(principal=guest, new=NewGrant("for a friend"))
    assert (refused.value.code, refused.value.status) == ("grant_by_guest", 403)
    with pytest.raises(NotFound):
        grants.revoke_grant(principal=guest, grant_id=grant.id)
    assert grants.guest_of(text).principal == guest


def test_an_owner_revokes_their_own_grants_once():
    grant, text = make_grant()

    with pytest.raises(NotFound):
        grants.revoke_grant(principal=principal_of(make_user()), grant_id=grant.id)
    first = grants.revoke_grant(principal=principal_of(grant.owner), grant_id=grant.id)
    second = grants.revoke_grant(principal=principal_of(grant.owner), grant_id=grant.id)

    assert first.revoked_at == second.revoked_at is not None
    with pytest.raises(DooritoError) as refused:
        grants.guest_of(text)
    assert refused.value.code == "grant_revoked"


def test_a_revoked_grant_takes_nothing_even_from_who_was_let_in_before():
    grant, _ = make_grant()
    grants.revoke_grant(principal=principal_of(grant.owner), grant_id=grant.id)

    with pytest.raises(DooritoError) as refused:
        grants.charge(grant.id, size_bytes=1)
    assert (refused.value.code, refused.value.status) == ("grant_revoked", 401)


def test_a_grant_goes_with_the_account_that_gave_it():
    grant, _ = make_grant()
    grant.owner.delete()

    assert not UploadGrant.objects.exists()
    with pytest.raises(DooritoError) as refused:
        grants.charge(grant.id, size_bytes=1)
    assert refused.value.code == "grant_revoked"


def appended(guest: Principal) -> UploadSession:
    """An upload whose size is told later."""
    request = UploadRequest("a.bin", None, part_order=PartOrder.APPENDED)
    return sessions.create_session(principal=guest, request=request)[0]


def test_a_size_that_is_told_later_counts_when_it_is_told():
    grant, text = make_grant(max_files=2)
    guest = grants.guest_of(text).principal

    session = appended(guest)
    grant.refresh_from_db()
    assert (grant.files_begun, grant.bytes_begun) == (1, 0)
    for _ in range(2):
        declare_length(principal=guest, session_id=session.id, length_bytes=7)
    grant.refresh_from_db()
    assert (grant.files_begun, grant.bytes_begun) == (1, 7)
    sessions.abort_session(principal=guest, session_id=session.id)
    grant.refresh_from_db()
    assert (grant.files_begun, grant.bytes_begun) == (0, 0)


@pytest.mark.parametrize("limit", ["max_bytes", "max_file_size"])
def test_where_sizes_are_limited_they_are_told_first(limit):
    _, text = make_grant(**{limit: 100})

    with pytest.raises(DooritoError, match="how many bytes") as refused:
        appended(grants.guest_of(text).principal)
    assert (refused.value.code, refused.value.status) == ("size_missing", 400)


def test_more_is_never_given_back_than_was_taken():
    grant, _ = make_grant()
    with pytest.raises(IntegrityError):
        grants.give_back(grant.id, size_bytes=1)
