"""How much of the portal each owner takes up."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.deletion import Collector


def delete_after_files_are_released(
    collector: Collector,
    field: Any,
    objs: Iterable[models.Model],
    using: str | None,  # noqa: ARG001
) -> None:
    """Delete usage with its owner, as CASCADE does, but once the owner's files are released.

    CASCADE would delete these rows first. Whoever changes a file meanwhile holds the file and
    waits for its owner's usage, while the deletion would hold that and wait for the file.
    """
    collector.add(list(objs), source=field.remote_field.model)


class UsageShare(models.Model):
    """A share of an owner's usage; the sum of all shares is what the owner has.

    A share alone says nothing and may be negative: what one connection charged, another may
    release. With a single row, changes of one owner's files would wait for one another's commit.
    """

    SHARES = 16

    pk = models.CompositePrimaryKey("owner", "share")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=delete_after_files_are_released,
        related_name="+",
        db_index=False,
    )
    share = models.PositiveSmallIntegerField()
    size_bytes = models.BigIntegerField()
    files = models.BigIntegerField()
    open_sessions = models.BigIntegerField()

    class Meta:
        db_table = "upload_usage"

    def __str__(self) -> str:
        return f"share {self.share} of the usage of {self.owner_id}"
