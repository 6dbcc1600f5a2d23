"""Files that the portal has all of, and checks before it stores them."""

import json
from typing import cast

from doorito_client.errors import Unavailable
from doorito_client.flows import (
    FINALIZE_SECONDS,
    Core,
    Flow,
    Pause,
    Request,
    Response,
    address,
    call,
)
from doorito_client.results import Checking, File, Session, from_json

SESSIONS = "uploads/sessions"
ACCEPTED = 202
QUESTION_SECONDS = 2.0  # between questions what came of it
LONGEST_SECONDS = 30.0  # that a check may wait for something, such as a scanner that is down


class Patience:
    """Waits for checks, and not for ever for those that wait for something themselves."""

    def __init__(self, core: Core) -> None:
        self._left = min(core.patience, LONGEST_SECONDS)

    def pause(self, checking: Checking | None) -> Flow[None]:
        """Raises Unavailable `being_checked`."""
        waits_for = checking.waits_for if checking else None
        if waits_for:
            self._left -= QUESTION_SECONDS
        if waits_for and self._left < 0:
            said = f"The portal has all of the file and has not checked it yet. {waits_for.message}"
            raise Unavailable(said, status=503, code="being_checked")
        yield Pause(QUESTION_SECONDS)


def finalized(core: Core, path: str) -> Flow[File]:
    """The stored file of the session at `path`, once the portal has read through what did not come
    in the file's order, and has checked it. Raises Unavailable `being_checked`.
    """
    request = Request("POST", address(f"{path}/finalize"), timeout=FINALIZE_SECONDS)
    patience = Patience(core)
    while (response := (yield from call(core, request))).status == ACCEPTED:
        session = cast(Session, from_json(Session, json.loads(response.body)))
        yield from patience.pause(session.checking)
    return cast(File, from_json(File, json.loads(response.body)))


def stored_file(core: Core, response: Response) -> Flow[File]:
    """The stored file of an answer to POST /files. Raises as `finalized`."""
    if response.status != ACCEPTED:
        return cast(File, from_json(File, json.loads(response.body)))
    session = cast(Session, from_json(Session, json.loads(response.body)))
    yield Pause(QUESTION_SECONDS)
    return (yield from finalized(core, f"{SESSIONS}/{session.session_id}"))
