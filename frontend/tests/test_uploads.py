import re

from django.test import Client

from accounts.models import User
from uploads.models import FileStatus
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
