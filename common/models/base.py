"""The base of all models."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models.functions import Now

from common.ids import uuid7


class TimeStampedQuerySet(models.QuerySet):
    """Also sets `updated_at` in updates, by which all changes of state are made."""

    def update(self, **kwargs: Any) -> int:
        kwargs.setdefault("updated_at", Now())
        return super().update(**kwargs)

    def change(self, **kwargs: Any) -> bool:
        """Apply one change of state. Returns whether the row was still in the expected state."""
        return self.update(**kwargs) == 1

    def timed(self) -> Self:
        """Rows that know when they were read: what their due times are to be compared with."""
        return self.annotate(read_at=Now())

    def locked(self) -> Self:
        """The rows that nobody else has locked, locked until the transaction ends."""
        return self.select_for_update(skip_locked=True, of=("self",))


class TimeStampedModel(models.Model):
    """A UUIDv7 key (in order of creation), and times of creation and last change."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    read_at: datetime  # by the database's clock, of rows that were read with `timed`

    objects = TimeStampedQuerySet.as_manager()

    class Meta:
        abstract = True
