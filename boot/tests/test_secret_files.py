import os

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from boot import secret_files


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """A file that DATABASE_URL_FILE names; neither is set afterwards."""
    path = tmp_path / "secret"
    path.write_text("of the file\n")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_URL_FILE", str(path))
    return path


def test_a_secret_is_read_from_the_file_that_is_named_without_its_last_line_feed(secret):
    secret_files.load()
    assert os.environ["DATABASE_URL"] == "of the file"


def test_what_the_environment_has_wins(secret, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "of the environment")
    secret.unlink()
    secret_files.load()
    assert os.environ["DATABASE_URL"] == "of the environment"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "Cannot read {} (DATABASE_URL_FILE): No such file or directory."),
        (b"\xff", "Cannot read {} (DATABASE_URL_FILE): it is no text."),
        (b" \n", "{} (DATABASE_URL_FILE) is empty."),
    ],
)
def test_a_file_that_has_no_secret_is_refused_by_name(secret, content, told):
    if content is None:
        secret.unlink()
    else:
        secret.write_bytes(content)
    with pytest.raises(ImproperlyConfigured) as refused:
        secret_files.load()
    assert str(refused.value) == told.format(secret)


def test_each_is_a_setting():
    names = {name.removesuffix("_FILE") for name in secret_files.NAMES}
    assert names <= set(settings.KNOWN_NAMES)
