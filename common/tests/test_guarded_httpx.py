"""The synchronous client keeps the guard: no name, answer, cookie or time leads it astray."""

import gzip

import httpx
import pytest

from common.errors import InvalidInput
from common.net import guarded_httpx
from common.tests.receiver import Answer, Close, Drip, Hang, Receiver

PATIENCE = 30  # seconds, for what comes at once unless the machine is loaded
SOON = 0.3  # seconds, for what never comes


@pytest.fixture
def guarded(settings):
    """As in production: loopback is as little allowed as any other inner address."""
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = []


def post(url, *, silence=PATIENCE, total=PATIENCE, limit=4096, times=1):
    """The last answer of a client that posts: its status and body."""
    with guarded_httpx.client(silence=silence, total=total) as client:
        for _ in range(times):
            with client.stream("POST", url, content=b'{"n":1}') as response:
                answer = response.status_code, guarded_httpx.body(response, limit=limit)
    return answer


def test_a_request_and_its_answer_arrive_whole():
    with Receiver(Answer(status=201, body=b"made")) as receiver:
        assert post(receiver.url) == (201, b"made")
        (request,) = receiver.received

    assert (request.method, request.path, request.body) == ("POST", "/hook", b'{"n":1}')
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["accept-encoding"] == "identity"


def test_a_compressed_answer_is_not_unpacked():
    bomb = gzip.compress(bytes(10_000_000))
    with Receiver(Answer(headers={"Content-Encoding": "gzip"}, body=bomb)) as receiver:
        assert post(receiver.url, limit=len(bomb)) == (200, bomb)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "inside.example", "[::1]"])
def test_an_address_that_is_not_public_gets_no_connection(host, names):
    names["inside.example"] = ["1.1.1.1", "127.0.0.1"]
    with Receiver() as receiver:
        with pytest.raises(InvalidInput) as refused:
            post(f"http://{host}:{receiver.port}/")

        assert refused.value.code == "url_not_public"
        assert receiver.received == []


@pytest.mark.usefixtures("guarded")
def test_an_address_of_the_allow_list_is_reached(settings):
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["127.0.0.0/8"]
    with Receiver() as receiver:
        assert post(receiver.url) == (200, b"ok")


@pytest.mark.usefixtures("guarded")
def test_a_name_that_changes_after_the_look_up_is_connected_to_as_it_was_vetted(names, settings):
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["127.0.0.1/32"]
    names["changing.example"] = iter([["127.0.0.1"], ["169.254.169.254"]])
    with Receiver() as receiver:
        assert post(f"http://changing.example:{receiver.port}/")[0] == 200
        assert receiver.received[0].headers["host"] == f"changing.example:{receiver.port}"


def test_the_next_address_is_tried_when_one_does_not_answer(names):
    names["two.example"] = ["::1", "127.0.0.1"]
    with Receiver() as receiver:
        assert post(f"http://two.example:{receiver.port}/")[0] == 200


@pytest.mark.parametrize(
    "url", ["ftp://runner.example/", "http://user:pass@127.0.0.1/", "http://127.0.0.1:25/"]
)
def test_a_url_of_another_form_is_refused(url):
    with pytest.raises(InvalidInput) as refused:
        post(url)

    assert refused.value.code == "url_invalid"


def test_a_redirect_is_an_answer_and_is_not_followed():
    with Receiver() as target:
        redirect = Answer(status=307, headers={"Location": target.url})
        with Receiver(redirect) as receiver:
            assert post(receiver.url)[0] == 307

        assert target.received == []


def test_cookies_are_not_kept():
    with Receiver(default=Answer(headers={"Set-Cookie": "a=b; Path=/"})) as receiver:
        post(receiver.url, times=2)

        assert ["cookie" in request.headers for request in receiver.received] == [False, False]


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)

        assert post(receiver.url)[0] == 200
        assert proxy.received == []


def test_a_body_larger_than_the_limit_is_not_read():
    with Receiver(default=Answer(body=b"x" * 5000)) as receiver:
        assert post(receiver.url, limit=5000) == (200, b"x" * 5000)
        with pytest.raises(guarded_httpx.AnswerTooLarge):
            post(receiver.url, limit=4999)


def test_silence_ends_a_request():
    with Receiver(Hang()) as receiver, pytest.raises(httpx.ReadTimeout):
        post(receiver.url, silence=SOON)


@pytest.mark.parametrize("head_at_once", [False, True])
def test_an_answer_that_drips_ends_with_the_total_time(head_at_once):
    drip = Drip(interval=0.02, head_at_once=head_at_once)
    with Receiver(drip) as receiver, pytest.raises(httpx.ReadTimeout):
        post(receiver.url, total=1, limit=10**6)


def test_a_reset_connection_is_an_error():
    with Receiver(Close()) as receiver, pytest.raises(httpx.TransportError):
        post(receiver.url)


@pytest.mark.parametrize("host", ["runner.example", "runner.example."])
def test_tls_asks_for_the_name(host, secured, names):
    names[host] = ["127.0.0.1"]
    with secured("runner.example") as receiver:
        assert post(f"https://{host}:{receiver.port}/")[0] == 200
        assert receiver.server_names == ["runner.example"]


def test_a_certificate_for_an_address_is_taken(secured):
    with secured("127.0.0.1") as receiver:
        assert post(f"https://127.0.0.1:{receiver.port}/")[0] == 200


def test_a_certificate_for_another_host_is_refused(secured, names):
    names["runner.example"] = ["127.0.0.1"]
    with secured("other.example") as receiver:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            post(f"https://runner.example:{receiver.port}/")

        assert receiver.received == []
