"""How many workers of a machine read uploads through, and have them checked, at once.

Each of these turns may take minutes. One worker stays free for what else there is to do, such as
telling of files that are stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from uploads.storage.local.locks import try_lock


@contextmanager
def slot() -> Iterator[bool]:
    """Whether the caller has one, until the block ends: the kernel frees that of a killed process.

    There is always one.
    """
    most = max(settings.WORKER_CONCURRENCY - 1, 1)
    with (Path(settings.DOORITO_DATA_DIR) / "finalizing.lock").open("ab") as file:
        yield any(try_lock(file.fileno(), start=number, length=1) for number in range(most))
