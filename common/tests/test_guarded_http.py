"""The client of webhooks: pooled connections, answers of all kinds, TLS."""

import asyncio
import gzip
import threading

import pytest
import uvloop

from common.net import guarded_http, http_response
from common.tests.attempts import LOOPS, make_message, send, send_to
from common.tests.certificates import make_certificates
from common.tests.receiver import Receiver
from common.tests.wire import (
    PATIENCE,
    Peer,
    Wire,
    answers,
    answers_once,
    connections_of,
    response,
    says,
)


@pytest.fixture(autouse=True)
def patient_pool(monkeypatch):
    """A connection does not grow too old for another request while the machine is busy."""
    monkeypatch.setattr(guarded_http, "KEEP_ALIVE", PATIENCE)


# --- Pooled connections --------------------------------------------------------------------------


def test_a_connection_is_used_again():
    with Wire(answers(response())) as wire:
        results = send_to(wire, 3)

        assert [result.status for result in results] == [200] * 3
        assert connections_of(wire) == [1, 1, 1]


def test_a_pooled_connection_serves_no_other_host(names):
    """Not even one with the same address and port."""
    names.update({"one.example": ["127.0.0.1"], "two.example": ["127.0.0.1"]})
    with Wire(answers(response())) as wire:
        hosts = ["one.example", "two.example", "one.example", "127.0.0.1", "two.example"]
        send(*(make_message(f"http://{host}:{wire.port}/") for host in hosts))

        first, second, third = (f"{host}:{wire.port}" for host in (*hosts[:2], "127.0.0.1"))
        assert wire.requests == [(1, first), (2, second), (1, first), (3, third), (2, second)]


def test_a_pooled_connection_serves_no_other_scheme():
    with Wire(answers(response()), Peer.take_some) as wire:
        first, second = send(
            make_message(wire.url), make_message(wire.url.replace("http:", "https:"))
        )

        assert first.is_delivered
        assert second.status is None
        assert connections_of(wire) == [1, 2]


@pytest.mark.parametrize("ending", [lambda _: None, Peer.reset], ids=["closed", "reset"])
def test_a_request_that_meets_a_closing_idle_connection_is_sent_on_a_fresh_one(ending):
    with Wire(answers_once(ending), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert connections_of(wire) == [1, 1, 2]


def test_a_connection_that_was_closed_while_idle_is_not_missed():
    closed = threading.Event()

    def closes(peer):
        peer.take()
        peer.say(response())

    def notes(peer):
        closed.set()
        answers(response(202))(peer)

    with Wire(closes, notes) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert closed.is_set()


def test_a_connection_that_is_idle_for_too_long_is_closed(monkeypatch):
    monkeypatch.setattr(guarded_http, "KEEP_ALIVE", 0.05)

    def one_request(peer):
        peer.take()
        peer.say(response())
        peer.wait_for_end()

    with Wire(one_request, answers(response(202))) as wire:

        async def until_closed():
            while not wire.cut.is_set():
                await asyncio.sleep(0.01)

        results = send(*[make_message(wire.url)] * 2, between=until_closed)

        assert [result.status for result in results] == [200, 202]
        assert connections_of(wire) == [1, 2]


def test_a_fresh_connection_that_is_closed_is_a_failure_and_nothing_is_sent_again():
    with Wire(Peer.take) as wire:
        (result,) = send_to(wire)

        assert result.status is None
        assert "closed the connection" in result.error
        assert connections_of(wire) == [1]


def test_only_one_more_attempt_is_made():
    with Wire(answers_once(), Peer.take) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, None]
        assert connections_of(wire) == [1, 1, 2]


@pytest.mark.parametrize(
    ("reaction", "status"),
    [
        (response(500), 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 200),
        (b"HTTP/1.1 2", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
    ],
    ids=["an error", "a cut body", "a cut chunk", "a cut head", "a cut status line", "no HTTP"],
)
def test_what_a_used_connection_has_answered_is_not_sent_again(reaction, status):
    with Wire(answers_once(says(reaction)), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, status]
        assert connections_of(wire) == [1, 1]


@pytest.mark.parametrize("run", LOOPS)
def test_an_answer_that_comes_unasked_is_not_taken_for_that_of_the_next_request(run):
    is_idle, said = threading.Event(), threading.Event()

    def talkative(peer):
        peer.take()
        peer.say(response())
        is_idle.wait(PATIENCE)
        peer.say(response(410))
        said.set()
        peer.wait_for_end()

    async def until_it_came():
        is_idle.set()
        while not said.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    with Wire(talkative, answers(response(202))) as wire:
        messages = [make_message(wire.url) for _ in range(2)]

        results = send(*messages, run=run, between=until_it_came)

        assert [result.status for result in results] == [200, 202]
        assert connections_of(wire) == [1, 2]


# --- Requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [("X-Note", "a\r\nHost: b"), ("X-Note\nX-More", "a")])
def test_a_header_cannot_begin_another_line(header):
    async def post(url):
        async with guarded_http.client() as client:
            await client.post(url=url, headers=dict([header]), body=b"", timeout=PATIENCE)

    with Wire(answers(response())) as wire:
        with pytest.raises(ValueError, match="one line"):
            uvloop.run(post(wire.url))

        assert wire.requests == []


# --- Answers -------------------------------------------------------------------------------------


def test_a_body_over_the_cap_is_left_and_its_connection_with_it():
    big = response(200, b"b" * 10_000_000)
    with Wire(answers(big), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert results[0].body == "b" * guarded_http.BODY_HEAD
        assert connections_of(wire) == [1, 2]


def test_a_body_that_just_fits_leaves_the_connection_usable():
    with Wire(answers(response(200, b"b" * guarded_http.BODY_HEAD))) as wire:
        results = send_to(wire, 2)

        assert [len(result.body) for result in results] == [guarded_http.BODY_HEAD] * 2
        assert connections_of(wire) == [1, 1]


def test_a_body_without_end_is_left_at_the_cap():
    def endless(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say_until_it_ends(b"1000\r\n" + b"b" * 4096 + b"\r\n")

    with Wire(endless) as wire:
        (result,) = send_to(wire)

        assert result.is_delivered
        assert result.body == "b" * guarded_http.BODY_HEAD
        assert wire.cut.wait(PATIENCE)


def test_small_chunks_without_end_are_left_at_the_timeout():
    def dripping(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.wire.cut.wait(0.05):
            peer.say_until_it_ends(b"1\r\nb\r\n", most=peer.wire.taken + 1)

    with Wire(dripping) as wire:
        (result,) = send_to(wire, timeout=3)

        assert result.is_delivered
        assert set(result.body) == {"b"}
        assert wire.cut.wait(PATIENCE)


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"", b"HTTP/1.1 200 " + b"O" * 65536, None),
        (b"", b"\x00" * 65536, None),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536, 200),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: y\r\n" * 4096, 200),
        (b"HTTP/1.1 200 OK\r\n", b"x" * 65536, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b"0" * 65536, 200),
    ],
    ids=["status line", "no HTTP", "long header", "many headers", "header name", "chunk size"],
)
def test_an_answer_that_is_too_big_is_left_early(start, more, status):
    """Of 1 GiB that it would say, no more is taken than what is on the way."""

    def boasting(peer):
        peer.take()
        peer.say(start)
        peer.say_until_it_ends(more)

    with Wire(boasting) as wire:
        (result,) = send_to(wire)

        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20
        assert (result.status, result.body) == (status, "")
        assert ("not valid HTTP" in result.error) is (status is None)


def test_the_end_of_chunks_that_goes_on_and_on_is_left():
    def trailing(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        peer.say_until_it_ends(b"X-Many: y\r\n" * 4096)

    with Wire(trailing) as wire:
        (result,) = send_to(wire)

        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20
        assert "X-Many" not in result.body


def test_interim_answers_precede_the_final_one():
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    )
    with Wire(answers(interim + response(201))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [201, 201]
        assert connections_of(wire) == [1, 1]


@pytest.mark.parametrize("run", LOOPS)
def test_interim_answers_without_end_are_refused_early(run):
    """Reading them as fast as they come would leave no time for other receivers."""

    def evasive(peer):
        peer.take()
        peer.say_until_it_ends(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with Wire(evasive) as wire:
        (result,) = send(make_message(wire.url), run=run)

        assert "interim" in result.error
        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20


def test_some_interim_answers_are_no_fault_and_are_counted_for_each_request_anew():
    some = b"HTTP/1.1 102 Processing\r\n\r\n" * http_response.INTERIM_MAX
    with Wire(answers(some + response())) as wire:
        results = send_to(wire, 3)

        assert [result.status for result in results] == [200] * 3
        assert connections_of(wire) == [1, 1, 1]


def test_a_switch_of_protocols_is_a_failure_and_ends_the_connection():
    def switching(peer):
        peer.take()
        peer.say(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81")
        peer.wait_for_end()

    with Wire(switching, answers(response())) as wire:
        results = send_to(wire, 2, timeout=PATIENCE)

        assert [result.is_delivered for result in results] == [False, True]
        assert connections_of(wire) == [1, 2]


def test_an_answer_of_http_1_0_without_length_ends_with_the_connection():
    def old(peer):
        peer.take()
        peer.say(b"HTTP/1.0 200 OK\r\n\r\nold but fine")

    with Wire(old) as wire:
        results = send_to(wire, 2)

        assert [(result.status, result.body) for result in results] == [(200, "old but fine")] * 2
        assert connections_of(wire) == [1, 2]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_a_compressed_body_is_kept_as_it_came(coding):
    packed = gzip.compress(b"a" * 1_000_000)

    async def post(url):
        async with guarded_http.client() as client:
            return await client.post(url=url, headers={}, body=b"{}", timeout=PATIENCE)

    with Wire(answers(response(200, packed, f"Content-Encoding: {coding}"))) as wire:
        answer = uvloop.run(post(wire.url))

    assert answer.body == packed[: guarded_http.BODY_HEAD]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_an_answer_may_come_before_the_request_was_read():
    def hasty(peer):
        peer.take_some()
        peer.say(response(413))
        peer.wire.cut.wait(PATIENCE)

    with Wire(hasty, answers(response())) as wire:
        big = make_message(wire.url, body=b"b" * 50_000_000)

        async def release():
            wire.cut.set()

        results = send(big, make_message(wire.url), between=release)

        assert [result.status for result in results] == [413, 200]
        # What was not sent of the first must not pass for the start of the second.
        assert connections_of(wire) == [1, 2]


# --- The status has decided ----------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
LENGTH_2 = b"Content-Length: 2\r\n"
# How a receiver that took the event may get the rest of its answer wrong.
CARELESS = {
    "a body after 204": NO_CONTENT + LENGTH_2 + b"\r\nok",
    "a body after 204, without a length": NO_CONTENT + b"\r\nok",
    "chunks after 204": NO_CONTENT + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "bytes beyond the length": OK + LENGTH_2 + b"\r\nokay",
    "a line end beyond the length": OK + LENGTH_2 + b"\r\nok\r\n",
    "a response beyond the length": OK + LENGTH_2 + b"\r\nok" + response(500),
    "a header of 8,191 bytes": OK + b"X-Long: " + b"x" * 8183 + b"\r\n" + LENGTH_2 + b"\r\nok",
    "a header of 60,000 bytes": OK + b"X-Long: " + b"x" * 60_000 + b"\r\n" + LENGTH_2 + b"\r\nok",
    "a header of 100,000 bytes": OK + b"X-Long: " + b"x" * 100_000 + b"\r\n" + LENGTH_2 + b"\r\nok",
    "200 headers": OK + b"X-Many: y\r\n" * 200 + LENGTH_2 + b"\r\nok",
    "the same length twice": OK + LENGTH_2 * 2 + b"\r\nok",
    "the same length twice in one line": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "lengths that disagree": OK + LENGTH_2 + b"Content-Length: 3\r\n\r\nabc",
    "a length that is no number": OK + b"Content-Length: two\r\n\r\nok",
    "a length below 0": OK + b"Content-Length: -1\r\n\r\nok",
    "a length and chunks": OK
    + LENGTH_2
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a chunk size that is no number": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
    "a chunk that is longer than it says": OK
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nok",
    "a line without a colon": OK + b"what is this\r\n" + LENGTH_2 + b"\r\nok",
    "a name of odd bytes": OK + b"X(y)\xff: 2\r\n" + LENGTH_2 + b"\r\nok",
    "a value with NUL": OK + b"X-Odd: a\x00b\r\n" + LENGTH_2 + b"\r\nok",
    "a folded value": OK + b"X-Folded: a\r\n b\r\n" + LENGTH_2 + b"\r\nok",
    "line ends without CR": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH_2 + b"\r\nok",
    "a reason of odd bytes": b"HTTP/1.1 200 \xff\xfe\r\n" + LENGTH_2 + b"\r\nok",
    "an empty line in front": b"\r\n" + response(),
}


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize("mistake", CARELESS)
def test_a_mistake_behind_the_status_line_makes_nothing_be_sent_again(mistake, run):
    with Wire(answers(CARELESS[mistake])) as wire:
        results = send(*(make_message(wire.url) for _ in range(3)), run=run)

        assert [result.error for result in results] == ["", "", ""]
        assert {result.status for result in results} <= {200, 204}
        assert len(wire.requests) == 3


def test_what_a_receiver_says_too_late_is_not_taken_for_its_next_answer():
    """It says the body of a 204 only when the next request is there already."""

    def late(peer):
        peer.take()
        peer.say(NO_CONTENT + b"\r\n")
        peer.take()
        peer.say(b"ok\nHTTP")
        peer.say(b"/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_end()

    with Wire(late, answers(response())) as wire:
        results = send_to(wire, 3)

        assert [result.status for result in results] == [204, 202, 200]
        assert connections_of(wire) == [1, 1, 2]


def test_an_answer_that_stops_behind_the_status_line_is_one():
    def stops(peer):
        peer.take()
        peer.say(OK + b"Content-Le")
        peer.wait_for_end()

    with Wire(stops) as wire:
        (result,) = send_to(wire, timeout=1)

        assert (result.status, result.error) == (200, "")


def test_a_redirect_or_refusal_is_one_whatever_follows():
    with Wire(answers(b"HTTP/1.1 503 Busy\r\nRetry-After : 7\r\nwhat is this\r\n\r\n")) as wire:
        (result,) = send_to(wire, timeout=1)

        assert (result.status, result.retry_after) == (503, 7)
        assert result.error == "The receiver answered 503."


# --- Host, SNI and certificate -------------------------------------------------------------------


@pytest.mark.parametrize("run", LOOPS)
def test_a_receiver_may_be_named_by_an_ipv6_address(run):
    with Wire(answers(response()), address="::1") as wire:
        (result,) = send(make_message(wire.url), run=run)

        assert result.is_delivered
        assert wire.requests == [(1, f"[::1]:{wire.port}")]


@pytest.mark.parametrize(
    ("host", "certified", "server_name"),
    [
        ("runner.example", "runner.example", "runner.example"),
        ("RUNNER.example", "runner.example", "runner.example"),
        ("runner.example.", "runner.example", "runner.example"),
        ("例え.example", "xn--r8jz45g.example", "xn--r8jz45g.example"),
        ("127.0.0.1", "127.0.0.1", None),
    ],
)
def test_tls_asks_for_the_name_and_an_address_has_none(
    host, certified, server_name, secured, names
):
    for name in ("runner.example", "runner.example.", "xn--r8jz45g.example"):
        names[name] = ["127.0.0.1"]
    with secured(certified) as receiver:
        message = make_message(f"https://{host}:{receiver.port}/hook")

        results = [result for run in LOOPS for result in send(message, run=run)]

        assert [result.error for result in results] == ["", ""]
        assert receiver.server_names == [server_name] * 2


@pytest.mark.parametrize(
    ("host", "certified"),
    [
        ("127.0.0.1", "runner.example"),
        ("127.0.0.1", "127.0.0.2"),
        ("runner.example", "127.0.0.1"),
        ("runner.example", "other.example"),
        ("a.runner.example", "runner.example"),
    ],
)
def test_a_certificate_for_another_host_is_refused(host, certified, secured, names):
    names.update({"runner.example": ["127.0.0.1"], "a.runner.example": ["127.0.0.1"]})
    with secured(certified) as receiver:
        (result,) = send(make_message(f"https://{host}:{receiver.port}/hook"))

        assert "certificate" in result.error.lower()
        assert receiver.received == []


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path, names):
    names["runner.example"] = ["127.0.0.1"]
    _, chain = make_certificates(tmp_path, host="runner.example")
    with Receiver(certificate=chain) as receiver:
        (result,) = send(make_message(f"https://runner.example:{receiver.port}/hook"))

        assert "certificate" in result.error.lower()
        assert receiver.received == []
