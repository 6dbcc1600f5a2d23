# ruff: noqa: ARG002, N803  (Django names and passes the arguments)
"""What forms may bring: fields everywhere, a file to `POST /api/v1/files` and nowhere else."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParserError

from common.errors import InsufficientStorage
from uploads import policy

_FORM_OVERHEAD = 64 * 1024  # boundaries and the other fields


class FieldsOnlyUploadHandler(FileUploadHandler):
    """Refuses files: CSRF reads the form of anybody, at any address, before any view."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        if content_length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise MultiPartParserError("This form is too large.")

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise MultiPartParserError("This address takes no files.")


class UnnamedFileUploadHandler(FileUploadHandler):
    """Puts a form's files aside in the data directory, under no name: no kill leaves them behind.

    A form that is larger than a one-request upload may be is refused before it is read. Used as
    a context manager: Django does not close the file that a form broke off in.
    """

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        policy.check_single_request_size(content_length - _FORM_OVERHEAD)
        self._folder = Path(settings.DOORITO_DATA_DIR)
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if content_length > free - settings.PORTAL_DISK_RESERVE:
            raise InsufficientStorage(
                "no_room", "The portal's disk has no room for this file.", retry_after=3600
            )

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        unnamed = TemporaryFile(dir=self._folder)  # noqa: SIM115  (open(2), O_TMPFILE)
        self.file = UploadedFile(
            self._opened.enter_context(unnamed),
            self.file_name,
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
