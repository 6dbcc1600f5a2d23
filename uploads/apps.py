from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "uploads"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from uploads import tasks  # noqa: PLC0415
        from uploads.workflows import checks, queue  # noqa: F401, PLC0415
        from uploads.workflows import tasks as builtin_tasks  # noqa: F401, PLC0415

        queue.install(tasks.kick)
