from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "uploads"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from uploads import checks, tasks  # noqa: F401, PLC0415
        from uploads.services import run_queue  # noqa: PLC0415
        from uploads.workflows import tasks as builtin_tasks  # noqa: F401, PLC0415

        run_queue.install(tasks.kick)
