"""The client of clamd, against a scanner that goes wrong in every way."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from uploads.files.acceptance import clamd
from uploads.files.acceptance.base import LeftToWorker, Patience
from uploads.files.acceptance.clamd import (
    BLOCK_BYTES,
    Clamd,
    ScannerFailed,
    ScannerUnavailable,
    StreamTooLongError,
    parse_address,
)
from uploads.tests.scanner import EICAR, SIGNATURE, Scanner, running

PATIENCE = Patience(silent_seconds=10, seconds=10)


@pytest.fixture
def scanner() -> Iterator[Scanner]:
    with running() as scanner:
        yield scanner


def scan(scanner: Scanner, *blocks: bytes, patience: Patience = PATIENCE) -> str:
    return Clamd(parse_address(scanner.address)).scan(iter(blocks), patience=patience)


def test_a_clean_stream_and_one_with_a_finding(scanner):
    assert scan(scanner, b"hello", b" world") == ""
    assert scan(scanner, b"x" * 1000 + EICAR[:30], EICAR[30:]) == SIGNATURE
    assert scan(scanner) == ""
    assert scanner.scanned[0] == b"hello world"


def test_it_says_that_it_is_there_and_what_it_knows(scanner):
    there = Clamd(parse_address(scanner.address))
    there.ping()
    assert there.version().startswith("ClamAV 1.4.3/27800")


def test_a_stream_that_is_too_long_is_told_as_that_although_it_goes_on(scanner):
    scanner.most_bytes = 3 * BLOCK_BYTES
    with pytest.raises(StreamTooLongError):
        scan(scanner, *[b"x" * BLOCK_BYTES] * 4)


@pytest.mark.parametrize("fault", ["error", "garbage"])
def test_an_answer_that_is_no_verdict_is_no_acceptance(scanner, fault):
    scanner.fault = fault
    with pytest.raises(ScannerFailed) as failed:
        scan(scanner, *[b"x" * 1000] * 3)
    assert failed.value.detail


def test_a_verdict_before_the_end_is_none(scanner):
    scanner.fault = "early"

    def blocks() -> Iterator[bytes]:
        scanner.spoke_early.wait(10)
        yield EICAR

    with pytest.raises(ScannerFailed, match="could not scan"):
        Clamd(parse_address(scanner.address)).scan(blocks(), patience=PATIENCE)


def test_a_connection_that_breaks_off_is_no_acceptance(scanner):
    scanner.fault = "cut"
    with pytest.raises(ScannerUnavailable) as failed:
        scan(scanner, *[b"x" * BLOCK_BYTES] * 50)
    assert "closed the connection" in failed.value.detail


def test_silence_is_waited_for_so_long_and_no_longer(scanner):
    scanner.fault = "silent"
    beats: list[float] = []
    patience = Patience(silent_seconds=0.3, seconds=10, on_beat=lambda: beats.append(1))
    with pytest.raises(ScannerFailed) as failed:  # it answers others
        scan(scanner, b"x", patience=patience)
    assert "has been silent" in failed.value.detail
    for silent, seconds in ((10, 0.2), (0.2, 10)):
        with pytest.raises(LeftToWorker):  # who waits in a request has others to do it
            scan(scanner, b"x", patience=Patience(silent, seconds, most_bytes=10))


def test_one_that_is_silent_to_everybody_is_not_there(scanner, monkeypatch):
    monkeypatch.setattr(Clamd.ping, "__kwdefaults__", {"seconds": 0.2})
    scanner.fault = "dead"
    for most_bytes in (None, 10):
        with pytest.raises(ScannerUnavailable):
            scan(scanner, b"x", patience=Patience(0.2, 10, most_bytes=most_bytes))


def test_whoever_waits_can_stop_it(scanner, monkeypatch):
    monkeypatch.setattr(clamd, "BEAT_SECONDS", 0.05)
    scanner.fault = "silent"

    def stop() -> None:
        raise KeyError("nobody waits")

    with pytest.raises(KeyError):
        scan(scanner, b"x", patience=replace(PATIENCE, on_beat=stop))


def test_nobody_there_and_something_else_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"clamd://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ScannerUnavailable) as failed:
            Clamd(parse_address(address)).ping()
        assert "does not answer" in failed.value.detail
    with pytest.raises(ScannerUnavailable):
        Clamd(parse_address("clamd:///nowhere/clamd.ctl")).ping()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clamd://clamav:3310", "clamav:3310"),
        ("clamd://clamav", "clamav:3310"),
        ("clamd://[::1]:99", "::1:99"),
        ("clamd:///run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
    ],
)
def test_addresses(text, shown):
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text", ["clamav:3310", "clamd://", "clamd:///", "http://clamav", "clamd://a:0", "clamd://a:x"]
)
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_address(text)


def test_the_time_it_takes_to_stream_is_no_silence(scanner):
    def slowly() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.1)
            yield b"x"

    patience = Patience(silent_seconds=0.3, seconds=10)
    assert Clamd(parse_address(scanner.address)).scan(slowly(), patience=patience) == ""
