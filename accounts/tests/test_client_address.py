import pytest
from django.test import RequestFactory

from accounts.client_address import client_address

CLIENT = "198.51.100.7"
STRANGER = "203.0.113.9"


def address_of(*, peer: str = "127.0.0.1", forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))


@pytest.fixture
def chain(settings):
    """A load balancer in the local network stands before the proxy on this machine."""
    settings.PORTAL_TRUSTED_PROXIES = ["127.0.0.1/32", "::1/128", "10.0.0.0/8"]


def test_without_a_proxy_it_is_the_connections():
    assert address_of(peer=CLIENT) == CLIENT
    assert address_of() == "127.0.0.1"


def test_a_stranger_is_not_believed():
    assert address_of(peer=STRANGER, forwarded=CLIENT) == STRANGER


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_proxy_on_this_machine_is_believed(peer):
    assert address_of(peer=peer, forwarded=CLIENT) == CLIENT


def test_nobody_is_believed_when_no_proxy_is_named(settings):
    settings.PORTAL_TRUSTED_PROXIES = []
    assert address_of(forwarded=CLIENT) == "127.0.0.1"


def test_what_a_client_put_in_front_counts_for_nothing():
    assert address_of(forwarded=f"{STRANGER}, 127.0.0.1, {CLIENT}") == CLIENT


def test_the_proxies_of_a_chain_are_passed_over(chain):
    assert address_of(forwarded=f"{STRANGER}, {CLIENT}, 10.1.2.3") == CLIENT
    assert address_of(peer="10.9.9.9", forwarded=CLIENT) == CLIENT


def test_a_request_that_a_proxy_itself_made_is_the_proxys(chain):
    assert address_of(forwarded="10.1.2.3, 10.1.2.4") == "10.1.2.3"


@pytest.mark.parametrize("noise", ["unknown", "_hidden", "1.2.3", "<script>", "1.2.3.4.5"])
def test_behind_what_is_no_address_nothing_is_believed(chain, noise):
    assert address_of(forwarded=f"{CLIENT}, {noise}, 10.1.2.3") == "10.1.2.3"


def test_without_any_address_it_is_the_proxys():
    assert address_of(forwarded="") == "127.0.0.1"
    assert address_of(forwarded="nonsense") == "127.0.0.1"


def test_empty_elements_are_none():
    assert address_of(forwarded=f" , {CLIENT} ,, ") == CLIENT


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        (f"{CLIENT}:51234", CLIENT),
        (f"::ffff:{CLIENT}", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:DB8::7]:51234", "2001:db8::7"),
    ],
)
def test_the_same_client_is_the_same_however_a_proxy_writes_it(entry, address):
    assert address_of(forwarded=entry) == address


def test_a_connection_without_an_address_has_none():
    assert address_of(peer="", forwarded=CLIENT) == ""
