# ruff: noqa: ARG002, N803  (Django names and passes the arguments)
"""Forms: fields everywhere, a file to `POST /api/v1/files` and nowhere else.

That one is read as it was sent: nothing renamed, lost, or taken for whole where it was cut off.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict

from common.errors import InsufficientStorage, InvalidInput
from common.http.bodies import body_length, expect_upload, no_length

_OVERHEAD_BYTES = 64 * 1024  # boundaries and the other fields
_CSRF_FIELD = "csrfmiddlewaretoken"


@dataclass(frozen=True)
class Form:
    """The field `file`, its name as the client gave it, and the other fields."""

    file: UploadedFile
    filename: str
    fields: dict[str, str]


@contextmanager
def read_form(request: HttpRequest, *, check_size: Callable[[int], object]) -> Iterator[Form]:
    """A multipart form, whose file can be read within the block.

    `check_size` raises for more bytes than its file may have, before any of them is read.
    Raises InvalidInput `body_incomplete`, `file_missing`, `several_files`, `repeated_field` or
    `unknown_field` (another file), PayloadTooLarge, InsufficientStorage `no_room`.
    """
    length = body_length(request)
    if length is None:
        raise no_length()
    check_size(length - _OVERHEAD_BYTES)
    expect_upload(request)
    with FileAside(request) as aside:
        body = cast(Any, _Body(request, length=length))
        with _cut_bodies_told(body), _full_disk_told():
            fields, files = _Parser(request.META, body, [aside], request.encoding).parse()
        file = _only_file(files)
        yield Form(file=file, filename=aside.sent_name, fields=_single_values(fields))


class FieldsOnlyUploadHandler(FileUploadHandler):
    """Refuses files: CSRF reads the form of anybody, at any address, before any view."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        if content_length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise MultiPartParserError("This form is too large.")

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise MultiPartParserError("This address takes no files.")


class FileAside(FileUploadHandler):
    """Puts a form's files aside in the data directory, under no name: no kill leaves them behind.

    Used as a context manager: Django does not close the file that a form broke off in.
    """

    sent_name = ""  # Django's file objects shorten or refuse theirs

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        self._folder = Path(settings.DOORITO_DATA_DIR)
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if content_length > free - settings.PORTAL_DISK_RESERVE:
            raise _no_room()

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.sent_name = self.file_name or ""
        unnamed = TemporaryFile(dir=self._folder)  # noqa: SIM115  (open(2), O_TMPFILE)
        self.file = UploadedFile(
            self._opened.enter_context(unnamed),
            "file",
            self.content_type,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        self.file.size = file_size
        self.file.seek(0)
        return self.file


class _Parser(MultiPartParser):
    def sanitize_file_name(self, file_name: str) -> str:
        """Without folders (RFC 7578, 4.2). Django would drop what it cannot print, too."""
        return file_name.replace("\\", "/").rsplit("/", 1)[-1]


class _Body:
    """Django takes the end of a connection for the end of the form: who counts knows better."""

    def __init__(self, request: HttpRequest, *, length: int) -> None:
        self._request = request
        self._missing = length
        self.is_cut = False

    def read(self, size: int = -1, /) -> bytes:
        block = self._request.read(size)
        self._missing -= len(block)
        self.is_cut = not block and self._missing > 0
        return block


@contextmanager
def _cut_bodies_told(body: _Body) -> Iterator[None]:
    try:
        yield
    except MultiPartParserError:
        if not body.is_cut:
            raise
    if body.is_cut:
        raise InvalidInput("body_incomplete", "The connection ended early; send it again.")


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _no_room() from exc


def _no_room() -> InsufficientStorage:
    return InsufficientStorage(
        "no_room", "The portal's disk has no room for this file.", retry_after=3600
    )


def _only_file(files: "MultiValueDict[str, UploadedFile]") -> UploadedFile:
    if others := sorted(set(files) - {"file"}):
        raise InvalidInput(
            "unknown_field",
            f"The form has files in fields that mean nothing here: {', '.join(others)}. "
            "Send one file, in the field `file`.",
        )
    sent = files.getlist("file")
    if len(sent) != 1:
        raise InvalidInput(
            "several_files" if sent else "file_missing",
            f"The form must have one field `file` with a file in it, not {len(sent)}.",
        )
    return sent[0]


def _single_values(fields: QueryDict) -> dict[str, str]:
    repeated = sorted(name for name, values in fields.lists() if len(values) > 1)
    if repeated:
        raise InvalidInput(
            "repeated_field", f"The form has fields more than once: {', '.join(repeated)}."
        )
    return {name: str(value) for name, value in fields.items() if name != _CSRF_FIELD}
