import asyncio
import os
import signal
import threading
import time
from io import BytesIO

import pytest

from doorito_client import AsyncClient, Client, DigestDiffers, DooritoError, FileChanged, Upload
from doorito_client.errors import Conflict, NotFound, NotLoggedIn, TypeNotAllowed
from doorito_client.flows import order

pytestmark = pytest.mark.long

MIB = 2**20


@pytest.mark.parametrize("size", [0, 1, MIB, 8 * MIB, 8 * MIB + 1, 20_000_003])
def test_a_file_of_any_size_is_stored_whole(place, sha256, size):
    path = place.file("any.bin", size)

    file = place.client().upload(path, metadata={"project": "alpha"})

    assert (file.status, file.size_bytes, file.sha256) == ("stored", size, sha256(path))
    assert (file.original_filename, file.metadata) == ("any.bin", {"project": "alpha"})
    assert list(place.states.glob("*")) == []


def test_progress_ends_with_the_whole(place):
    told = []
    place.client().upload(place.file("a.bin", 20_000_000), on_progress=told.append)
    assert (told[0], max(told), told[-1]) == (0, 20_000_000, 20_000_000)


def test_the_async_client_does_the_same(place, sha256):
    paths = [place.file(f"async-{number}.bin", number * 9 * MIB) for number in range(3)]

    async def all_of_it():
        async with AsyncClient(
            place.portal.url, place.token, states=place.states, trust_env=False
        ) as client:
            outcomes = await client.upload_all([Upload(path) for path in paths])
            files = [outcome.file for outcome in outcomes]
            target = await client.download(files[2].id, place.folder / "copy")
            listed = [file.id async for file in client.files(search="async-")]
            with pytest.raises(NotFound):
                await client.file("00000000-0000-0000-0000-000000000000")
            return files, target, listed

    files, target, listed = asyncio.run(all_of_it())

    assert [file.sha256 for file in files] == [sha256(path) for path in paths]
    assert target.read_bytes() == paths[2].read_bytes()
    assert {file.id for file in files} <= set(listed)


def test_a_stream_is_stored_though_nobody_knows_its_length(place):
    file = place.client().upload_stream(BytesIO(bytes(9 * MIB)), "stream.bin")
    assert (file.original_filename, file.size_bytes) == ("stream.bin", 9 * MIB)


def test_one_that_cannot_be_read_keeps_none_of_the_others(place):
    paths = [place.folder / "is-not-there", place.file("is-there", 10)]
    missing, stored = place.client().upload_all([Upload(path) for path in paths])
    assert (missing.file, missing.error.exit_code) == (None, 1)
    assert stored.file.status == "stored"


# --- Interruptions -------------------------------------------------------------------------------


def test_an_upload_goes_on_after_ctrl_c(place, proxy, until, sha256, ended):
    path = place.file("interrupted.bin", 64 * MIB)
    proxy.delay = 0.3
    process = place.start("upload", path, url=proxy.url)
    ended.append(process)
    until(lambda: len(proxy.parts()) >= 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "The same command goes on where it was." in said
    assert len(list(place.states.iterdir())) == 1
    had = {each.path for each in proxy.parts()}
    assert len(had) < 8
    until(lambda: len({each.path for each in proxy.parts()}) in {len(had), len(had) + 4})
    proxy.seen.clear()

    proxy.delay = 0
    done = place.run("upload", path, url=proxy.url)

    assert done.returncode == 0, done.stderr
    assert had.isdisjoint(each.path for each in proxy.parts())
    (file,) = place.named("interrupted.bin")
    assert (file.status, file.sha256) == ("stored", sha256(path))
    assert list(place.states.iterdir()) == []


def test_an_upload_goes_on_after_a_kill_of_the_client(place, proxy, until, sha256, ended):
    path = place.file("killed.bin", 64 * MIB)
    proxy.delay = 0.3
    process = place.start("upload", path, url=proxy.url)
    ended.append(process)
    until(lambda: len(proxy.parts()) >= 2)
    process.kill()
    process.wait()
    had = {each.path for each in proxy.parts()}

    proxy.delay = 0
    assert place.run("upload", path, url=proxy.url).returncode == 0

    sent_again = [each for each in proxy.parts() if each.path in had]
    assert len(sent_again) == len(had)
    (file,) = place.named("killed.bin")
    assert (file.status, file.sha256) == ("stored", sha256(path))


def test_an_upload_survives_a_kill_of_the_web_server(place, proxy, until, sha256):
    path = place.file("survivor.bin", 64 * MIB)
    proxy.delay = 0.3
    stored = []
    thread = threading.Thread(target=lambda: stored.append(place.client(proxy.url).upload(path)))
    thread.start()
    until(lambda: len(proxy.parts()) >= 2)
    place.portal.kill("web")
    thread.join(timeout=120)
    place.portal.wait()

    assert any(each.status >= 500 for each in proxy.seen)
    assert [file.sha256 for file in stored] == [sha256(path)]
    assert len(place.named("survivor.bin")) == 1


def test_a_command_that_is_repeated_after_it_was_cut_stores_nothing_twice(place, proxy, ended):
    """The answer to the last request is lost: the portal has the file, the client does not know."""
    path = place.file("twice.bin", 100)
    proxy.answers = [(502, {})]
    first = place.client(proxy.url).upload(path)
    assert [each.status for each in proxy.seen] == [502, 201]
    assert [file.id for file in place.named("twice.bin")] == [first.id]


def test_of_several_files_those_that_were_stored_before_an_interruption_are_kept(place, sha256):
    paths = [place.file(f"several-{number}", 1000) for number in range(3)]
    uploads = [Upload(path, is_kept=True) for path in paths]
    first = place.client().upload_all(uploads)
    again = place.client().upload_all(uploads)
    assert [each.file.id for each in again] == [each.file.id for each in first]


def test_a_file_that_was_removed_since_is_uploaded_anew(place):
    upload = Upload(place.file("removed", 1000), is_kept=True)
    first = place.client().upload_all([upload])[0].file
    place.client().delete(first.id)
    assert place.client().upload_all([upload])[0].file.id != first.id


def test_a_session_that_was_given_up_is_begun_anew(place, proxy, until, ended, sha256):
    path = place.file("given-up.bin", 64 * MIB)
    proxy.delay = 0.3
    process = place.start("upload", path, url=proxy.url)
    ended.append(process)
    session = until(proxy.parts)[0].path.rpartition("/parts/")[0]
    process.kill()
    process.wait()
    place.client().run_flow(_order(place, "DELETE", session))

    proxy.delay = 0
    file = place.client(proxy.url).upload(path)

    assert (file.status, file.sha256) == ("stored", sha256(path))


def _order(place, method, path):
    return order(place.client().core, method, path)


# --- Proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5 * MIB, 20 * MIB])
def test_parts_are_halved_until_a_proxy_lets_them_through(place, proxy, sha256, size):
    path = place.file("halved.bin", size)
    proxy.most_bytes = MIB
    client = place.client(proxy.url)
    batch = client.create_batch("halved", expected_files=1)

    file = client.upload(path, batch_id=batch.id)

    assert (file.status, file.sha256) == ("stored", sha256(path))
    assert max(each.size_bytes for each in proxy.parts()) <= MIB
    closed = client.close_batch(batch.id)
    assert (closed.status, closed.failed_count) == ("complete", 0)


def test_a_proxy_that_refuses_the_smallest_parts_is_named(place, proxy):
    proxy.most_bytes = 100_000
    with pytest.raises(DooritoError, match="proxy") as refused:
        place.client(proxy.url).upload(place.file("refused.bin", 5 * MIB))
    assert refused.value.status in {400, 413}


def test_an_answer_that_names_a_time_is_waited_for(place, proxy):
    proxy.answers = [(503, {"Retry-After": "1"}), (429, {"Retry-After": "1"})]
    began = time.monotonic()
    place.client(proxy.url).upload(place.file("patient", 10))
    assert time.monotonic() - began >= 2


# --- What must not be stored ---------------------------------------------------------------------


def test_a_file_that_is_written_to_meanwhile_is_an_error_and_not_stored(place):
    path = place.file("growing.bin", 20 * MIB)

    def write(_sent):
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FileChanged, match="Upload it again once nobody writes to it"):
        place.client().upload(path, on_progress=write)

    assert [file.status for file in place.named("growing.bin")] == ["failed"]
    assert list(place.states.iterdir()) == []


def test_a_resumed_file_with_other_bytes_and_the_same_times_is_not_kept(
    place, proxy, until, ended, sha256
):
    path = place.file("swapped.bin", 32 * MIB)
    times = path.stat()
    proxy.delay = 0.5
    process = place.start("upload", path, "--parallel", "1", url=proxy.url)
    ended.append(process)
    until(lambda: len(proxy.parts()) >= 2)
    process.kill()
    process.wait()
    path.write_bytes(os.urandom(32 * MIB))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    proxy.delay = 0
    with pytest.raises(DigestDiffers):
        place.client(proxy.url).upload(path)
    assert [file.status for file in place.named("swapped.bin")] == ["deleted"]

    assert place.client().upload(path).sha256 == sha256(path)


# --- Errors --------------------------------------------------------------------------------------


def test_errors_are_typed_by_what_can_be_done(place):
    with (
        Client(place.portal.url, "drt_wrong", trust_env=False) as stranger,
        pytest.raises(NotLoggedIn, match="doorito-client login") as refused,
    ):
        stranger.upload(place.file("a", 1))
    assert (refused.value.code, refused.value.exit_code) == ("token_invalid", 3)

    client = place.client()
    file = client.upload(place.file("once", 1))
    client.consume(file.id)
    with pytest.raises(Conflict) as second:
        client.consume(file.id)
    assert second.value.exit_code == 5
    assert TypeNotAllowed.exit_code == 1
