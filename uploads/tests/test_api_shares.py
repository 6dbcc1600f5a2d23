"""Owners make, list and revoke share links of a file over the API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import make_user
from common.errors import Conflict, Gone
from common.models import AuditEntry
from common.tests.threads import at_once, results_and_errors
from uploads.files import sharing
from uploads.models import IngestFile, ShareLink
from uploads.tests.factories import FILES, Api, Guest, assert_problem, make_share, make_stored

pytestmark = pytest.mark.django_db(transaction=True)


def links_of(file: IngestFile) -> str:
    return f"{FILES}/{file.id}/links"


def token_in(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def test_a_link_is_made_listed_and_revoked():
    owner = Api()
    file = make_stored(user=owner.user)

    made = owner.post(links_of(file), {"password": "let me in"}).json()

    token = token_in(made["url"])
    assert token.startswith("drs_")
    assert token not in str(ShareLink.objects.values().get())
    sharing.count_download(sharing.opened(token))
    [listed] = owner.get(links_of(file)).json()["items"]
    assert (listed["downloads"], listed["has_password"]) == (1, True)
    assert listed["last_used_at"] is not None
    assert "url" not in listed
    for _ in range(2):
        assert owner.delete(f"{links_of(file)}/{made['id']}").status_code == 204
    with pytest.raises(Gone) as refused:
        sharing.opened(token)
    assert refused.value.code == "share_revoked"
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["share.created", "share.revoked"]


def test_a_link_ends_at_its_expiry_and_with_the_file():
    owner = Api()
    file = make_stored(user=owner.user)
    soon = (timezone.now() + timedelta(days=365)).isoformat()
    token = token_in(owner.post(links_of(file), {"expires_at": soon}).json()["url"])
    assert sharing.opened(token).file == file
    past = timezone.now() - timedelta(seconds=1)
    assert_problem(
        owner.post(links_of(file), {"expires_at": past.isoformat()}), 400, "share_expiry_past"
    )

    owner.delete(f"{FILES}/{file.id}")
    with pytest.raises(Gone) as refused:
        sharing.opened(token)
    assert refused.value.code == "file_deleted"
    assert_problem(owner.post(links_of(file), {}), 410, "file_deleted")

    ShareLink.objects.update(expires_at=past)
    with pytest.raises(Gone) as refused:
        sharing.opened(token)
    assert refused.value.code == "share_expired"


def test_files_of_others_are_shared_by_nobody():
    owner = Api()
    file = make_stored(user=owner.user)
    made = owner.post(links_of(file), {}).json()
    for stranger in (Api(), Api(make_user(is_staff=True))):
        for reply in (
            stranger.post(links_of(file), {}),
            stranger.get(links_of(file)),
            stranger.delete(f"{links_of(file)}/{made['id']}"),
        ):
            assert_problem(reply, 404, "file_not_found")
    guest = Guest(scopes=("upload", "read"))
    own = guest.upload()
    assert_problem(guest.post(f"{FILES}/{own['id']}/links", {}), 403, "share_by_guest")


def test_a_file_has_so_many_living_links_at_most(monkeypatch):
    monkeypatch.setattr("uploads.selectors.MAX_SHARES", 2)
    owner = Api()
    file = make_stored(user=owner.user)
    first = owner.post(links_of(file), {}).json()
    owner.post(links_of(file), {})

    assert_problem(owner.post(links_of(file), {}), 409, "too_many_links")
    owner.delete(f"{links_of(file)}/{first['id']}")
    assert owner.post(links_of(file), {}).status_code == 201


def test_a_link_that_lives_is_listed_however_many_ended_after_it(monkeypatch):
    monkeypatch.setattr("uploads.selectors.MAX_SHARES", 2)
    owner = Api()
    file = make_stored(user=owner.user)
    living = owner.post(links_of(file), {}).json()
    for _ in range(3):
        ended = owner.post(links_of(file), {}).json()
        owner.delete(f"{links_of(file)}/{ended['id']}")

    listed = owner.get(links_of(file)).json()["items"]

    assert [each["id"] for each in listed] == [living["id"], ended["id"]]


def test_downloads_at_once_are_counted_one_by_one_until_the_link_ends():
    share, _ = make_share(make_stored())
    at_once([lambda: sharing.count_download(share)] * 8)
    share.refresh_from_db()
    assert share.downloads == 8

    selection = ShareLink.objects.filter(id=share.id)
    ended = at_once([lambda: sharing.revoke(selection)] * 4)
    assert sorted(ended) == [0, 0, 0, 1]
    assert AuditEntry.objects.filter(action="share.revoked", subject_id=str(share.id)).count() == 1
    with pytest.raises(Gone):
        sharing.count_download(share)


def test_no_more_links_are_made_at_once_than_a_file_may_have(monkeypatch):
    monkeypatch.setattr("uploads.selectors.MAX_SHARES", 3)
    file = make_stored()

    made = results_and_errors([lambda: make_share(file)] * 8)

    assert sum(isinstance(each, Conflict) for each in made) == 5
    assert ShareLink.objects.filter(file=file).count() == 3
