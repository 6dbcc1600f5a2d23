"""Where the web server listens."""

import socket

import pytest

from boot import startup
from boot.errors import CannotRunError
from boot.tests.portal import free_port


@pytest.mark.parametrize(
    ("host", "listening", "reachable"),
    [
        ("127.0.0.1", "127.0.0.1:8123", "127.0.0.1:8123"),
        ("0.0.0.0", "0.0.0.0:8123", "127.0.0.1:8123"),  # noqa: S104
        ("10.1.2.3", "10.1.2.3:8123", "10.1.2.3:8123"),
        ("::1", "[::1]:8123", "[::1]:8123"),
        ("::", "[::]:8123", "[::1]:8123"),
    ],
)
def test_the_address_and_how_this_machine_reaches_it(settings, host, listening, reachable):
    settings.WEB_HOST, settings.WEB_PORT = host, 8123
    assert startup.listening_address() == listening
    assert startup.reachable_address() == reachable


def test_a_used_port_and_an_address_of_another_machine_are_refused(settings):
    settings.WEB_PORT = free_port()
    startup.refuse_used_port()
    settings.WEB_HOST = "192.0.2.1"
    with pytest.raises(CannotRunError, match=r"Cannot listen on 192\.0\.2\.1:.*WEB_HOST"):
        startup.refuse_used_port()
    settings.WEB_HOST = "127.0.0.1"
    with (
        socket.create_server(("127.0.0.1", settings.WEB_PORT)),
        pytest.raises(CannotRunError, match="Set WEB_PORT to another port"),
    ):
        startup.refuse_used_port()
