from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "common"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from common import tasks  # noqa: PLC0415
        from common.net import checks as net_checks  # noqa: F401, PLC0415
        from common.outbox import kicks, payloads  # noqa: PLC0415
        from common.outbox.types import EventKind, event_types  # noqa: PLC0415
        from common.webhooks import checks  # noqa: F401, PLC0415

        event_types.register(EventKind("webhook", "Webhooks", payloads.EXAMPLES))
        kicks.install(tasks.kick)
