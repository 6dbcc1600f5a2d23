"""ClamAV's own daemon, with one signature: what it answers is what the tests' scanner answers."""

import io
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boot.tests.portal import free_port
from uploads.files.acceptance.base import Patience
from uploads.files.acceptance.clamd import (
    Clamd,
    ScannerUnavailable,
    StreamTooLongError,
    parse_address,
)
from uploads.models import FileStatus, IngestFile
from uploads.tests.factories import Api, assert_problem, some_bytes
from uploads.tests.scanner import EICAR, SIGNATURE
from uploads.tests.wire import until

pytestmark = [pytest.mark.long, pytest.mark.process, pytest.mark.django_db]
MIB = 2**20
_CONFIGURATION = """
Foreground yes
LocalSocket {folder}/clamd.ctl
TCPAddr 127.0.0.1
TCPSocket {port}
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
StreamMaxLength 3M
MaxFileSize 1M
AlertExceedsMax yes
MaxThreads 4
"""


@pytest.fixture(scope="module")
def clamd() -> Iterator[dict[str, str]]:
    """Its addresses, by their kind."""
    with tempfile.TemporaryDirectory(prefix="clamd-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o777)  # as root, it becomes somebody else
        (folder / "signatures").mkdir()
        signature = f"{SIGNATURE}:0:*:{EICAR.hex()}\n"
        (folder / "signatures" / "local.ndb").write_text(signature)
        config = folder / "clamd.conf"
        config.write_text(_CONFIGURATION.format(folder=folder, port=port))
        process = subprocess.Popen(["/usr/sbin/clamd", "-c", config], stdout=subprocess.DEVNULL)
        addresses = {"tcp": f"clamd://127.0.0.1:{port}", "unix": f"clamd://{folder}/clamd.ctl"}
        try:
            until(lambda: answers(addresses["tcp"]))
            yield addresses
        finally:
            process.terminate()
            process.wait(timeout=20)


def answers(address: str) -> bool:
    try:
        Clamd(parse_address(address)).ping()
    except ScannerUnavailable:
        return False
    return True


def scan(address: str, data: bytes, *, block_bytes: int = 64 * 2**10) -> str:
    blocks = (data[at : at + block_bytes] for at in range(0, len(data), block_bytes))
    patience = Patience(silent_seconds=60, seconds=60)
    return Clamd(parse_address(address)).scan(blocks, patience=patience)


def zipped(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/inside", data)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_it_finds_the_test_file_plain_packed_and_cut_in_two(clamd, kind):
    address = clamd[kind]
    assert Clamd(parse_address(address)).version().startswith("ClamAV")
    for data in (EICAR, zipped(EICAR), some_bytes(1000) + EICAR):
        assert scan(address, data).startswith(SIGNATURE)
        assert scan(address, data, block_bytes=7).startswith(SIGNATURE)
    assert scan(address, b"") == scan(address, some_bytes(500_000)) == ""


def test_its_limit_of_streams_is_told_however_much_longer_one_is(clamd):
    for size in (3 * MIB + 1, 64 * MIB):
        with pytest.raises(StreamTooLongError):
            scan(clamd["tcp"], bytes(size))


def test_a_portal_stores_what_it_finds_clean_and_nothing_else(clamd, settings):
    settings.PORTAL_SCANNER = clamd["unix"]
    api = Api()
    data = some_bytes(150) + zipped(EICAR)
    session = api.session_of(data, chunk=200)
    api.put_all(session, data)
    assert_problem(api.finalize(session["session_id"]), 422, "infected")
    assert_problem(api.post_raw(zipped(EICAR), filename="a.zip"), 422, "infected")
    assert_problem(api.post_raw(some_bytes(2 * MIB), filename="a.bin"), 422, "not_scannable")
    assert_problem(api.post_raw(some_bytes(4 * MIB), filename="a.bin"), 413, "too_large_to_check")
    assert api.post_raw(zipped(b"hello"), filename="a.zip").status_code == 201
    failed = IngestFile.objects.filter(status=FileStatus.FAILED)
    assert (failed.count(), IngestFile.objects.count()) == (4, 5)
