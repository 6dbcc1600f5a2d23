"""The audit trail in the admin, to look at, and what is done in the admin on the trail."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.dispatch import receiver

from common import audit
from common.admin_records import CreatedFilter, RecordAdmin
from common.models import AuditEntry

_ACTIONS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    id_fields = ("id", "actor_id", "subject_id")
    search_help_text = "The id of an account, token, endpoint, file, … that acted or was acted on."
    list_display = ["created_at", "actor_label", "action", "subject_label", "subject_id", "address"]
    list_filter = [CreatedFilter]
    fields = [
        "id",
        "created_at",
        "actor_kind",
        "actor_id",
        "actor_label",
        "address",
        "action",
        "subject_type",
        "subject_id",
        "subject_label",
    ]

    def search_by_text(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(subject_id=text.strip())


@receiver(post_save, sender=LogEntry)
def _tell_of_the_admin(instance: LogEntry, created: bool, **_: Any) -> None:
    """Django's own log of the admin can be changed; the trail cannot."""
    if created and instance.content_type:
        model = instance.content_type.model
        audit.record(
            f"{model}.{_ACTIONS[instance.action_flag]}",
            subject=model[:32],
            subject_id=str(instance.object_id)[:64],
            label=instance.object_repr,
        )
