"""A file's way from the portal: in ranges where the connection breaks, proved, then named.

The bytes go into a file beside the wanted one, which is renamed once its SHA-256 is right. What is
left of it by an interruption is gone on with.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from doorito_client.errors import DigestDiffers, DooritoError, NoAnswer
from doorito_client.flows import Core, Do, Flow, Receive, Request, Response, address, persist
from doorito_client.operations import file as get_file
from doorito_client.results import File
from doorito_client.sources import BLOCK

type OnProgress = Callable[[int], None]


class Taking:
    """A Sink that writes behind what is there, hashes it, and knows how far it is."""

    def __init__(self, out: BinaryIO, *, on_progress: OnProgress) -> None:
        self._out = out
        self._on_progress = on_progress
        self._hash = hashlib.sha256()
        self._to_skip = 0
        self.size_bytes = 0

    def resume(self, have: BinaryIO) -> None:
        """Hash what an earlier download left."""
        while block := have.read(BLOCK):
            self._hash.update(block)
            self.size_bytes += len(block)
        self._on_progress(self.size_bytes)

    def begin(self, response: Response) -> None:
        """A portal that answers with the whole instead of the range sends again what is there."""
        self._to_skip = 0 if response.status == 206 else self.size_bytes

    def write(self, block: bytes) -> None:
        skipped = min(self._to_skip, len(block))
        self._to_skip -= skipped
        fresh = block[skipped:]
        self._out.write(fresh)
        self._hash.update(fresh)
        self.size_bytes += len(fresh)
        self._on_progress(self.size_bytes)

    def require_proof(self, file: File) -> None:
        """Raises DigestDiffers."""
        if (self.size_bytes, self._hash.hexdigest()) != (file.size_bytes, file.sha256):
            raise DigestDiffers(
                f"{self.size_bytes} bytes with the SHA-256 {self._hash.hexdigest()} came; the file "
                f"{file.id} has {file.size_bytes} with {file.sha256}.",
                advice="Download it again.",
            )


def download(
    core: Core,
    file_id: UUID | File,
    target: Path,
    *,
    url: str = "",
    is_replacing: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> Flow[Path]:
    """Download a file to `target`, or into it under its own name if it is a folder; the path.

    `url` is where its bytes are, such as a `claim_url`; without it, the portal's address of it.
    Raises DooritoError `target` exists unless `is_replacing`, DigestDiffers, PortalError, NoAnswer.
    """
    file = file_id if isinstance(file_id, File) else (yield from get_file(core, file_id))
    path = target / _safe_name(file) if target.is_dir() else target
    if path.exists() and not is_replacing:
        raise DooritoError(f"{path} exists already.", advice="Name another one, or replace it.")
    unfinished = path.with_name(f".{path.name[:80]}.{file.id}.part")
    with unfinished.open("a+b") as out:
        taking = Taking(out, on_progress=on_progress)
        out.seek(0)
        yield Do(lambda: taking.resume(out))
        try:
            yield from _take(core, file, taking, url=url)
        except DigestDiffers:
            unfinished.unlink()
            raise
        except DooritoError:
            if not taking.size_bytes:  # nothing came that could be carried on
                unfinished.unlink()
            raise
        out.flush()
        yield Do(lambda: os.fsync(out.fileno()))
    unfinished.replace(path)
    return path


def download_to(
    core: Core,
    file_id: UUID | File,
    out: BinaryIO,
    *,
    url: str = "",
    on_progress: OnProgress = lambda _: None,
) -> Flow[File]:
    """Write a file into a stream as it comes. Only when this returns is it proved."""
    file = file_id if isinstance(file_id, File) else (yield from get_file(core, file_id))
    yield from _take(core, file, Taking(out, on_progress=on_progress), url=url)
    out.flush()
    return file


def _take(core: Core, file: File, taking: Taking, *, url: str) -> Flow[None]:
    """As often as it takes, while something comes each time."""
    path = address(url or file.content_url)

    def rest() -> Receive:
        start = taking.size_bytes
        ranged = {"Range": f"bytes={start}-", "If-Range": f'"{file.sha256}"'} if start else {}
        return Receive(Request("GET", path, headers=ranged), taking)

    while taking.size_bytes < file.size_bytes:
        before = taking.size_bytes
        try:
            yield from persist(core, Request("GET", path), rest)
        except NoAnswer:
            if taking.size_bytes == before:
                raise
        if taking.size_bytes == before:
            break
    taking.require_proof(file)


def _safe_name(file: File) -> str:
    """The file's name, which somebody else chose, as one in a folder of ours."""
    name = Path(file.original_filename.replace("\\", "_").replace("\0", "_")).name
    return name if name not in {"", ".", ".."} else str(file.id)
