"""``doorito storage``."""

import pytest
from click.testing import CliRunner

from uploads import tasks
from uploads.checking.cli import storage as command
from uploads.files import moving
from uploads.files.holds import hold_bytes
from uploads.models import IngestFile, LeftObject, StoreUpload
from uploads.storage import named, object_of
from uploads.storage.s3.client import client_of
from uploads.tests.factories import body, on_disk, some_bytes
from uploads.tests.s3_servers import names_in, to_s3

pytestmark = pytest.mark.django_db


def run(*arguments: str):
    return CliRunner().invoke(command, list(arguments))


def stored(api, count: int = 3) -> dict[str, bytes]:
    return {api.upload(data)["id"]: data for data in (some_bytes(20 + n) for n in range(count))}


def contents(api, files) -> dict[str, bytes]:
    return {each: body(api.get(f"/api/v1/files/{each}/content")) for each in files}


def test_files_move_there_and_back(api, s3, settings, tmp_path):
    settings.PORTAL_STORAGE = "local"
    files = stored(api)
    moved = run("move", "--to", "s3")
    assert (moved.exit_code, "3 files are in s3 now; 0 stayed." in moved.output) == (0, True)
    assert len(names_in(s3)) == 3
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert contents(api, files) == files
    assert run("move", "--to", "local").exit_code == 0
    assert (names_in(s3), StoreUpload.objects.count(), LeftObject.objects.count()) == ([], 0, 0)
    assert contents(api, files) == files


def test_old_bytes_stay_while_a_backup_holds_them_and_nothing_moves_there(api, moto, settings):
    (file,) = files = stored(api, 1)
    was = object_of(IngestFile.objects.get())
    with to_s3(moto, settings) as config:
        with hold_bytes("backup"):
            assert run("move", "--to", "s3").exit_code == 0
            with named("local").objects.open(was) as held:
                assert held.read() == files[file]
            back = run("move", "--to", "local")
            assert (back.exit_code, f"{file}: its old bytes are held" in back.output) == (1, True)
        assert tasks.clean_up_uploads() == 1
        assert contents(api, files) == files
        assert on_disk() == set()
        assert (len(names_in(config)), LeftObject.objects.count()) == (1, 0)


@pytest.mark.parametrize("at", ["_point_at", "remove_left_objects"])
def test_a_killed_move_goes_on_from_there(api, moto, settings, monkeypatch, tmp_path, at):  # noqa: PLR0917
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    files = stored(api, 2)  # on the disk
    with monkeypatch.context() as patch, to_s3(moto, settings) as config:
        patch.setattr(moving, at, kill)
        with pytest.raises(Killed):
            moving.move(IngestFile.objects.order_by("id")[0], to="s3")
        patch.undo()
        assert contents(api, files) == files
        assert run("move", "--to", "s3").exit_code == 0
        assert contents(api, files) == files
        assert len(names_in(config)) == 2
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
        assert LeftObject.objects.count() == 0


def test_a_file_whose_bytes_are_others_stays_and_is_named(api, s3, settings, tmp_path):
    settings.PORTAL_STORAGE = "local"
    (file,) = stored(api, 1)
    (path,) = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    path.write_bytes(b"x" * 20)
    moved = run("move", "--to", "s3")
    assert (moved.exit_code, f"{file}: its bytes have the SHA-256" in moved.output) == (1, True)
    assert (IngestFile.objects.get().storage_backend, names_in(s3)) == ("local", [])


def test_what_a_bucket_needs_is_printed_or_applied(moto, settings):
    settings.AWS_STORAGE_BUCKET_NAME = moto.config.bucket
    settings.AWS_S3_ENDPOINT_URL = moto.url
    settings.AWS_S3_REGION_NAME = "us-east-1"
    settings.AWS_ACCESS_KEY_ID, settings.AWS_SECRET_ACCESS_KEY = "AKID", "secret"
    assert f"arn:aws:s3:::{moto.config.bucket}" in run("s3-setup").output
    for _ in range(2):
        assert "are set" in run("s3-setup", "--apply").output
    client = client_of(moto.config)
    cors = client.get_bucket_cors(Bucket=moto.config.bucket)["CORSRules"]
    assert [rule["AllowedOrigins"] for rule in cors] == [[settings.PUBLIC_URL]]
    rules = client.get_bucket_lifecycle_configuration(Bucket=moto.config.bucket)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules] == [7]
