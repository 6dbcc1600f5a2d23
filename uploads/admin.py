"""Uploads in the admin: records to look at, and files to delete before their time.

Parts are not listed: a session says how many it has received.
"""

from typing import Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from accounts import principals
from accounts.models import User
from accounts.principals import Actor
from common.admin_records import ListsNamesOnly
from common.errors import DooritoError
from uploads.admin_records import UploadRecordAdmin
from uploads.checking import admin as checking_admin  # noqa: F401  # Django looks for this module only
from uploads.files import grants, lifecycle, sharing
from uploads.files.usage import usage_of
from uploads.models import (
    AccountLimits,
    IngestFile,
    ShareLink,
    UploadBatch,
    UploadGrant,
    UploadSession,
)
from uploads.workflows import admin_runs, admin_workflows  # noqa: F401  # Django looks for this module only

_MOST_AT_ONCE = 500  # the confirmation page sends each as a form field: Django accepts 1,000


def _acting(request: HttpRequest) -> Actor:
    return principals.administrator(cast(User, request.user))


def _restored(file_id: UUID, request: HttpRequest) -> bool:
    try:
        lifecycle.restore_file(file_id=file_id, actor=_acting(request))
    except DooritoError:
        return False
    return True


@admin.register(IngestFile)
class IngestFileAdmin(ListsNamesOnly, UploadRecordAdmin):
    owner = "uploaded_by"
    id_fields = ("id", "batch_id")
    search_help_text = "The id of a file or batch, or the beginning of an e-mail address."
    list_display = [
        "original_filename",
        "status",
        "size_bytes",
        "uploaded_by",
        "created_at",
        "expires_at",
    ]
    list_filter = ["status", "created_at"]
    list_select_related = ["uploaded_by"]
    fields = [
        "id",
        "original_filename",
        "relative_path",
        "uploaded_by",
        "grant",
        "batch",
        "status",
        "error_code",
        "error_message",
        "size_bytes",
        "sha256",
        "content_type",
        "detected_type",
        "metadata",
        "storage_backend",
        "storage_bucket",
        "storage_key",
        "created_at",
        "stored_at",
        "expires_at",
        "expiry_notified_at",
        "processed_at",
        "deleted_at",
        "purge_at",
        "purged_at",
    ]
    actions = ["delete_selected", "restore_selected"]

    def has_restore_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("uploads.change_ingestfile")

    @admin.action(description="Undo the consumption of files", permissions=["restore"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet[IngestFile]) -> None:
        chosen = list(queryset.values_list("id", flat=True)[:_MOST_AT_ONCE])
        restored = [each for each in chosen if _restored(each, request)]
        self.message_user(
            request,
            f"{len(restored)} of {len(chosen)} file(s) are stored again. "
            "Others were not consumed, or their bytes are gone.",
            messages.SUCCESS if restored else messages.WARNING,
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        removable = obj is None or obj.status in lifecycle.REMOVABLE
        return removable and request.user.has_perm("uploads.delete_ingestfile")

    @admin.action(description="Delete files now", permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[IngestFile]
    ) -> TemplateResponse | None:
        removable = queryset.filter(status__in=lifecycle.REMOVABLE)[:_MOST_AT_ONCE]
        if not removable:
            self.message_user(request, "Nothing is left of these files.", messages.WARNING)
            return None
        return delete_selected(self, request, removable)

    def delete_model(self, request: HttpRequest, obj: IngestFile) -> None:
        lifecycle.remove_file(file_id=obj.id, actor=_acting(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[IngestFile]) -> None:
        for file in queryset:
            lifecycle.remove_file(file_id=file.id, actor=_acting(request))


@admin.register(UploadBatch)
class UploadBatchAdmin(UploadRecordAdmin):
    owner = "created_by"
    search_help_text = "The id of a batch, or the beginning of an e-mail address."
    list_display = [
        "__str__",
        "status",
        "total_files",
        "stored_count",
        "failed_count",
        "created_by",
        "created_at",
        "closed_at",
    ]
    list_filter = ["status", "created_at"]
    list_select_related = ["created_by"]
    fields = [
        "id",
        "name",
        "created_by",
        "status",
        "total_files",
        "stored_count",
        "failed_count",
        "created_at",
        "closed_at",
    ]


@admin.register(UploadSession)
class UploadSessionAdmin(UploadRecordAdmin):
    owner = "created_by"
    id_fields = ("id", "file_id")
    search_help_text = "The id of a session or file, or the beginning of an e-mail address."
    list_display = ["file", "status", "received_parts", "created_by", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["file", "created_by"]
    fields = [
        "id",
        "file",
        "created_by",
        "status",
        "error_code",
        "error_message",
        "received_parts",
        "received_bytes",
        "chunk_size_bytes",
        "hashed_bytes",
        "declared_sha256",
        "idempotency_key",
        "spool_key",
        "created_at",
        "last_activity_at",
        "spool_removed_at",
    ]
    readonly_fields = ["received_parts"]

    @admin.display(description="received parts")
    def received_parts(self, session: UploadSession) -> str:
        return f"{session.received_parts_count} of {session.total_parts}"


@admin.register(UploadGrant)
class UploadGrantAdmin(UploadRecordAdmin):
    """To look at grants and end them. They are made where their token can be shown once."""

    owner = "owner"
    search_help_text = "The id of a grant, or the beginning of an e-mail address."
    list_display = [
        "hint",
        "name",
        "owner",
        "files_begun",
        "bytes_begun",
        "created_at",
        "expires_at",
        "revoked_at",
    ]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["owner"]
    fields = [
        "id",
        "owner",
        "name",
        "hint",
        "scopes",
        "max_files",
        "max_bytes",
        "max_file_size",
        "allowed_types",
        "batch",
        "message",
        "workflow",
        "mails_owner",
        "files_begun",
        "bytes_begun",
        "created_at",
        "expires_at",
        "revoked_at",
    ]
    actions = ["revoke_selected"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("uploads.change_uploadgrant")

    @admin.action(description="Revoke the selected grants", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[UploadGrant]) -> None:
        count = grants.revoke(queryset)
        self.message_user(request, f"{count} grant(s) revoked.", messages.SUCCESS)


@admin.register(ShareLink)
class ShareLinkAdmin(UploadRecordAdmin):
    """To look at share links and end them. They are made where their token can be shown once."""

    owner = "created_by"
    search_help_text = "The id of a share link, or the beginning of an e-mail address."
    list_display = [
        "hint",
        "file",
        "created_by",
        "downloads",
        "last_used_at",
        "created_at",
        "expires_at",
        "revoked_at",
    ]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["file", "created_by"]
    fields = [
        "id",
        "hint",
        "file",
        "created_by",
        "downloads",
        "last_used_at",
        "created_at",
        "expires_at",
        "revoked_at",
    ]
    actions = ["revoke_selected"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("uploads.change_sharelink")

    @admin.action(description="Revoke the selected share links", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ShareLink]) -> None:
        count = sharing.revoke(queryset)
        self.message_user(request, f"{count} share link(s) revoked.", messages.SUCCESS)


@admin.register(AccountLimits)
class AccountLimitsAdmin(admin.ModelAdmin):
    """Exceptions from the quotas of the settings, and what the accounts have of them."""

    list_display = ["owner", "size_bytes", "files", "open_sessions"]
    list_select_related = ["owner"]
    search_fields = ["owner__email"]
    search_help_text = "A part of an e-mail address."
    autocomplete_fields = ["owner"]
    fields = ["owner", "size_bytes", "files", "open_sessions", "in_use"]
    readonly_fields = ["in_use"]

    def get_readonly_fields(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Any = None,
    ) -> list[str]:
        return ["in_use", "owner"] if obj else ["in_use"]

    @admin.display(description="in use now")
    def in_use(self, obj: AccountLimits) -> str:
        if obj.owner_id is None:
            return "choose an account first"
        used = usage_of(obj.owner_id)
        return (
            f"{used.size_bytes} bytes in {used.files} files; {used.open_sessions} uploads under way"
        )
