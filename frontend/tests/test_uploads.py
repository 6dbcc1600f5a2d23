import re

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import make_user
from uploads.models import FileStatus, UploadBatch
from uploads.tests.factories import make_rows, make_stored

UPLOADS = "/app/uploads/"
FRAGMENT = {"HX-Request": "true"}


def names(response) -> list[str]:
    return [file.original_filename for file in response.context["files"]]


def test_files_are_listed_newest_first_and_only_ones_own(ada: Client, user: User):
    make_stored(user=user, filename="first.txt")
    make_stored(user=user, filename="second.txt")
    make_stored(filename="of-somebody-else.txt")
    assert names(ada.get(UPLOADS)) == ["second.txt", "first.txt"]


def test_a_status_and_a_part_of_the_name_filter_the_list(ada: Client, user: User):
    make_stored(user=user, filename="Holiday słońce.jpg")
    make_stored(user=user, filename="report.pdf")
    make_rows(1, user=user, status=FileStatus.FAILED)
    assert names(ada.get(UPLOADS, {"search": "SŁOŃCE"})) == ["Holiday słońce.jpg"]
    assert names(ada.get(UPLOADS, {"status": "stored"})) == ["report.pdf", "Holiday słońce.jpg"]
    assert names(ada.get(UPLOADS, {"status": "stored", "search": "report"})) == ["report.pdf"]


def test_an_unknown_status_is_ignored(ada: Client, user: User):
    make_stored(user=user, filename="a.txt")
    assert names(ada.get(UPLOADS, {"status": "nonsense"})) == ["a.txt"]


def test_without_files_and_without_matches_the_list_says_so(ada: Client):
    assert b"No files yet" in ada.get(UPLOADS).content
    assert b"No file matches" in ada.get(UPLOADS, {"search": "zzz"}).content


def test_load_more_reaches_every_file_once(ada: Client, user: User):
    make_rows(120, user=user)
    seen, query = [], ""
    for _ in range(3):
        response = ada.get(UPLOADS + query, headers=FRAGMENT if query else {})
        seen += [file.id for file in response.context["files"]]
        more = re.search(rb'hx-get="(\?[^"]+)"', response.content)
        query = more[1].decode().replace("&amp;", "&") if more else ""
    assert query == ""
    assert len(seen) == len(set(seen)) == 120


def test_load_more_keeps_the_filter(ada: Client, user: User):
    make_rows(51, user=user)
    content = ada.get(UPLOADS, {"status": "stored"}).content
    assert re.search(rb'href="\?status=stored&amp;cursor=[^"]+"', content)


def test_htmx_gets_the_table_or_further_rows_alone(ada: Client, user: User):
    make_rows(51, user=user)
    page = ada.get(UPLOADS)
    assert b"<html" in page.content
    table = ada.get(UPLOADS, {"search": ""}, headers=FRAGMENT)
    assert b"<table" in table.content
    assert b"<html" not in table.content
    cursor = page.context["page"].next_cursor
    rows = ada.get(UPLOADS, {"cursor": cursor}, headers=FRAGMENT)
    assert rows.content.strip().startswith(b"<tr")


def test_a_restored_history_entry_gets_the_whole_page(ada: Client):
    headers = FRAGMENT | {"HX-History-Restore-Request": "true"}
    assert b"<html" in ada.get(UPLOADS, headers=headers).content


def test_a_broken_cursor_is_a_404(ada: Client):
    assert ada.get(UPLOADS, {"cursor": "broken"}).status_code == 404


def test_names_are_escaped(ada: Client, user: User):
    make_stored(user=user, filename="<script>alert(1)<.txt")
    assert b"<script>alert(1)" not in ada.get(UPLOADS).content


def find(client: Client, **query: str) -> list[str]:
    return names(client.get(UPLOADS, query))


def test_every_word_of_a_search_begins_a_word_of_the_name(ada: Client, user: User):
    for name in ("Invoice-2024_0417.pdf", "IMG0417.jpg", "invoice 18.pdf"):
        make_rows(1, user=user, original_filename=name)
    assert find(ada, search="invoice 0417") == ["Invoice-2024_0417.pdf"]
    assert find(ada, search="0417") == ["IMG0417.jpg", "Invoice-2024_0417.pdf"]
    assert find(ada, search="img0417") == ["IMG0417.jpg"]
    assert find(ada, search="inv") == ["invoice 18.pdf", "Invoice-2024_0417.pdf"]
    assert find(ada, search="voice 0417") == []
    assert find(ada, search="oice-2") == ["Invoice-2024_0417.pdf"]  # a part of one, at least
    assert find(ada, search="' & | :* \\") == []


def test_files_are_filtered_by_type_size_date_and_batch(ada: Client, user: User):
    batch = UploadBatch.objects.create(created_by=user, name="Trip")
    make_rows(
        1, user=user, original_filename="a.pdf", detected_type="application/pdf", size_bytes=9
    )
    make_rows(
        1,
        user=user,
        original_filename="b.png",
        detected_type="image/png",
        size_bytes=2**21,
        batch=batch,
    )
    assert find(ada, kind="pdf") == ["a.pdf"]
    assert find(ada, kind="image") == ["b.png"]
    assert find(ada, kind="video") == []
    assert find(ada, size="small") == ["a.pdf"]
    assert find(ada, size="medium") == ["b.png"]
    assert find(ada, batch=str(batch.id)) == ["b.png"]
    today = timezone.now().date().isoformat()
    assert find(ada, since=today, until=today) == ["b.png", "a.pdf"]
    assert find(ada, until="2020-01-01") == []
    assert find(ada, since="nonsense") == ["b.png", "a.pdf"]
    foreign = UploadBatch.objects.create(created_by=make_user())
    assert ada.get(UPLOADS, {"batch": str(foreign.id)}).status_code == 404


@pytest.mark.parametrize("order", ["oldest", "largest", "name"])
def test_every_order_lists_every_file_once(ada: Client, user: User, order: str):
    for number in range(6):
        make_rows(
            20, user=user, original_filename=f"{number % 3}.txt", size_bytes=1000 * (number % 2)
        )
    found, query = [], {"order": order}
    while query:
        response = ada.get(UPLOADS, query)
        found += response.context["files"]
        cursor = response.context["page"].next_cursor
        query = {"order": order, "cursor": cursor} if cursor else {}
    keys = {
        "oldest": [file.id for file in found],
        "largest": [-file.size_bytes for file in found],
        "name": [file.original_filename for file in found],
    }
    assert keys[order] == sorted(keys[order])
    assert len({file.id for file in found}) == 120


def test_only_who_may_read_everybodys_files_sees_them(ada: Client, user: User):
    make_rows(1, user=make_user(email="bob@example.org"), original_filename="bobs.txt")
    assert find(ada, uploader="anybody") == []
    User.objects.filter(id=user.id).update(is_superuser=True, is_staff=True)
    response = ada.get(UPLOADS, {"uploader": "anybody"})
    assert names(response) == ["bobs.txt"]
    assert b"bob@example.org" in response.content
    assert b"data-choose " not in response.content  # they are not hers to delete
    bob = User.objects.get(email="bob@example.org")
    assert find(ada, uploader=str(bob.id)) == ["bobs.txt"]
    assert find(ada) == []
