"""What the supervisor knows of the portal's processes, left for the web server to read.

A small file in the data directory, written anew at each change and every few seconds: an old one
says that the supervisor, or the disk, has stopped.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

WRITE_INTERVAL = 10.0  # seconds
_VALID_SECONDS = 60.0  # starting PostgreSQL again may keep the supervisor for so long
_NAME = "processes.json"


@dataclass(frozen=True)
class ProcessState:
    """`is_up` is false too for one that was only just started after it stopped again and again."""

    is_up: bool
    stops_in_a_row: int
    last_stop: str = ""  # such as "exit code 1"


def write(folder: Path, states: dict[str, ProcessState]) -> None:
    """Raises OSError."""
    report = {
        "supervisor": os.getpid(),
        "processes": {name: asdict(state) for name, state in states.items()},
    }
    unfinished = folder / f".{_NAME}.new"
    unfinished.write_text(json.dumps(report))
    unfinished.replace(folder / _NAME)


def remove(folder: Path) -> None:
    """Raises OSError."""
    (folder / _NAME).unlink(missing_ok=True)


def read(folder: Path, *, supervisor: int) -> dict[str, ProcessState] | None:
    """The states by name, None when the supervisor of this process id does not tell them."""
    path = folder / _NAME
    try:
        age = time.time() - path.stat().st_mtime
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if report["supervisor"] != supervisor or abs(age) > _VALID_SECONDS:
        return None
    return {name: ProcessState(**state) for name, state in report["processes"].items()}
