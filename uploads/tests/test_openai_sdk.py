"""OpenAI's own Python client, unmodified, against the running portal."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from uploads.tests.factories import some_bytes
from uploads.tests.wire import Door

DATA = some_bytes(250_000, seed=5)
NAME = 'a "quoted" słońce.jsonl'


@pytest.fixture
def client(door: Door) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{door.portal.url}/v1",
        api_key=door.token,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        yield client


def test_files_are_created_listed_read_and_deleted(client):
    made = client.files.create(
        file=(NAME, DATA),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 7 * 86_400},
    )
    assert (made.filename, made.bytes, made.purpose) == (NAME, len(DATA), "user_data")
    assert made.expires_at - made.created_at in range(7 * 86_400 - 60, 7 * 86_400 + 60)
    assert client.files.retrieve(made.id) == made
    assert client.files.wait_for_processing(made.id).status == "processed"
    assert client.files.content(made.id).read() == DATA
    others = [client.files.create(file=("b.txt", b"b"), purpose="user_data").id for _ in range(3)]
    listed = [file.id for file in client.files.list(limit=2, purpose="user_data")]
    assert listed[:4] == [*others[::-1], made.id]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError) as error:
        client.files.retrieve(made.id)
    assert error.value.code == "file_not_found"


def test_parts_in_parallel_and_shuffled_make_the_file(client):
    upload = client.uploads.create(
        bytes=len(DATA), filename=NAME, mime_type="text/plain", purpose="batch"
    )
    starts = list(range(0, len(DATA), 50_000))

    def send(start: int) -> str:
        return client.uploads.parts.create(upload.id, data=DATA[start : start + 50_000]).id

    with ThreadPoolExecutor(3) as pool:
        ids = dict(zip(starts[::-1], pool.map(send, starts[::-1]), strict=True))
    md5 = hashlib.md5(DATA).hexdigest()  # noqa: S324
    done = client.uploads.complete(upload.id, part_ids=[ids[start] for start in starts], md5=md5)
    assert (done.status, done.file.filename) == ("completed", NAME)
    assert client.files.content(done.file.id).read() == DATA


def test_the_clients_own_way_of_sending_in_parts(client):
    done = client.uploads.upload_file_chunked(
        file=DATA,
        filename="a.pdf",
        bytes=len(DATA),
        mime_type="application/pdf",
        purpose="assistants",
        part_size=100_000,
    )
    assert (done.status, done.file.bytes) == ("completed", len(DATA))
    assert client.files.content(done.file.id).read() == DATA


def test_refusals_are_the_clients_own_errors(client, door):
    with pytest.raises(openai.BadRequestError) as error:
        client.files.create(file=("a", b"x"), purpose="fun")
    assert (error.value.code, error.value.param) == ("invalid_request", "purpose")
    stranger = client.with_options(api_key="drt_unknown")
    with pytest.raises(openai.AuthenticationError):
        stranger.files.list()
    upload = client.uploads.create(
        bytes=5, filename="a", mime_type="text/plain", purpose="user_data"
    )
    part = client.uploads.parts.create(upload.id, data=io.BytesIO(b"1234"))
    with pytest.raises(openai.BadRequestError) as error:
        client.uploads.complete(upload.id, part_ids=[part.id])
    assert error.value.code == "length_differs"
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(upload.id, data=b"5")


@pytest.mark.interop
def test_a_large_file_in_the_clients_own_parts(client):
    """Four parts of 64 MiB, the last of them smaller."""
    data = bytes(200 * 2**20)
    done = client.uploads.upload_file_chunked(
        file=data, filename="zeros", bytes=len(data), mime_type="x/y", purpose="user_data"
    )
    assert done.file.bytes == len(data)
    assert done.file.to_dict()["sha256"] == hashlib.sha256(data).hexdigest()
