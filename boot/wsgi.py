"""WSGI entry point: `gunicorn boot.wsgi`."""

from boot import configuration

configuration.choose("Production")

from configurations.wsgi import get_wsgi_application  # noqa: E402

from common.http.requests import StreamedRequest  # noqa: E402

application = get_wsgi_application()
application.request_class = StreamedRequest
