from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "common"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from common import checks, tasks  # noqa: F401, PLC0415
        from common.services import kicks  # noqa: PLC0415

        kicks.install(tasks.kick)
