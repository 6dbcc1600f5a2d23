"""What the admin's lists of records of uploads share."""

from typing import Any

from django.db.models import QuerySet

from common.admin_records import RecordAdmin


class UploadRecordAdmin(RecordAdmin):
    """Found by an exact id or by the beginning of the owner's e-mail address."""

    owner: str

    def search_by_text(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.owner}__email__istartswith": text.strip()})
