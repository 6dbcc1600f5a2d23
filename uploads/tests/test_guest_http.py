"""A guest with an upload grant, over real connections to the running portal."""

import json
from typing import Any

import pytest

from uploads.tests.factories import FILES, SESSIONS, content_digest, sha256, some_bytes
from uploads.tests.wire import Door

DATA = some_bytes(250_000)


@pytest.fixture(scope="module", autouse=True)
def _no_request_ends_in_a_500(door):
    before = len(door.portal.logs())
    yield
    assert "Traceback" not in door.portal.logs()[before:]


class GuestDoor(Door):
    """The door as somebody finds it whom its administrator gave a grant."""

    def __init__(self, door: Door, **values: Any) -> None:
        self.portal = door.portal
        self.grant_id, self.token = _in_the_portal(
            door,
            f"""
            new = NewGrant("the suppliers", **json.loads({json.dumps(values)!r}))
            grant, text = grants.create_grant(principal=owner, new=new)
            print(json.dumps([str(grant.id), text]))
            """,
        )

    def revoke(self) -> None:
        _in_the_portal(
            self,
            f"""
            grants.revoke_grant(principal=owner, grant_id={self.grant_id!r})
            print("null")
            """,
        )

    def counted(self) -> list[int]:
        """Files and bytes."""
        return _in_the_portal(
            self,
            f"""
            grant = grants.get_grant({self.grant_id!r})
            print(json.dumps([grant.files_begun, grant.bytes_begun]))
            """,
        )


def _in_the_portal(door: Door, lines: str) -> Any:
    """What some lines print as JSON, run with the settings and the database of the portal."""
    prelude = f"""
            import json
            from accounts import principals, services
            from uploads.files import grants
            from uploads.files.new_grants import NewGrant
            owner = principals.of_session(services.get_user(email={door.portal.admin_email!r}))
            """
    code = "\n".join(line.strip() for line in (prelude + lines).splitlines())
    done = door.portal.manage("shell", "--no-imports", "-v", "0", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def problem(reply) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def test_a_guest_sends_a_file_that_the_owner_gets(door):
    guest = GuestDoor(door)

    session = guest.session_of(DATA, chunk=100_000, sha256=sha256(DATA), idempotency_key="k")
    assert guest.session_of(DATA, chunk=100_000) != session
    for number in (3, 1, 2):
        part = DATA[(number - 1) * 100_000 : number * 100_000]
        assert guest.put(session, number, part).status_code == 200
    stored = guest.finalize(session)

    assert (stored.status_code, stored.json()["sha256"]) == (200, sha256(DATA))
    content = door.call("GET", f"{FILES}/{stored.json()['id']}/content")
    assert content.content == DATA
    assert guest.counted() == [2, 2 * len(DATA)]


def test_the_limits_hold_at_the_door(door):
    guest = GuestDoor(
        door, max_files=2, max_bytes=100, max_file_size=80, allowed_types=["text/plain"]
    )

    def begin(**values: Any):
        body = {"filename": "a.txt", "size_bytes": 10} | values
        return guest.call("POST", SESSIONS, json=body)

    assert problem(begin(size_bytes=81)) == (413, "file_too_large")
    refused = begin(filename="a.png", content_type="image/png")
    assert problem(refused) == (415, "type_not_allowed")
    assert problem(guest.call("POST", f"{FILES}?filename=a.txt", content=b"\x00\x01\x02" * 9)) == (
        415,
        "type_not_allowed",
    )
    assert guest.counted() == [0, 0]

    assert begin(size_bytes=60).status_code == 201
    over = begin(size_bytes=41)
    assert problem(over) == (413, "grant_bytes_used_up")
    assert over.json()["max_bytes"] == 40
    stored = guest.call("POST", f"{FILES}?filename=a.txt", content=b"Forty bytes of plain text.\n")
    assert stored.status_code == 201
    assert problem(begin(size_bytes=1)) == (409, "grant_files_used_up")
    assert guest.counted() == [2, 87]


def test_a_guest_gets_at_nothing_else(door):
    guest = GuestDoor(door, scopes=["upload", "read", "consume"])
    neighbour = GuestDoor(door, scopes=["upload", "read", "consume"])
    own, theirs, owners = (sender.upload(b"some text") for sender in (guest, neighbour, door))
    session = door.session_of(DATA, chunk=100_000)

    listed = guest.call("GET", FILES).json()["items"]
    assert [file["id"] for file in listed] == [own["id"]]
    for file in (theirs, owners):
        for method, path in (
            ("GET", ""),
            ("GET", "/content"),
            ("DELETE", ""),
            ("POST", "/consume"),
        ):
            reply = guest.call(method, f"{FILES}/{file['id']}{path}")
            assert problem(reply) == (404, "file_not_found")
    part = guest.call(
        "PUT",
        f"{SESSIONS}/{session}/parts/1",
        content=DATA[:100_000],
        headers={"Content-Digest": content_digest(DATA[:100_000])},
    )
    assert problem(part) == (404, "session_not_found")
    assert door.received(session) == ""
    for path in ("/api/v1/webhooks", "/api/v1/events", "/api/v1/workflows", "/api/v1/runs"):
        assert problem(guest.call("GET", path)) == (403, "scope_missing")
    assert guest.call("GET", "/app/").status_code == 302  # to log in


def test_a_revoked_grant_is_refused_from_the_next_request_on(door):
    guest = GuestDoor(door)
    session = guest.session_of(DATA, chunk=100_000)
    assert guest.put(session, 1, DATA[:100_000]).status_code == 200

    guest.revoke()

    assert problem(guest.put(session, 2, DATA[100_000:200_000])) == (401, "grant_revoked")
    assert problem(guest.finalize(session)) == (401, "grant_revoked")
    assert problem(guest.call("POST", f"{FILES}?filename=a", content=b"a")) == (
        401,
        "grant_revoked",
    )
    # What came is the owner's to finish, or to give up.
    assert door.received(session) == "1"
    assert door.call("DELETE", f"{SESSIONS}/{session}").status_code == 204
    assert guest.counted() == [0, 0]
