"""The one list of periodic tasks; migrations of nothing else repeat it."""

from typing import Any

from celery.schedules import crontab


def schedule(*, outbox_sweep_minutes: int, cleanup_hours: int) -> dict[str, Any]:
    """As Celery's beat takes it."""
    return {
        "sweep-outbox": {
            "task": "common.tasks.sweep_outbox",
            "schedule": outbox_sweep_minutes * 60.0,
        },
        "renew-kicks": {
            "task": "common.tasks.renew_kicks",
            "schedule": 15.0,
        },
        "fold-tallies": {
            "task": "common.tasks.fold_tallies",
            "schedule": 30.0,
        },
        "purge-outbox": {
            "task": "common.tasks.purge_outbox",
            "schedule": crontab(minute=20),
        },
        "notify-expiring-files": {
            "task": "uploads.tasks.notify_expiring_files",
            "schedule": 300.0,
        },
        "expire-files": {
            "task": "uploads.tasks.expire_files",
            "schedule": 60.0,
        },
        "abort-idle-sessions": {
            "task": "uploads.tasks.abort_idle_sessions",
            "schedule": 900.0,
        },
        "finalize-uploads": {
            "task": "uploads.tasks.finalize_uploads",
            "schedule": 30.0,
            "options": {"expire_seconds": 30},  # or they pile up while each takes longer
        },
        "close-idle-batches": {
            "task": "uploads.tasks.close_idle_batches",
            "schedule": 300.0,
        },
        "tell-of-guests-files": {
            "task": "uploads.tasks.tell_of_guests_files",
            "schedule": 60.0,
        },
        "check-storage": {
            "task": "uploads.tasks.check_storage",
            "schedule": 300.0,
        },
        "sweep-runs": {
            "task": "uploads.tasks.sweep_runs",
            "schedule": 15.0,
        },
        "purge-runs": {
            "task": "uploads.tasks.purge_runs",
            "schedule": crontab(minute=40),
        },
        "purge-tombstones": {
            "task": "uploads.tasks.purge_tombstones",
            "schedule": crontab(minute=50),
        },
        "purge-throttle": {
            "task": "accounts.tasks.purge_throttle",
            "schedule": crontab(minute=10),
        },
        "purge-sessions": {
            "task": "accounts.tasks.purge_sessions",
            # At four, the one hour of daily tasks that the scheduler always keeps in mind.
            "schedule": crontab(hour=4, minute=30),
        },
        "clean-up-uploads": {
            "task": "uploads.tasks.clean_up_uploads",
            "schedule": cleanup_hours * 3600.0,
        },
    }
