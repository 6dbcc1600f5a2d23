"""What the rooms above this one add to a file's life.

Files know nobody above them. Whoever has a part in what happens to a file registers it here, once,
when the application starts (`uploads.apps`).
"""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from django.db.models import Exists

from accounts.principals import Actor
from common.errors import DooritoError
from uploads.models import IngestFile


class GiveUpUpload(Protocol):
    def __call__(self, *, file_id: UUID, error: DooritoError, actor: Actor) -> bool:
        """End a file's upload for `error` and free its space; False when it had ended before."""


# Called in the transaction that stores a file.
on_stored: list[Callable[[IngestFile], None]] = []

# Called in the transaction that deletes a file.
on_deleted: list[Callable[[IngestFile], None]] = []

# Conditions on the file of the outer query. While one holds, the file does not expire, ...
keeps_file: list[Exists] = []

# ... or, once it is consumed or deleted, its bytes are not removed.
keeps_bytes: list[Exists] = []

# The one way to give up an upload whose file is deleted.
_give_up_upload: list[GiveUpUpload] = []


def install_give_up_upload(give_up: GiveUpUpload) -> None:
    _give_up_upload[:] = [give_up]


def give_up_upload(*, file_id: UUID, error: DooritoError, actor: Actor) -> bool:
    return _give_up_upload[0](file_id=file_id, error=error, actor=actor)
