from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "uploads"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from uploads import tasks  # noqa: PLC0415
        from uploads.files import hooks  # noqa: PLC0415
        from uploads.models import RunStatus, WorkflowRun  # noqa: PLC0415
        from uploads.receiving import sessions  # noqa: PLC0415
        from uploads.workflows import checks, input_files, queue  # noqa: F401, PLC0415
        from uploads.workflows import tasks as builtin_tasks  # noqa: F401, PLC0415

        queue.install(tasks.kick)
        hooks.install_give_up_upload(sessions.give_up)
        hooks.on_stored.append(queue.auto_start)
        hooks.on_deleted.append(queue.cancel_all)
        hooks.keeps_file.append(input_files.has_run(WorkflowRun.ACTIVE))
        hooks.keeps_bytes.append(input_files.has_run([RunStatus.RUNNING]))
