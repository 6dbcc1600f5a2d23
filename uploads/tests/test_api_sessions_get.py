"""GET /api/v1/uploads/sessions and /api/v1/uploads/sessions/{id}"""

from datetime import datetime, timedelta

from uploads.models import UploadSession
from uploads.tests.factories import SESSIONS, assert_problem, some_bytes

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def test_the_state_says_which_parts_are_there(api):
    data = some_bytes(100)
    session = api.session_of(data, chunk=10)
    for number in (1, 2, 3, 5, 7, 8, 10):
        api.put_part(session["session_id"], number, data[(number - 1) * 10 : number * 10])
    state = api.get_session(session["session_id"]).json()
    assert state["received_parts"] == "1-3,5,7-8,10"
    assert (state["received_parts_count"], state["received_bytes"]) == (7, 70)
    assert state["status"] == "in_progress"
    assert state | {"session_id": 0} == api.get_session(session["session_id"]).json() | {
        "session_id": 0
    }


def test_a_part_moves_the_expiry_on(api, settings):
    session = api.session_of(b"0123456789ABCDE")
    before = datetime.fromisoformat(session["expires_at"])
    UploadSession.objects.update(last_activity_at=before - timedelta(hours=30))
    api.put_part(session["session_id"], 2, b"ABCDE")
    after = datetime.fromisoformat(api.get_session(session["session_id"]).json()["expires_at"])
    assert after >= before
    settings.PORTAL_SESSION_TTL_HOURS = 48
    later = datetime.fromisoformat(api.get_session(session["session_id"]).json()["expires_at"])
    assert later - after == timedelta(hours=24)


def test_a_session_that_ended_badly_says_why(api):
    session = api.create_session().json()
    api.abort(session["session_id"])
    state = api.get_session(session["session_id"]).json()
    assert state["status"] == "aborted"
    assert state["error"] == {"code": "aborted", "message": "The upload was aborted."}


def test_a_complete_session_is_still_there(api):
    session = api.session_of(b"0123456789ABCDE")
    api.put_all(session, b"0123456789ABCDE")
    api.finalize(session["session_id"])
    state = api.get_session(session["session_id"]).json()
    assert (state["status"], state["received_parts"], state["error"]) == ("complete", "1-2", None)


def test_another_users_session_does_not_exist(api, other):
    session = api.create_session().json()
    assert_problem(other.get_session(session["session_id"]), 404, "session_not_found")


def test_an_unknown_session_is_not_found(api):
    assert_problem(api.get_session(UNKNOWN), 404, "session_not_found")


def test_what_is_no_session_id_is_no_address(api):
    for text in ("1", "abc", UNKNOWN[:-1], "%00", "a" * 5000):
        assert_problem(api.get(f"{SESSIONS}/{text}"), 404, "endpoint_not_found")


def test_what_is_unfinished_is_listed_with_what_is_kept(api, other):
    ended = api.session_of(b"0123456789", chunk=5)
    api.abort(ended["session_id"])
    first = api.session_of(b"0123456789", chunk=5)
    second = api.session_of(b"abcdefghij", chunk=5)
    api.put_part(second["session_id"], 1, b"abcde")
    listed = api.get(SESSIONS).json()["items"]
    assert [each["session_id"] for each in listed] == [second["session_id"], first["session_id"]]
    assert [each["received_bytes"] for each in listed] == [5, 0]
    assert api.get(SESSIONS, limit=1).json()["next_cursor"]
    assert other.get(SESSIONS).json()["items"] == []
