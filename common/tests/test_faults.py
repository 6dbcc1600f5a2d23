"""What people are told of a connection that failed: what happened, and what to look at."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.net import faults, guarded_http, guarded_httpx
from common.net.faults import Phase
from common.tests.attempts import LOOPS, make_message, send
from common.tests.certificates import DAY, make_certificates, make_self_signed
from common.tests.receiver import Close, Hang, Receiver
from common.tests.wire import PATIENCE, Peer, Wire

HOST = "runner.example"
TRUST_IT = "PORTAL_CA_BUNDLE names the certificates"


@pytest.fixture(autouse=True)
def known_names(names: dict[str, list[str]]) -> None:
    names[HOST] = ["127.0.0.1"]


def errors_of(url: str, *, timeout: float = PATIENCE) -> set[str]:
    """What an attempt says of it, in either event loop."""
    return {send(make_message(url, timeout=timeout), run=run)[0].error for run in LOOPS}


def error_of_httpx(url: str) -> str:
    """What a workflow's request says of it."""
    with guarded_httpx.client(silence=PATIENCE, total=PATIENCE) as client:
        try:
            client.post(url)
        except httpx.TransportError as exc:
            return faults.explain(
                exc, phase=Phase.CONNECTING, place=httpx.URL(url).netloc.decode(), seconds=1
            )
    raise AssertionError("The request went through.")


# --- Certificates --------------------------------------------------------------------------------


def expired(folder: Path) -> tuple[Path, Path]:
    return make_certificates(folder, host=HOST, begins=-2 * DAY, ends=-DAY)


def not_yet_valid(folder: Path) -> tuple[Path, Path]:
    return make_certificates(folder, host=HOST, begins=DAY, ends=2 * DAY)


def of_another_host(folder: Path) -> tuple[Path, Path]:
    return make_certificates(folder, host="other.example")


def of_an_unknown_authority(folder: Path) -> tuple[None, Path]:
    return None, make_certificates(folder, host=HOST)[1]


def self_signed(folder: Path) -> tuple[None, Path]:
    return None, make_self_signed(folder, host=HOST)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (expired, "it has expired. Renew it there."),
        (not_yet_valid, "it is not valid yet. Compare the clocks"),
        (of_another_host, "it is for another host (Hostname mismatch, certificate is not valid"),
        (of_an_unknown_authority, TRUST_IT),
        (of_an_unknown_authority, "does not send its intermediate certificates"),
        (self_signed, f"it is self-signed. {TRUST_IT}"),
    ],
)
def test_a_certificate_that_is_refused_is_told_with_what_to_do(
    make: Callable[[Path], tuple[Path | None, Path]], told: str, tmp_path: Path, settings: Any
) -> None:
    settings.PORTAL_CA_BUNDLE, chain = make(tmp_path)
    with Receiver(certificate=chain) as receiver:
        url = f"https://{HOST}:{receiver.port}/hook"
        (said,) = errors_of(url)

        assert said.startswith(f"The certificate of {HOST}:{receiver.port} is refused: ")
        assert told in said
        assert error_of_httpx(url) == said
        assert receiver.received == []


def test_a_certificate_for_another_address_is_told_as_such(tmp_path: Path, settings: Any) -> None:
    settings.PORTAL_CA_BUNDLE, chain = make_certificates(tmp_path, host="127.0.0.2")
    with Receiver(certificate=chain) as receiver:
        (said,) = errors_of(f"https://127.0.0.1:{receiver.port}/hook")

    assert "it is for another host (IP address mismatch" in said


def test_a_self_signed_certificate_can_be_trusted(tmp_path: Path, settings: Any) -> None:
    settings.PORTAL_CA_BUNDLE = chain = make_self_signed(tmp_path, host=HOST)
    with Receiver(certificate=chain) as receiver:
        assert errors_of(f"https://{HOST}:{receiver.port}/hook") == {""}


# --- TLS -----------------------------------------------------------------------------------------


def test_a_port_that_does_not_speak_tls_is_told_as_such() -> None:
    def plain(peer: Peer) -> None:
        peer.take_some()
        peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wait_for_end()

    with Wire(plain) as wire:
        url = f"https://{HOST}:{wire.port}/"
        (said,) = errors_of(url)

        assert "does not speak TLS. Does the URL mean http://?" in said
        assert error_of_httpx(url) == said


def test_a_client_certificate_that_is_asked_for_is_told_as_such(
    tmp_path: Path, settings: Any
) -> None:
    settings.PORTAL_CA_BUNDLE, chain = make_certificates(tmp_path, host=HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.load_verify_locations(settings.PORTAL_CA_BUNDLE)
    context.verify_mode = ssl.CERT_REQUIRED

    with Wire(lambda peer: peer.refuse(context)) as wire:
        (said,) = errors_of(f"https://{HOST}:{wire.port}/")

    assert "the receiver asks for a client certificate" in said


@pytest.mark.parametrize("ending", [Peer.reset, lambda _: None], ids=["reset", "closed"])
def test_a_handshake_that_breaks_off_is_told_as_such(ending: Callable[[Peer], None]) -> None:
    def breaks_off(peer: Peer) -> None:
        peer.take_some()
        ending(peer)

    with Wire(breaks_off) as wire:
        (said,) = errors_of(f"https://{HOST}:{wire.port}/")

    assert said.startswith("The receiver ended the connection during the TLS handshake. ")


def test_a_handshake_that_takes_too_long_is_told_as_such() -> None:
    with Wire(Peer.wait_for_end) as wire:
        (said,) = errors_of(f"https://{HOST}:{wire.port}/", timeout=0.5)

        place = f"{HOST}:{wire.port}"
        assert said == f"The TLS handshake with {place} took too long. Does the receiver speak TLS?"


# --- Connections ---------------------------------------------------------------------------------


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue is full: what connects to it waits, as behind a firewall that drops."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_port_that_nothing_listens_at_is_told_as_such() -> None:
    port = unused_port()
    url = f"http://{HOST}:{port}/"

    (said,) = errors_of(url)

    assert said == (
        f"Cannot connect to {HOST}:{port}: nothing listens there. Is the receiver running, and is "
        "the port right?"
    )
    assert error_of_httpx(url) == said


@pytest.mark.parametrize("limit", ["of connecting", "of the endpoint"])
def test_connecting_that_takes_too_long_is_told_as_such(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "of connecting":
        monkeypatch.setattr(guarded_http, "CONNECT_TIMEOUT", 0.3)
    with full_listener() as port:
        (said,) = errors_of(f"http://{HOST}:{port}/", timeout=0.6)

    assert said == (
        f"Connecting to {HOST}:{port} took too long. Is the receiver running, and does a firewall "
        "keep the connection out?"
    )


@pytest.mark.parametrize(
    ("reaction", "told"),
    [
        (Close(), "The receiver reset the connection without an answer. Look at its log."),
        (Hang(), "No answer within 0.5 s. Look at what keeps the receiver busy."),
    ],
)
def test_an_answer_that_does_not_come_is_told_as_such(reaction: Any, told: str) -> None:
    with Receiver(default=reaction) as receiver:
        assert errors_of(receiver.url, timeout=0.5) == {told}


def test_a_connection_that_is_closed_instead_of_an_answer_is_told_as_such() -> None:
    with Wire(Peer.take) as wire:
        (said,) = errors_of(wire.url)

    assert said == "The receiver closed the connection without an answer. Look at its log."


def test_a_connection_that_is_closed_within_the_status_line_is_told_as_such() -> None:
    def cut(peer: Peer) -> None:
        peer.take()
        peer.say(b"HTTP/1.1 2")

    with Wire(cut) as wire:
        (said,) = errors_of(wire.url)

    assert said == "The receiver closed the connection in the middle of its answer."


# --- Names ---------------------------------------------------------------------------------------


def test_a_name_that_is_not_known_is_told_as_such() -> None:
    (said,) = errors_of("http://nowhere.example/")

    assert said == "The host nowhere.example cannot be resolved: there is no such name."


def test_a_name_server_that_does_not_answer_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (said,) = errors_of("http://runner.example/")

    assert said == "The host runner.example cannot be resolved: the name server does not answer."


def test_a_look_up_that_takes_too_long_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def wait(*_: Any, **__: Any) -> None:
        over.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    (said,) = errors_of("http://runner.example/", timeout=0.3)
    over.set()

    assert said.startswith("Looking up the name of runner.example:80 took too long.")
