"""What was added without looking at the rows that are there: the look, which holds up nobody."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

# Of uploads under way, which said so elsewhere until now.
KEEP = """
    UPDATE upload_session SET keep_seconds = (door_data->>'keep_seconds')::bigint
    WHERE status IN ('init', 'in_progress') AND door = 'openai'
        AND door_data->>'keep_seconds' IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("uploads", "0024_types_that_are_read"),
    ]

    operations = [
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
        ValidateConstraint("ingestfile", "ingest_file_checked_is_whole"),
    ]
