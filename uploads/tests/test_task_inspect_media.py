"""Facts about films, sound, pictures and archives that no library here knows."""

import json
import lzma
import struct
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from uploads.tests.workflow_context import context_for
from uploads.workflows.tasks.inspect import inspect
from uploads.workflows.text import pieces


def _inspected(path: Path, content: bytes, content_type: str) -> dict:
    path.write_bytes(content)
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    result = inspect(context_for("inspect", path, content_type, folder=folder))
    return json.loads(result.output_text)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def test_a_heic_picture_has_the_dimensions_of_its_largest_image(tmp_path):
    sizes = [(512, 512), (4032, 3024), (160, 120)]
    images = [_box(b"ispe", struct.pack(">III", 0, width, height)) for width, height in sizes]
    meta = _box(b"meta", bytes(4), _box(b"iprp", _box(b"ipco", *images)))
    content = _box(b"ftyp", b"heic\0\0\0\0mif1heic") + meta + _box(b"mdat", bytes(100))
    found = _inspected(tmp_path / "a.heic", content, "image/heic")
    assert found["image"] == {"format": "HEIF", "width": 4032, "height": 3024}
    assert found["problems"] == []
    broken = _inspected(tmp_path / "b.heic", content[:30], "image/heic")
    assert [problem["code"] for problem in broken["problems"]] == ["file_unreadable"]


@pytest.mark.parametrize("content_type", ["video/quicktime", "video/mp4"])
def test_a_film_has_duration_dimensions_and_the_bitrate_of_the_whole(tmp_path, content_type):
    header = _box(b"mvhd", bytes(12), struct.pack(">II", 600, 1200), bytes(80))
    track = _box(b"tkhd", bytes(76), struct.pack(">II", 1920 << 16, 1080 << 16))
    moov = _box(b"moov", header, _box(b"trak", track))
    content = _box(b"ftyp", b"qt  \0\0\0\0qt  ") + _box(b"mdat", bytes(50_000)) + moov
    found = _inspected(tmp_path / "a.mov", content, content_type)
    assert found["problems"] == []
    assert found["media"]["duration_seconds"] == 2.0
    assert (found["media"]["width"], found["media"]["height"]) == (1920, 1080)
    assert found["media"]["bitrate_kbps"] == pytest.approx(len(content) * 8 / 2000, abs=0.01)


def _element(number: int, body: bytes) -> bytes:
    return (
        number.to_bytes((number.bit_length() + 7) // 8, "big")
        + struct.pack(">I", 0x10000000 | len(body))
        + body
    )


@pytest.mark.parametrize("content_type", ["video/webm", "video/x-matroska"])
def test_matroska_and_webm_tell_duration_dimensions_and_codecs(tmp_path, content_type):
    info = _element(0x1549A966, _element(0x4489, struct.pack(">d", 2500.0)))
    video = _element(0xE0, _element(0xB0, b"\x05\x00") + _element(0xBA, b"\x02\xd0"))
    track = _element(0xAE, _element(0x86, b"V_VP9") + video)
    body = info + _element(0x1654AE6B, track) + _element(0x1F43B675, bytes(1000))
    head = _element(0x1A45DFA3, _element(0x4282, b"webm"))
    found = _inspected(tmp_path / "a.webm", head + _element(0x18538067, body), content_type)
    media = found["media"]
    assert media.pop("bitrate_kbps") > 0
    assert media == {"duration_seconds": 2.5, "width": 1280, "height": 720, "codecs": ["V_VP9"]}


def test_an_avi_film_tells_duration_and_dimensions(tmp_path):
    header = struct.pack("<14I", 40_000, 0, 0, 0, 250, 0, 1, 0, 640, 480, 0, 0, 0, 0)
    content = b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih" + struct.pack("<I", 56) + header + bytes(99)
    media = _inspected(tmp_path / "a.avi", content, "video/x-msvideo")["media"]
    assert (media["duration_seconds"], media["width"], media["height"]) == (10.0, 640, 480)


def test_aac_sound_is_as_long_as_its_frames(tmp_path):
    length = 200
    head = bytes(
        [0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC]
    )
    frame = head + bytes(length - 7)
    content = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + frame * 10_000  # more than a block
    media = _inspected(tmp_path / "a.aac", content, "audio/x-hx-aac-adts")["media"]
    assert media["duration_seconds"] == round(10_000 * 1024 / 44_100, 2)
    assert (media["sample_rate_hz"], media["channels"]) == (44_100, 2)


def test_archives_that_cannot_be_listed_say_so_and_lzma_is_unpacked(tmp_path):
    found = _inspected(tmp_path / "a.7z", b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed")
    assert [problem["code"] for problem in found["problems"]] == ["not_listed"]
    content = lzma.compress(b"x" * 5_000, format=lzma.FORMAT_ALONE)
    archive = _inspected(tmp_path / "a.lzma", content, "application/x-lzma")["archive"]
    assert archive["unpacked_bytes"] == 5_000


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["报告/第一季度.txt", "中文.pdf"]),
        ("gbk", ["中文.txt"]),
        ("cp932", ["報告書/第一四半期.txt", "りんご.pdf"]),
        ("cp866", ["Отчёт за год.txt", "Яблоки.pdf"]),
        ("cp437", ["Grüße.txt"]),
        ("utf-8", ["Grüße.txt", "中文.pdf"]),
    ],
)
def test_names_in_a_zip_archive_are_read_in_the_encoding_that_they_are_in(
    tmp_path, encoding, names
):
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as archive:
        for name in names:
            # As wide as the name, and written over below: zipfile would set the flag.
            archive.writestr(ZipInfo("x" * len(name.encode(encoding))), b"1")
    content = path.read_bytes()
    for name in names:
        raw = name.encode(encoding)
        content = content.replace(b"x" * len(raw), raw, 1)
    central = content.index(b"PK\x01\x02")
    tail = content[central:]
    for name in names:
        raw = name.encode(encoding)
        tail = tail.replace(b"x" * len(raw), raw, 1)
    content = content[:central] + tail
    archive = _inspected(path, content, "application/zip")["archive"]
    assert [entry["name"] for entry in archive["entries"]] == names
    with path.open("rb") as source:
        found = pieces(source=source, filename="a.zip", content_type="application/zip")
        text = "".join(piece.text for piece in found)
    assert all(f"| {name} |" in text for name in names)
