"""Files that the portal has all of, and checks before it stores them."""

import json
from typing import cast

from doorito_client.errors import ContentDiffers, Unavailable
from doorito_client.flows import Core, Flow, Pause, Response, ask
from doorito_client.results import Checking, File, from_json

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


def stored_file(core: Core, response: Response) -> Flow[File]:
    """The file of an answer to POST /files, once it is stored.

    Raises ContentDiffers with the code of the check that refused it, Unavailable `being_checked`.
    """
    file = cast(File, from_json(File, json.loads(response.body)))
    patience = Patience(core)
    while file.status == "checking":
        yield from patience.pause(file.checking)
        file = yield from ask(core, File, "GET", f"files/{file.id}")
    if file.status == "failed" and file.error:
        raise ContentDiffers(file.error.message, status=422, code=file.error.code)
    return file
