"""The tables of Celery's SQLAlchemy transport, with the index that its fetch lacks.

The transport makes these tables itself when it finds none (kombu 5.7, transport/sqlalchemy), with
indexes that serve a table of few rows. It marks messages as consumed and keeps them, so that a
fetch has to step over all of them; with this index it reads only what waits.
"""

from django.db import migrations

TABLES = """
CREATE SEQUENCE IF NOT EXISTS queue_id_sequence;
CREATE TABLE IF NOT EXISTS kombu_queue (
    id integer PRIMARY KEY,
    name varchar(200) UNIQUE
);
CREATE SEQUENCE IF NOT EXISTS message_id_sequence;
CREATE TABLE IF NOT EXISTS kombu_message (
    id integer PRIMARY KEY,
    visible boolean,
    "timestamp" timestamp without time zone,
    payload text NOT NULL,
    version smallint NOT NULL,
    queue_id integer CONSTRAINT "FK_kombu_message_queue" REFERENCES kombu_queue (id)
);
CREATE INDEX IF NOT EXISTS ix_kombu_message_visible ON kombu_message (visible);
CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp ON kombu_message ("timestamp");
CREATE INDEX IF NOT EXISTS ix_kombu_message_timestamp_id ON kombu_message ("timestamp", id);
CREATE INDEX IF NOT EXISTS kombu_message_waiting
    ON kombu_message (queue_id, "timestamp", id) WHERE visible;
"""


class Migration(migrations.Migration):

    dependencies = [("common", "0001_initial")]

    operations = [
        migrations.RunSQL(TABLES, "DROP INDEX IF EXISTS kombu_message_waiting"),
    ]
