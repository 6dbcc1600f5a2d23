"""What each owner takes up: charged and released in the transaction that changes a file.

An owner's usage is spread over several rows (`UsageShare`), so that uploads at the same time do not
wait for one another. A transaction changes one share of an owner, and locks nothing after it that
somebody else may hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.models import Count, Sum

from uploads.models import FileStatus, IngestFile, UploadSession, UsageShare


@dataclass(frozen=True)
class Usage:
    """Files that are uploaded or stored. Their bytes count as announced from the first on."""

    size_bytes: int = 0
    files: int = 0
    open_sessions: int = 0

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.size_bytes - other.size_bytes,
            self.files - other.files,
            self.open_sessions - other.open_sessions,
        )


NOTHING = Usage()


@dataclass(frozen=True)
class Charge:
    """What was charged, or released where it is negative.

    `limits` are the owner's own, in the order of Usage's fields; None where there are none.
    """

    owner_id: UUID | None
    charged: Usage
    limits: Sequence[int | None] | None = None


# Each connection uses its own share, so concurrent transactions change different rows.
_CHARGE = f"""
    INSERT INTO upload_usage AS present (owner_id, share, size_bytes, files, open_sessions)
    VALUES (%s, pg_backend_pid() %% {UsageShare.SHARES}, %s, %s, %s)
    ON CONFLICT (owner_id, share) DO UPDATE SET
        size_bytes = present.size_bytes + EXCLUDED.size_bytes,
        files = present.files + EXCLUDED.files,
        open_sessions = present.open_sessions + EXCLUDED.open_sessions
    RETURNING (
        SELECT ARRAY[size_bytes, files, open_sessions] FROM upload_limits
        WHERE upload_limits.owner_id = present.owner_id
    )
"""  # noqa: S608  (a number of our own)


def usage_of(owner_id: UUID) -> Usage:
    """An owner's usage now, results of workflows included. It costs the same for everybody."""
    shares = UsageShare.objects.filter(owner=owner_id)
    return Usage(
        **shares.aggregate(
            size_bytes=Sum("size_bytes", default=0),
            files=Sum("files", default=0),
            open_sessions=Sum("open_sessions", default=0),
        )
    )


def recount(owner_id: UUID) -> Usage:
    """What `usage_of` must be, counted from the files and sessions themselves."""
    charged = IngestFile.objects.filter(
        uploaded_by=owner_id, status__in=[*IngestFile.UNDER_WAY, FileStatus.STORED]
    )
    sessions = UploadSession.objects.filter(created_by=owner_id, status__in=UploadSession.OPEN)
    return Usage(
        **charged.aggregate(size_bytes=Sum("size_bytes", default=0), files=Count("id")),
        open_sessions=sessions.count(),
    )


def charge(file: IngestFile, *, was: FileStatus | None) -> Charge:
    """Charge or release the difference that a change of state makes. `was` None: the file is new.

    To be called last in the transaction of the change, with the row as it is then.
    """
    return _charge(file.uploaded_by_id, _taken_up(file, file.status) - _taken_up(file, was))


def charge_size(file: IngestFile) -> Charge:
    """Charge the bytes of a file that began without a size. To be called as `charge`."""
    return _charge(file.uploaded_by_id, Usage(file.size_bytes))


def _charge(owner_id: UUID | None, difference: Usage) -> Charge:
    if owner_id is None or difference == NOTHING:
        return Charge(owner_id, NOTHING)
    values = [difference.size_bytes, difference.files, difference.open_sessions]
    with connection.cursor() as cursor:
        cursor.execute(_CHARGE, [owner_id, *values])
        (limits,) = cursor.fetchone()
    return Charge(owner_id, difference, limits)


def _taken_up(file: IngestFile, status: str | None) -> Usage:
    if status in IngestFile.UNDER_WAY:
        return Usage(file.size_bytes, files=1, open_sessions=1)
    if status == FileStatus.STORED:
        return Usage(file.size_bytes, files=1)
    return NOTHING
