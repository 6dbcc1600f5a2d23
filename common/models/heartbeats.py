"""Signs of life of the portal's workers and of its scheduler."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Heartbeat(models.Model):
    """One process that works behind the web server; its row goes when it stops in order.

    `serves` are the queues that a worker takes messages from, or `beat` for the scheduler.
    `at` is the database's time.
    """

    name = models.CharField(max_length=255, primary_key=True)
    serves = ArrayField(models.CharField(max_length=64))
    at = models.DateTimeField()

    class Meta:
        db_table = "heartbeat"

    def __str__(self) -> str:
        return self.name
