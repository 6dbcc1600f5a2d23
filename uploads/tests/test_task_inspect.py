"""The task that tells what a file is."""

import io
import json
import tarfile
import wave
from pathlib import Path

import pytest
from PIL import Image

from uploads.tests import documents
from uploads.tests.documents import DOCX_TYPE, EPUB_TYPE, PPTX_TYPE, XLSX_TYPE
from uploads.tests.workflow_context import context_for
from uploads.workflows.errors import TaskFailed
from uploads.workflows.tasks.inspect import inspect

_MIB = 1024 * 1024


def _inspected(path: Path, content_type: str) -> dict:
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    result = inspect(context_for("inspect", path, content_type, folder=folder))
    assert result.file is None
    return json.loads(result.output_text)


def _tar(path: Path, entries: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_every_file_has_its_name_type_size_and_digest(tmp_path):
    path = tmp_path / "unknown.bin"
    path.write_bytes(b"\x00\x01\x02")
    assert _inspected(path, "application/octet-stream") == {
        "filename": "unknown.bin",
        "content_type": "application/octet-stream",
        "size_bytes": 3,
        "sha256": "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
        "problems": [],
    }


def test_an_empty_file_is_no_problem(tmp_path):
    path = tmp_path / "empty.txt"
    path.touch()
    assert _inspected(path, "application/x-empty")["problems"] == []


def test_an_image_has_dimensions_and_exif_without_place_and_serial_number(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (50.0, 56.0, 0.0)
    exif.get_ifd(0x8769)[0xA431] = "SERIAL123"
    exif.get_ifd(0x8769)[0x829A] = 1 / 60
    path = tmp_path / "a.jpg"
    path.write_bytes(documents.image_bytes("JPEG", (400, 200), exif=exif))
    found = _inspected(path, "image/jpeg")
    assert found["image"] == {
        "format": "JPEG",
        "width": 400,
        "height": 200,
        "mode": "RGB",
        "frames": 1,
        "has_icc_profile": False,
        "exif": {"Make": "Acme", "ExposureTime": 0.016667},
    }
    assert found["problems"] == []


def test_an_animation_has_frames(tmp_path):
    colours = ("red", "green", "blue", "white")
    frames = [Image.new("RGB", (8, 8), colour) for colour in colours]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert _inspected(tmp_path / "a.gif", "image/gif")["image"]["frames"] == 4


def test_an_image_bomb_is_a_problem_and_no_failure(tmp_path):
    found = _inspected(documents.make_image_bomb(tmp_path / "a.png"), "image/png")
    assert [problem["code"] for problem in found["problems"]] == ["image_bomb"]


def test_a_pdf_has_pages_size_and_authors(tmp_path):
    path = documents.make_pdf(
        tmp_path / "a.pdf", pages=["Die Ernte war in diesem Jahr gut."] * 3, title="Ernte"
    )
    found = _inspected(path, "application/pdf")
    pdf = found["pdf"]
    assert (pdf["pages"], pdf["first_page_mm"]) == (3, [210.0, 297.0])
    assert (pdf["title"], pdf["author"], pdf["encrypted"]) == ("Ernte", "Ada Lovelace", False)
    assert pdf["created"].startswith("20")
    assert found["language"]["code"] == "de"


def test_a_pdf_with_a_password_is_known_to_be_encrypted(tmp_path):
    path = documents.make_pdf(tmp_path / "a.pdf", pages=["x"], password="geheim")
    assert _inspected(path, "application/pdf")["pdf"] == {"encrypted": True}


def test_the_pages_of_a_pdf_of_a_hundred_thousand_are_counted(tmp_path):
    path = documents.make_pdf_of_many_pages(tmp_path / "a.pdf", pages=100_000)
    assert _inspected(path, "application/pdf")["pdf"]["pages"] == 100_000


def test_office_documents_have_properties_and_counts(tmp_path):
    word = _inspected(documents.make_docx(tmp_path / "a.docx"), DOCX_TYPE)
    assert (word["office"]["title"], word["office"]["author"]) == ("Harvest report", "Grace Hopper")
    assert word["language"]["code"] == "en"
    deck = _inspected(documents.make_pptx(tmp_path / "a.pptx"), PPTX_TYPE)
    assert (deck["office"]["title"], deck["office"]["slides"]) == ("Roadmap", 2)
    book = _inspected(documents.make_xlsx(tmp_path / "a.xlsx"), XLSX_TYPE)
    assert book["office"]["sheet_names"] == ["Stock", "Second"]
    epub = _inspected(documents.make_epub(tmp_path / "a.epub"), EPUB_TYPE)
    assert epub["office"]["title"] == "A Small Book"


def test_a_document_that_is_a_bomb_is_a_problem_and_no_failure(tmp_path):
    path = documents.add_entry(
        documents.make_docx(tmp_path / "a.docx"), "word/x.xml", zeros=64 * _MIB
    )
    found = _inspected(path, DOCX_TYPE)
    assert [problem["code"] for problem in found["problems"]] == ["archive_bomb"]


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (documents.make_docx, DOCX_TYPE),
        (lambda path: documents.make_pdf(path, pages=["x"]), "application/pdf"),
    ],
)
def test_a_broken_document_is_a_problem_and_no_failure(tmp_path, make, content_type):
    path = make(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:300])
    found = _inspected(path, content_type)
    assert [problem["code"] for problem in found["problems"]] == ["file_unreadable"]


def test_sound_has_duration_and_channels(tmp_path):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000 * 4))
    assert _inspected(path, "audio/x-wav")["media"] == {
        "duration_seconds": 1.0,
        "bitrate_kbps": 256.0,
        "sample_rate_hz": 8000,
        "channels": 2,
        "bits_per_sample": 16,
    }


@pytest.mark.parametrize("content_type", ["video/webm", "audio/mpeg", "audio/flac", "video/mp4"])
def test_broken_sound_and_films_do_not_fail(tmp_path, content_type):
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7fgarbage" * 20)
    assert _inspected(path, content_type)["content_type"] == content_type


def test_an_archive_is_listed_and_names_that_lead_out_of_it_are_flagged(tmp_path):
    path = documents.make_zip(
        tmp_path / "a.zip",
        {"fine/a..b.txt": "x", "../up": "x", "/etc/passwd": "x", "C:\\boot": "x", "a\\..\\b": "x"},
    )
    archive = _inspected(path, "application/zip")["archive"]
    assert (archive["entry_count"], archive["unpacked_bytes"]) == (5, 5)
    assert (archive["unsafe_names"], archive["looks_like_bomb"]) == (4, False)
    unsafe = [entry.get("unsafe_name", False) for entry in archive["entries"]]
    assert unsafe == [False, True, True, True, True]


def test_a_bomb_looks_like_one(tmp_path):
    path = documents.make_zip(tmp_path / "a.zip", {"one": "x"})
    documents.add_entry(path, "zeros", zeros=64 * _MIB)
    assert _inspected(path, "application/zip")["archive"]["looks_like_bomb"] is True


def test_a_long_listing_is_cut_but_counted_whole(tmp_path):
    path = documents.make_zip(tmp_path / "a.zip", {f"{n}.txt": "ab" for n in range(1_500)})
    archive = _inspected(path, "application/zip")["archive"]
    assert len(archive["entries"]) == 1_000
    assert (archive["entry_count"], archive["unpacked_bytes"]) == (1_500, 3_000)


@pytest.mark.parametrize(
    ("mode", "content_type"),
    [
        ("w", "application/x-tar"),
        ("w:gz", "application/gzip"),
        ("w:bz2", "application/x-bzip2"),
        ("w:xz", "application/x-xz"),
    ],
)
def test_tar_archives_are_listed_compressed_or_not(tmp_path, mode, content_type):
    path = _tar(tmp_path / "a.tar", {"a.txt": b"hello", "../b": b"x" * 5_000}, mode)
    archive = _inspected(path, content_type)["archive"]
    assert [entry["name"] for entry in archive["entries"]] == ["a.txt", "../b"]
    assert (archive["unpacked_bytes"], archive["unsafe_names"]) == (5_005, 1)
    assert archive["complete"] is True


def test_a_compressed_bomb_is_read_only_so_far(tmp_path):
    path = _tar(tmp_path / "a.tgz", {"zeros": bytes(300 * _MIB)}, "w:gz")
    archive = _inspected(path, "application/gzip")["archive"]
    assert archive["complete"] is False
    assert archive["looks_like_bomb"] is True


def test_a_tar_archive_whose_header_says_it_is_huge_is_a_problem(tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 8 * 1024**3
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    found = _inspected(path, "application/x-tar")
    assert [problem["code"] for problem in found["problems"]] == ["file_unreadable"]


def test_a_text_has_encoding_lines_and_words(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("L'été a été très beau.\nNous avons mangé des fruits\n\nfin".encode("cp1252"))
    found = _inspected(path, "text/plain")
    assert found["text"]["lines"] == 4
    assert found["text"]["words"] == 11
    assert found["text"]["encoding"] == "cp1252"
    assert found["language"]["code"] == "fr"
    assert 0 < found["language"]["probability"] <= 1


def test_words_are_counted_once_where_blocks_meet(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcdefghi " * 100_000)
    assert _inspected(path, "text/plain")["text"]["words"] == 100_000


def test_numbers_have_no_language(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,2,3\n" * 100)
    assert _inspected(path, "text/csv")["language"] is None


def test_a_cancelled_run_stops(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("some words " * 100)
    context = context_for("inspect", path, "text/plain", folder=tmp_path)
    context.reporter.is_cancelled = True
    with pytest.raises(TaskFailed) as raised:
        inspect(context)
    assert raised.value.code == "cancelled"
