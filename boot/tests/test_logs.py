"""What an outage of the database leaves in the log, and how lines are written."""

import io
import json
import logging

from boot.logs import LineFormatter
from common import journal
from common.ids import uuid7


def test_a_lost_broker_is_told_of_once_in_a_while_and_other_news_at_once(caplog):
    logger = logging.getLogger("celery.worker.consumer.consumer")
    for number in range(9):
        logger.warning("%s (%r)", "consumer: Connection to broker lost. Trying ...", number)
        logger.critical("Frequent restarts detected: %r", number)
        logger.error("Received an unknown task %r", number)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "unknown task" in line]) == 9
    assert len(told) == 10


def test_a_lost_database_is_no_traceback_of_beat(caplog):
    try:
        raise OSError("the database is gone")
    except OSError as exc:
        logger = logging.getLogger("django_celery_beat.schedulers")
        logger.exception("Database gave error: %r", exc)
    assert "the database is gone" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_task_that_could_not_be_sent_is_one_line(caplog):
    try:
        raise OSError("the broker is gone")
    except OSError as exc:
        logger = logging.getLogger("celery.beat")
        logger.error("Message Error: %s\n%s", exc, ["a", "stack"], exc_info=True)
    (record,) = caplog.records
    assert record.getMessage() == "A periodic task was not sent: the broker is gone"
    assert "Traceback" not in caplog.text


def test_a_database_that_is_gone_is_told_of_once_in_a_while(caplog):
    logger = logging.getLogger("psycopg.pool")
    for number in range(9):
        logger.warning("error connecting in %r: %s", "pool-1", number)
        logger.warning("reconnection attempt in pool %r failed after %s sec", "pool-1", number)
        logger.warning("discarding closed connection: %s", number)
    assert caplog.text.count("discarding") == 9
    assert len(caplog.records) == 10


# --- How lines are written --------------------------------------------------------------------


def written(form, log):
    """What `log` writes to a logger, as lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(form=form))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        log()
    finally:
        root.removeHandler(handler)
    return stream.getvalue().splitlines()


def test_a_line_is_an_object_for_programs():
    def log():
        with journal.coming_from(journal.Origin("abc", f"00-{'1' * 32}-{'2' * 16}-01"), user=7):
            journal.tell("file_stored", file_id=uuid7(), size_bytes=5)

    (line,) = written("json", log)
    facts = json.loads(line)
    assert list(facts)[:4] == ["time", "level", "logger", "event"]
    assert (facts["event"], facts["level"], facts["size_bytes"]) == ("file_stored", "info", 5)
    assert (facts["request_id"], facts["trace_id"], facts["user"]) == ("abc", "1" * 32, 7)
    assert "traceparent" not in facts


def test_a_line_can_be_read_by_people():
    def log():
        journal.tell("file_failed", code="no_room", reason="two words\nand a line", nothing=None)

    (line,) = written("text", log)
    assert line.endswith(
        'INFO doorito: file_failed code=no_room reason="two words\\nand a line" nothing=None'
    )


def test_what_libraries_log_has_the_same_form_and_secrets_are_masked():
    def log():
        try:
            raise ValueError("no answer from http://localhost/f/0123:sig")
        except ValueError:
            logging.getLogger("some.library").exception("failed: %s", "/c/45:sig")

    (line,) = written("json", log)
    facts = json.loads(line)
    assert (facts["logger"], facts["event"]) == ("some.library", "failed: /c/[hidden]")
    assert "ValueError: no answer from http://localhost/f/[hidden]" in facts["exception"]
    text = "\n".join(written("text", log))
    assert "Traceback" in text
    assert ":sig" not in line + text


def test_a_log_that_cannot_be_written_fails_nobody(monkeypatch):
    class Full(io.StringIO):
        def write(self, _text):
            raise OSError("no space left on device")

    handler = logging.StreamHandler(Full())
    handler.setFormatter(LineFormatter(form="json"))
    monkeypatch.setattr(logging, "raiseExceptions", False)  # would print it
    logging.getLogger().addHandler(handler)
    try:
        journal.tell("file_stored", file_id=object())
    finally:
        logging.getLogger().removeHandler(handler)
