"""`manage.py install_builtin_workflows`: see `uploads.workflows.builtin`."""

from typing import Any

from django.core.management.base import BaseCommand

from uploads.workflows.builtin import install_builtin


class Command(BaseCommand):
    help = "Add the built-in workflows, inactive, that are not there yet."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for workflow in install_builtin():
            self.stdout.write(f"Added {workflow.slug}: {workflow.name}")
