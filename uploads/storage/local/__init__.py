"""Files in a folder: `spool/` for uploads under way, `files/` for stored ones.

An upload owns one spool file with its full size reserved at creation, and each range is written
in place, so finishing is fsync and rename: every byte is written once. Who may write is settled
by open-file-description locks (fcntl(2), F_OFD_SETLK): the kernel frees them when the process
dies, they work between threads and processes, and they need no database connection.
"""

from pathlib import Path

from uploads.storage.base import Storage
from uploads.storage.local.locks import LocalLocks
from uploads.storage.local.objects import LocalObjects
from uploads.storage.local.places import BACKEND, Places
from uploads.storage.local.uploads import LocalUploads

__all__ = ["LocalLocks", "LocalObjects", "LocalUploads", "Places", "local_storage"]


def local_storage(root: Path, *, keep_free: int = 0) -> Storage:
    """The store in the folder `root`, which leaves `keep_free` bytes of its disk free."""
    places = Places(root)
    uploads = LocalUploads(places, keep_free=keep_free)
    return Storage(BACKEND, uploads, LocalObjects(places), LocalLocks(places))
