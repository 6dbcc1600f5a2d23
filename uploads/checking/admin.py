"""What the portal's comparisons of rows and bytes found, to look at."""

from django.contrib import admin

from common.admin_records import RecordAdmin
from uploads.models import StorageCheck


@admin.register(StorageCheck)
class StorageCheckAdmin(RecordAdmin):
    search_help_text = "The id of a check."
    list_display = ["created_at", "backend", "finished_at", "objects_seen", "rows_seen", "findings"]
    list_filter = ["backend"]
    fields = [
        "id",
        "backend",
        "created_at",
        "finished_at",
        "position",
        "objects_seen",
        "size_bytes",
        "rows_seen",
        "findings",
        "examples",
    ]
