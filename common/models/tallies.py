"""What happened and what there is, counted in the transaction of each change.

Triggers of the database write a `TallyChange` for every change of a state, so that no way of
changing a row is missed, and nothing waits for another: changes are only added. A sweep folds them
into `Tally`. Both together are exact at any time, and reading them costs the same however many
files, sessions, deliveries and runs there are.
"""

from django.db import models
from django.db.models.functions import Now


class _Count(models.Model):
    """Of rows of a kind in a state: how often one came into it, and how many are in it now.

    Amounts are their bytes (files) or milliseconds (attempts, tasks). `label` tells more: a
    workflow, a task.
    """

    kind = models.CharField(max_length=16)
    state = models.CharField(max_length=16)
    label = models.CharField(max_length=100, default="", db_default="")
    entered = models.BigIntegerField(default=0, db_default=0)
    present = models.BigIntegerField(default=0, db_default=0)
    entered_amount = models.BigIntegerField(default=0, db_default=0)
    present_amount = models.BigIntegerField(default=0, db_default=0)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.kind} {self.state} {self.label}".strip()


class Tally(_Count):
    """Folded counts; `at` is when the last of them was made."""

    class Meta:
        db_table = "tally"
        verbose_name_plural = "tallies"
        constraints = [
            models.UniqueConstraint(fields=["kind", "state", "label"], name="tally_once"),
        ]


class TallyChange(_Count):
    """A change of the counts that is not folded yet."""

    class Meta:
        db_table = "tally_change"
