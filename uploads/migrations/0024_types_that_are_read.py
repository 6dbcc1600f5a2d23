"""Workflows that take all that text was extracted from take what it is extracted from now."""

from django.db import migrations

_BEFORE = [
    "text/*",
    "application/pdf",
    "application/xhtml+xml",
    "message/rfc822",
    "application/vnd.ms-excel",
    "application/csv",
    "application/json",
    "application/x-ndjson",
    "application/xml",
    "application/javascript",
    "application/x-yaml",
    "image/svg+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/epub+zip",
    "application/zip",
    "application/octet-stream",
]
_NOW = [
    "text/*",
    "application/pdf",
    "application/xhtml+xml",
    "message/rfc822",
    "application/vnd.ms-excel",
    "application/vnd.ms-outlook",
    "application/vnd.ms-tnef",
    "application/rtf",
    "application/x-tex",
    "application/x-ipynb+json",
    "application/csv",
    "application/json",
    "application/x-ndjson",
    "application/xml",
    "application/javascript",
    "application/x-yaml",
    "image/svg+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.spreadsheet-template",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.text-template",
    "application/vnd.oasis.opendocument.text-web",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.presentation-template",
    "application/vnd.oasis.opendocument.graphics",
    "application/epub+zip",
    "application/zip",
    "application/octet-stream",
    "application/cdfv2",
    "application/x-ole-storage",
    "application/encrypted",
    "application/msword",
    "application/vnd.ms-powerpoint",
]


def widen(apps, schema_editor):
    workflows = apps.get_model("uploads", "Workflow").objects.filter(task_name="extract_text")
    # What an administrator chose stays as it is.
    workflows.filter(accepted_types=_BEFORE).update(accepted_types=_NOW)


class Migration(migrations.Migration):
    dependencies = [
        ("uploads", "0023_acceptance"),
    ]

    operations = [
        migrations.RunPython(widen, migrations.RunPython.noop, elidable=True),
    ]
