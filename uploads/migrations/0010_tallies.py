"""Counts of files, sessions and runs by state, for /metrics: see common/models/tallies.py."""

from django.db import migrations

# Of each row, and only where the state changes: a session's row changes with every part.
TRIGGERS = """
CREATE FUNCTION tally_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO tally_change (kind, state, present, present_amount)
        VALUES ('file', OLD.status, -1, -OLD.size_bytes);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO tally_change (kind, state, present, present_amount, entered, entered_amount)
        SELECT 'file', NEW.status, 1, NEW.size_bytes, entry.times, entry.times * NEW.size_bytes
        FROM (SELECT (TG_OP = 'INSERT' OR OLD.status <> NEW.status)::int AS times) AS entry;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER tally_new AFTER INSERT OR DELETE ON ingest_file
    FOR EACH ROW EXECUTE FUNCTION tally_file();
CREATE TRIGGER tally_changed AFTER UPDATE ON ingest_file FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.size_bytes <> NEW.size_bytes)
    EXECUTE FUNCTION tally_file();

CREATE FUNCTION tally_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO tally_change (kind, state, present) VALUES ('session', OLD.status, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO tally_change (kind, state, present, entered)
        VALUES ('session', NEW.status, 1, 1);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER tally_new AFTER INSERT OR DELETE ON upload_session
    FOR EACH ROW EXECUTE FUNCTION tally_session();
CREATE TRIGGER tally_changed AFTER UPDATE ON upload_session FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tally_session();

-- How many there are, by workflow, and how many there were, by task: a workflow may change its task.
CREATE FUNCTION tally_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO tally_change (kind, state, label, present)
        VALUES ('run', OLD.status, OLD.workflow_id, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO tally_change (kind, state, label, present)
        VALUES ('run', NEW.status, NEW.workflow_id, 1);
        INSERT INTO tally_change (kind, state, label, entered)
        SELECT 'run_task', NEW.status, task_name, 1 FROM workflow WHERE id = NEW.workflow_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER tally_new AFTER INSERT OR DELETE ON workflow_run
    FOR EACH ROW EXECUTE FUNCTION tally_run();
CREATE TRIGGER tally_changed AFTER UPDATE ON workflow_run FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tally_run();

-- What is there already. Nobody changes it meanwhile: making a trigger locks the table.
INSERT INTO tally (kind, state, present, present_amount)
SELECT 'file', status, count(*), sum(size_bytes) FROM ingest_file GROUP BY status;
INSERT INTO tally (kind, state, present)
SELECT 'session', status, count(*) FROM upload_session GROUP BY status;
INSERT INTO tally (kind, state, label, present)
SELECT 'run', status, workflow_id, count(*) FROM workflow_run GROUP BY status, workflow_id;
"""
NO_TRIGGERS = """
DROP TRIGGER tally_new ON ingest_file;
DROP TRIGGER tally_changed ON ingest_file;
DROP TRIGGER tally_new ON upload_session;
DROP TRIGGER tally_changed ON upload_session;
DROP TRIGGER tally_new ON workflow_run;
DROP TRIGGER tally_changed ON workflow_run;
DROP FUNCTION tally_file();
DROP FUNCTION tally_session();
DROP FUNCTION tally_run();
"""


class Migration(migrations.Migration):

    dependencies = [
        ("common", "0004_tallies"),
        ("uploads", "0009_limits_of_accounts"),
    ]

    operations = [migrations.RunSQL(TRIGGERS, NO_TRIGGERS)]
