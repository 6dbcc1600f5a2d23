"""What files are, by their bytes, whoever made them and in whatever order."""

import zipfile
from pathlib import Path

import pytest

from uploads.tests import documents
from uploads.tests.factories import make_stored

pytestmark = pytest.mark.django_db

OFFICE = "application/vnd.openxmlformats-officedocument"


def type_of(path: Path) -> str:
    content = path.read_bytes()
    return make_stored(content, filename="unnamed", chunk=len(content) or 1).detected_type


def reordered(path: Path) -> Path:
    """The same archive with its entries in the order of their names, last first."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in sorted(old.namelist(), reverse=True)}
    return documents.make_zip(path.with_name("reordered"), entries)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (documents.make_docx, f"{OFFICE}.wordprocessingml.document"),
        (documents.make_xlsx, f"{OFFICE}.spreadsheetml.sheet"),
        (documents.make_pptx, f"{OFFICE}.presentationml.presentation"),
    ],
)
def test_office_documents_are_known_whatever_the_order_of_their_parts(tmp_path, make, expected):
    path = make(tmp_path / "document")
    assert type_of(path) == expected
    assert type_of(reordered(path)) == expected


def test_an_archive_that_only_looks_like_one_is_an_archive(tmp_path):
    path = documents.make_zip(tmp_path / "a.zip", {"readme.txt": "x", "word/notes.txt": "y"})
    assert type_of(path) == "application/zip"


def test_an_archive_that_is_cut_within_a_header_is_no_trouble(tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(b"PK\x03\x04\x14")
    assert type_of(path)


def test_nothing_is_a_type_of_its_own(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert type_of(path) == "application/x-empty"
