"""The time that a silent client gets."""

import socket

from django.http import HttpResponse
from django.test import RequestFactory

from common.middleware import StalledClientMiddleware


def test_the_body_is_read_and_the_response_sent_under_the_limit(settings):
    settings.PORTAL_STALL_TIMEOUT_SECONDS = 7
    seen = []
    with socket.socket() as connection:
        request = RequestFactory().get("/", **{"gunicorn.socket": connection})

        def view(_):
            seen.append(connection.gettimeout())
            return HttpResponse()

        StalledClientMiddleware(view)(request)
        assert (seen, connection.gettimeout()) == ([7.0], 7.0)


def test_a_server_that_shows_no_socket_is_left_alone():
    response = HttpResponse()
    assert StalledClientMiddleware(lambda _: response)(RequestFactory().get("/")) is response
