"""The web server's worker, as far as it can be seen without a portal."""

import pytest

from boot.gunicorn_worker import most_connections


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(1024, 384), (4096, 3456), (65_536, 256 + 8192), (100, 257)]
)
def test_no_more_connections_are_taken_than_there_are_descriptors_for(descriptors, connections):
    assert most_connections(threads=256, descriptors=descriptors) == connections
