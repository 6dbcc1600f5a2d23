"""GET /api/v1/files/{id}"""

from django.contrib.auth.models import Permission

from uploads.models import IngestFile
from uploads.tests.factories import FILES, Api, assert_problem, sha256


def test_a_file_says_what_it_is(api):
    data = b"0123456789ABCDE"
    file = api.upload(
        data,
        filename="a.txt",
        relative_path="b/a.txt",
        content_type="text/csv",
        metadata={"k": ["v"]},
    )
    detail = api.get(f"{FILES}/{file['id']}").json()
    assert detail == file
    assert set(detail) == {
        "id",
        "original_filename",
        "relative_path",
        "content_type",
        "detected_type",
        "size_bytes",
        "sha256",
        "status",
        "batch_id",
        "metadata",
        "created_at",
        "stored_at",
        "expires_at",
        "processed_at",
        "deleted_at",
        "checking",
        "error",
        "content_url",
    }
    assert (detail["sha256"], detail["metadata"]) == (sha256(data), {"k": ["v"]})
    assert detail["content_url"] == f"{FILES}/{file['id']}/content"


def test_a_file_under_way_and_a_failed_one_can_be_seen(api):
    session = api.create_session().json()
    assert api.get(f"{FILES}/{session['file_id']}").json()["status"] == "uploading"
    api.abort(session["session_id"])
    failed = api.get(f"{FILES}/{session['file_id']}").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "aborted")


def test_another_users_file_does_not_exist(api, other):
    file = api.upload()
    assert_problem(other.get(f"{FILES}/{file['id']}"), 404, "file_not_found")


def test_who_may_access_all_files_sees_another_users_file_by_id_only(api):
    file = api.upload()
    runner = Api()
    runner.user.user_permissions.add(Permission.objects.get(codename="access_all_files"))
    assert runner.get(f"{FILES}/{file['id']}").json() == file
    assert runner.get(FILES).json()["items"] == []


def test_an_unknown_file_is_not_found(api):
    unknown = "01900000-0000-7000-8000-000000000000"
    assert_problem(api.get(f"{FILES}/{unknown}"), 404, "file_not_found")
    assert_problem(api.get(f"{FILES}/x"), 404, "endpoint_not_found")


def test_the_file_of_an_account_that_is_gone_is_nobodys(api, other):
    file = api.upload()
    IngestFile.objects.update(uploaded_by=None)
    assert_problem(other.get(f"{FILES}/{file['id']}"), 404, "file_not_found")
