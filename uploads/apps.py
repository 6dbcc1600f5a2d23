from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "uploads"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from accounts import bearers, departures  # noqa: PLC0415
        from common.outbox.types import EventKind, event_types  # noqa: PLC0415
        from uploads import event_examples, selectors, tasks  # noqa: PLC0415
        from uploads.files import grants, hooks, owners, visits  # noqa: PLC0415
        from uploads.models import RunStatus, WorkflowRun  # noqa: PLC0415
        from uploads.receiving import reading_queue, sessions  # noqa: PLC0415
        from uploads.workflows import (  # noqa: PLC0415
            checks,  # noqa: F401
            input_files,
            queue,
        )
        from uploads.workflows import event_examples as run_examples  # noqa: PLC0415
        from uploads.workflows import tasks as builtin_tasks  # noqa: F401, PLC0415

        may_read = selectors.may_read_file_of
        event_types.register(
            EventKind("file", "Files", event_examples.OF_FILES, may_read),
            EventKind("batch", "Batches", event_examples.OF_BATCHES, may_read),
            EventKind("workflow_run", "Workflow runs", run_examples.OF_RUNS, may_read),
        )
        queue.install(tasks.kick)
        reading_queue.install(tasks.kick_finalizing)
        departures.obstacles.append(owners.require_no_files)
        departures.let_go.append(owners.let_go)
        bearers.register(grants.PREFIX, grants.guest_of)
        bearers.register(visits.PREFIX, visits.visitor_of)
        hooks.install_give_up_upload(sessions.give_up)
        hooks.on_stored.append(queue.auto_start)
        hooks.on_deleted.append(queue.cancel_all)
        hooks.keeps_file.append(input_files.has_run(WorkflowRun.ACTIVE))
        hooks.keeps_bytes.append(input_files.has_run([RunStatus.RUNNING]))
