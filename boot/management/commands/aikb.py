"""`manage.py aikb`: see `boot.aikb`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from boot.aikb import pages


class Command(BaseCommand):
    help = "Bring the tables of the pages in aikb/ up to date with the code."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; fail when a table is out of date."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        stale = pages.stale(settings.BASE_DIR / "aikb")
        if not stale:
            self.stdout.write("The tables of aikb/ are up to date.")
            return
        names = ", ".join(path.name for path in stale)
        if options["check"]:
            raise CommandError(f"Out of date in aikb/: {names}. Run `make aikb`.")
        for path, text in stale.items():
            path.write_text(text)
        self.stdout.write(f"Brought up to date in aikb/: {names}")
