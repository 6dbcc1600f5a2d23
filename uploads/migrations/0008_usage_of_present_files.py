from django.db import migrations

COUNT = """
    INSERT INTO upload_usage (owner_id, share, size_bytes, files, open_sessions)
    SELECT file.uploaded_by_id, 0, sum(file.size_bytes), count(*), count(session.id)
    FROM ingest_file file
        LEFT JOIN upload_session session
            ON session.file_id = file.id AND session.status IN ('init', 'in_progress')
    WHERE file.uploaded_by_id IS NOT NULL AND file.status IN ('uploading', 'stored')
    GROUP BY file.uploaded_by_id
"""


class Migration(migrations.Migration):
    """Charges owners for the files that are there before usage is kept."""

    dependencies = [("uploads", "0007_usage")]

    operations = [migrations.RunSQL(COUNT, migrations.RunSQL.noop)]
