"""The time that a silent client gets."""

import socket

from django.http import HttpResponse
from django.test import RequestFactory

from common.middleware import StalledBodyMiddleware


def test_a_body_is_read_under_the_limit_and_the_response_is_sent_without(settings):
    settings.PORTAL_STALL_TIMEOUT_SECONDS = 7
    seen = []
    with socket.socket() as connection:
        request = RequestFactory().get("/", **{"gunicorn.socket": connection})

        def view(_):
            seen.append(connection.gettimeout())
            return HttpResponse()

        StalledBodyMiddleware(view)(request)
        assert (seen, connection.gettimeout()) == ([7.0], None)


def test_a_server_that_shows_no_socket_is_left_alone():
    response = HttpResponse()
    assert StalledBodyMiddleware(lambda _: response)(RequestFactory().get("/")) is response
