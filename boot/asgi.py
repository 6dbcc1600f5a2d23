"""ASGI entry point: `any ASGI server`."""

from boot import configuration

configuration.choose("Production")

from configurations.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()
