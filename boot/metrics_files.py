"""Where the processes of one web server keep the metrics that each of them measures.

prometheus-client has each process write its values into files of its own, and reads all of them
for an answer. To be set up before prometheus_client is imported, by gunicorn's configuration.
"""

import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "doorito-metrics-"

folder: Path | None = None  # None: this process alone measures


def set_up() -> None:
    """Make the folder, in memory where the system has a place for it."""
    global folder  # noqa: PLW0603
    memory = Path("/dev/shm")  # noqa: S108
    place = memory if memory.is_dir() else Path(tempfile.gettempdir())
    _remove_left(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def remove() -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left(place: Path) -> None:
    """Remove the folders of web servers that were killed."""
    for left in place.glob(f"{_PREFIX}*"):
        process_id = left.name.removeprefix(_PREFIX).partition("-")[0]
        if process_id.isdigit() and not _is_running(int(process_id)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
