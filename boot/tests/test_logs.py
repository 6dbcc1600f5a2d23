"""What an outage of the database leaves in the log."""

import logging


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
