"""Clients that others wrote, unmodified, against the running portal."""

import asyncio
import io
from pathlib import Path

import aiotus
import pytest
import resumable_upload
import tusclient.client

from uploads.tests.factories import sha256, some_bytes
from uploads.tests.tus_calls import TUS
from uploads.tests.wire import Door

DATA = some_bytes(250_000, seed=7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "słońce.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def address(door: Door) -> str:
    return door.portal.url + TUS


@pytest.fixture
def headers(door: Door) -> dict[str, str]:
    return {"Authorization": f"Bearer {door.token}"}


def assert_stored(door: Door, url: str, *, filename: str = "słońce.bin") -> None:
    session = door.call("GET", f"/api/v1/uploads/sessions/{url.rsplit('/', 1)[-1]}").json()
    file = door.call("GET", f"/api/v1/files/{session['file_id']}").json()
    assert (file["status"], file["original_filename"]) == ("stored", filename)
    assert file["sha256"] == sha256(DATA)


@pytest.mark.parametrize("checked", [False, True])
def test_tuspy_uploads_and_goes_on_where_it_stopped(door, address, headers, checked):
    client = tusclient.client.TusClient(address, headers=headers)
    first = client.uploader(
        file_stream=io.BytesIO(DATA),
        chunk_size=60_000,
        metadata={"filename": "słońce.bin"},
        upload_checksum=checked,
    )
    first.upload(stop_at=100_000)
    second = client.uploader(file_stream=io.BytesIO(DATA), chunk_size=60_000, url=first.url)
    assert second.offset == first.offset
    second.upload()
    assert_stored(door, first.url)


def test_aiotus_uploads(door, address, headers):
    location = asyncio.run(
        aiotus.upload(
            address,
            io.BytesIO(DATA),
            {"filename": "słońce.bin".encode()},
            headers=headers,
            chunksize=60_000,
        )
    )
    assert_stored(door, str(location))


def test_aiotus_uploads_in_parts_that_are_put_together(door, address, headers):
    parts = [io.BytesIO(DATA[:100_000]), io.BytesIO(DATA[100_000:])]
    location = asyncio.run(
        aiotus.upload_multiple(
            address, parts, {"filename": "słońce.bin".encode()}, headers=headers, chunksize=60_000
        )
    )
    assert_stored(door, str(location))


@pytest.mark.parametrize("checksum", ["sha1", "sha256"])
def test_resumable_upload_uploads(door, address, headers, file, checksum):
    client = resumable_upload.TusClient(
        address, headers=headers, chunk_size=60_000, checksum=checksum
    )
    url = client.upload_file(str(file))
    assert_stored(door, url)
    assert client.get_upload_info(url)["complete"]


def test_resumable_upload_uploads_in_parallel(door, address, headers, file):
    client = resumable_upload.TusClient(address, headers=headers, chunk_size=60_000)
    assert_stored(door, client.upload_file(str(file), parallel_uploads=3))


def test_resumable_upload_reads_what_the_portal_can_do(address, headers):
    told = resumable_upload.TusClient(address, headers=headers).get_server_info()
    assert told["version"] == "1.0.0"
    assert "concatenation" in told["extensions"]
