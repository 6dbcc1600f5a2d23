"""The SHA-256 whose state can be saved."""

import hashlib
import random
import subprocess
import sys

import pytest

from common import sha256
from common.sha256 import ResumableSha256

needs_libcrypto = pytest.mark.skipif(
    not sha256.can_save_state(), reason="this machine has no shared libcrypto"
)


@needs_libcrypto
@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 127, 128, 1000, 2**20 + 1])
def test_it_agrees_with_hashlib(size):
    data = random.Random(size).randbytes(size)  # noqa: S311
    digest = ResumableSha256()
    digest.update(data)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


@needs_libcrypto
def test_a_state_taken_anywhere_can_be_taken_up_again():
    data = random.Random(1).randbytes(300)  # noqa: S311
    for cut in range(301):
        first = ResumableSha256()
        first.update(data[:cut])
        second = ResumableSha256.from_state(first.state())
        second.update(data[cut:])
        assert second.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.process
@needs_libcrypto
def test_another_process_can_take_the_state_up():
    digest = ResumableSha256()
    digest.update(b"first ")
    program = (
        "from common.sha256 import ResumableSha256\n"
        f"digest = ResumableSha256.from_state(bytes.fromhex({digest.state().hex()!r}))\n"
        "digest.update(b'second')\nprint(digest.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(b"first second").hexdigest()


@needs_libcrypto
def test_the_digest_of_the_beginning_leaves_the_rest_to_come():
    digest = ResumableSha256()
    digest.update(b"a")
    assert digest.hexdigest() == hashlib.sha256(b"a").hexdigest()
    assert digest.hexdigest() == hashlib.sha256(b"a").hexdigest()
    digest.update(b"b")
    assert digest.hexdigest() == hashlib.sha256(b"ab").hexdigest()


@needs_libcrypto
@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))]
)
@pytest.mark.parametrize("data", [b"", b"some bytes"])
def test_any_contiguous_buffer_can_be_hashed(kind, data):
    digest = ResumableSha256()
    digest.update(kind(data))
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


@needs_libcrypto
def test_a_slice_is_hashed_from_its_own_start():
    digest = ResumableSha256()
    digest.update(memoryview(bytearray(b"0123456789"))[3:7])
    digest.update(memoryview(b"0123456789")[7:9])
    assert digest.hexdigest() == hashlib.sha256(b"345678").hexdigest()


@needs_libcrypto
@pytest.mark.parametrize("size", [0, 111, 113])
def test_what_is_no_state_is_refused(size):
    with pytest.raises(ValueError, match="112 bytes"):
        ResumableSha256.from_state(b"x" * size)


def test_without_a_libcrypto_it_says_what_to_ask_first(monkeypatch):
    monkeypatch.setattr(sha256, "_libcrypto", None)
    assert not sha256.can_save_state()
    with pytest.raises(RuntimeError, match="can_save_state"):
        ResumableSha256()
