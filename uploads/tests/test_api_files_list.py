"""GET /api/v1/files"""

import base64

import pytest

from uploads.models import IngestFile, UploadBatch
from uploads.tests.factories import FILES, assert_problem, make_rows


def names(reply) -> list[str]:
    return [item["original_filename"] for item in reply.json()["items"]]


def walk(api, *, limit: int, **query) -> list[str]:
    """The ids of every page, in order."""
    ids, cursor = [], {}
    while True:
        page = api.get(FILES, limit=limit, **cursor, **query).json()
        assert len(page["items"]) <= limit
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}


def test_a_user_without_files_gets_an_empty_page(api):
    assert api.get(FILES).json() == {"items": [], "next_cursor": None}


def test_files_come_newest_first_and_only_ones_own(api, other):
    make_rows(3, user=api.user)
    make_rows(2, user=other.user)
    assert names(api.get(FILES)) == ["row 2.txt", "row 1.txt", "row 0.txt"]
    assert len(other.get(FILES).json()["items"]) == 2


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 25])
def test_pages_together_are_complete_and_without_repeats(api, count):
    make_rows(count, user=api.user)
    ids = walk(api, limit=10)
    expected = IngestFile.objects.order_by("-id").values_list("id", flat=True)
    assert ids == [str(key) for key in expected]


def test_files_that_arrive_meanwhile_neither_repeat_nor_hide_others(api):
    make_rows(25, user=api.user)
    before = {str(key) for key in IngestFile.objects.values_list("id", flat=True)}
    seen, cursor = [], {}
    while cursor is not None:
        page = api.get(FILES, limit=4, **cursor).json()
        seen += [item["id"] for item in page["items"]]
        make_rows(3, user=api.user)
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    assert len(seen) == len(set(seen))
    assert set(seen) == before


def test_a_page_has_fifty_files_and_at_most_two_hundred(api):
    make_rows(201, user=api.user)
    assert len(api.get(FILES).json()["items"]) == 50
    assert len(api.get(FILES, limit=1000).json()["items"]) == 200
    assert len(api.get(FILES, limit=0).json()["items"]) == 1
    assert len(api.get(FILES, limit=-5).json()["items"]) == 1


@pytest.mark.parametrize("limit", ["many", "1.5", "", "1" * 5000])
def test_a_limit_that_is_no_number_is_refused(api, limit):
    assert_problem(api.get(FILES, limit=limit), 400, "invalid_request")


def test_files_of_one_status(api):
    make_rows(2, user=api.user)
    make_rows(3, user=api.user, status="deleted")
    assert len(walk(api, limit=2, status="deleted")) == 3
    assert len(walk(api, limit=2, status="stored")) == 2
    assert walk(api, limit=2, status="failed") == []


@pytest.mark.parametrize("status", ["STORED", "gone", "stored,deleted", "\x00"])
def test_an_unknown_status_is_refused(api, status):
    assert_problem(api.get(FILES, status=status), 400, "invalid_status")


def test_a_search_finds_parts_of_names_in_any_case(api):
    for name in ("Rechnung_ÄÖ.pdf", "100%.txt", "a_b.txt", "aXb.txt", "back\\slash"):
        make_rows(1, user=api.user, original_filename=name)
    assert names(api.get(FILES, search="rechnung_äö")) == ["Rechnung_ÄÖ.pdf"]
    assert names(api.get(FILES, search="%")) == ["100%.txt"]
    assert names(api.get(FILES, search="a_b")) == ["a_b.txt"]
    assert names(api.get(FILES, search="\\")) == ["back\\slash"]
    assert names(api.get(FILES, search="nothing")) == []
    assert api.get(FILES, search="\x00").status_code == 200


@pytest.mark.parametrize(("kept", "searched"), [("e\u0301te\u0301", "été"), ("été", "e\u0301t")])
def test_a_search_finds_a_name_in_its_other_unicode_spelling(api, kept, searched):
    make_rows(1, user=api.user, original_filename=kept)
    assert names(api.get(FILES, search=searched)) == [kept]


def test_a_search_goes_on_over_pages(api):
    make_rows(7, user=api.user, original_filename="wanted.txt")
    make_rows(7, user=api.user, original_filename="other.txt")
    make_rows(7, user=api.user, original_filename="wanted.txt")
    assert len(walk(api, limit=3, search="wanted")) == 14


def test_a_search_looks_only_at_the_newest(api, monkeypatch):
    monkeypatch.setattr("uploads.selectors.SEARCH_WINDOW", 5)
    make_rows(1, user=api.user, original_filename="old wanted.txt")
    make_rows(4, user=api.user)
    make_rows(1, user=api.user, original_filename="new wanted.txt")
    assert names(api.get(FILES, search="wanted")) == ["new wanted.txt"]


def test_files_of_one_batch(api, other):
    batch = UploadBatch.objects.create(created_by=api.user)
    make_rows(3, user=api.user, batch=batch)
    make_rows(2, user=api.user)
    assert len(walk(api, limit=2, batch_id=str(batch.id))) == 3
    assert walk(other, limit=2, batch_id=str(batch.id)) == []
    assert_problem(api.get(FILES, batch_id="x"), 400, "invalid_request")


@pytest.mark.parametrize(
    "cursor",
    ["x", "ä", "!!!!", "a" * 5000, "\x00", base64.urlsafe_b64encode(b"x" * 15).decode(), "A" * 23],
)
def test_a_cursor_that_is_none_is_refused(api, cursor):
    assert_problem(api.get(FILES, cursor=cursor), 400, "invalid_cursor")
