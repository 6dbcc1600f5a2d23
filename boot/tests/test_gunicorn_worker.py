"""The web server's worker, as far as it can be seen without a portal."""

import logging

import pytest
from gunicorn.config import Config

from boot.gunicorn_worker import Logger, most_connections


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(1024, 384), (4096, 3456), (65_536, 256 + 8192), (100, 257)]
)
def test_no_more_connections_are_taken_than_there_are_descriptors_for(descriptors, connections):
    assert most_connections(threads=256, descriptors=descriptors) == connections


def test_what_the_web_server_logs_is_masked():
    record = logging.LogRecord(
        "gunicorn.error", logging.ERROR, "", 1, "Error handling %s %s", ("GET", "/f/0:sig"), None
    )
    handlers = Logger(Config()).error_log.handlers
    assert handlers
    for handler in handlers:
        assert "Error handling GET /f/[hidden]" in handler.format(record)
