"""What every store answers in the same words."""

from common.errors import Conflict, Gone, NotFound

RETRY_SECONDS = 2


def upload_missing() -> NotFound:
    return NotFound("upload_missing", "The upload's bytes are not there.")


def file_purged() -> Gone:
    return Gone("file_purged", "The file's bytes have been removed.")


def part_in_progress() -> Conflict:
    return Conflict(
        "part_in_progress",
        "Another request is sending this part. Wait, then ask which parts are there.",
        retry_after=RETRY_SECONDS,
    )


def finalize_in_progress() -> Conflict:
    return Conflict(
        "finalize_in_progress",
        "Another request is checking this upload. Ask again, or look at the session.",
        retry_after=RETRY_SECONDS,
    )
