# ruff: noqa: ARG002, N803  (Django names and passes the arguments)
"""Forms: fields are accepted everywhere, files only by views that use `read_form`.

Forms are read strictly: nothing is renamed or skipped, and a truncated form is refused.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError

from common.errors import InvalidInput, PayloadTooLarge
from common.http.aside import Aside, set_aside
from common.http.bodies import body_length, whole_body_blocks
from common.http.multipart import Part, invalid_form, read_parts

_OVERHEAD_BYTES = 64 * 1024  # boundaries and the other fields
_CSRF_FIELD = "csrfmiddlewaretoken"


@dataclass(frozen=True)
class FormFile:
    """A file of a form, in temporary storage. Its name is the client's, without folders."""

    filename: str
    content_type: str
    content: Aside

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes

    def blocks(self) -> Iterator[memoryview]:
        """Read from the beginning. A block is valid until the second one after it is requested."""
        return self.content.blocks()


@dataclass(frozen=True)
class Form:
    """The file, and the other fields."""

    file: FormFile
    fields: dict[str, str]


@contextmanager
def read_form(
    request: HttpRequest, *, check_size: Callable[[int], object], field: str = "file"
) -> Iterator[Form]:
    """Read a multipart form; its file, in `field`, can be read within the `with` block.

    `check_size` raises if the file may not have that many bytes; it is called before reading if the
    body declares its length. Raises InvalidInput `form_invalid`, `body_incomplete`, `file_missing`,
    `several_files`, `repeated_field` or `unknown_field` (another file), UnsupportedType
    `encoding_unsupported`, PayloadTooLarge, and the errors of `set_aside`.
    """
    length = body_length(request)
    if length is not None:
        check_size(length - _OVERHEAD_BYTES)
    boundary = (request.content_params or {}).get("boundary", "").encode()
    with set_aside(expected_bytes=length or 0) as aside:
        form = _FormSoFar(aside, field=field, check_size=check_size)
        for part in read_parts(whole_body_blocks(request), boundary=boundary):
            form.add(part)
        yield form.finished()


class FieldsOnlyUploadHandler(FileUploadHandler):
    """Refuses files, because the CSRF check parses any form of anybody before the view runs."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        if content_length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise MultiPartParserError("This form is too large.")

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise MultiPartParserError("This address takes no files.")


class _FormSoFar:
    """The part of a form that was read: its fields in memory, its file in `aside`."""

    def __init__(self, aside: Aside, *, field: str, check_size: Callable[[int], object]) -> None:
        self._aside = aside
        self._field = field
        self._check_size = check_size
        self._fields: dict[str, str] = {}
        self._fields_bytes = 0
        self._file: FormFile | None = None

    def add(self, part: Part) -> None:
        if part.filename is None:
            self._add_field(part)
        elif part.name != self._field:
            raise InvalidInput(
                "unknown_field",
                f"The form has a file in a field that means nothing here: {part.name}. "
                f"Send one file, in the field `{self._field}`.",
            )
        elif self._file:
            raise InvalidInput("several_files", "The form has several files; send one a request.")
        else:
            self._add_file(part, filename=part.filename)

    def finished(self) -> Form:
        # Browsers send an empty file without a name where none was chosen.
        if self._file is None or not (self._file.filename or self._file.size_bytes):
            raise InvalidInput(
                "file_missing", f"The form must have one field `{self._field}` with a file in it."
            )
        return Form(file=self._file, fields=self._fields)

    def _add_field(self, part: Part) -> None:
        if part.name == self._field:
            raise InvalidInput(
                "file_missing",
                f"The field `{self._field}` is text here; a file has a `filename` beside it.",
            )
        value = b"".join(self._limited(part.blocks))
        if part.name == _CSRF_FIELD:
            return
        if part.name in self._fields:
            raise InvalidInput("repeated_field", f"The form has a field twice: {part.name}.")
        try:
            self._fields[part.name] = value.decode()
        except UnicodeDecodeError as exc:
            raise invalid_form(f"the field {part.name} is not UTF-8") from exc

    def _limited(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._fields_bytes += len(block)
            if self._fields_bytes > _OVERHEAD_BYTES:
                raise PayloadTooLarge(
                    "body_too_large",
                    f"The fields of a form have at most {_OVERHEAD_BYTES} bytes together.",
                    max_bytes=_OVERHEAD_BYTES,
                )
            yield block

    def _add_file(self, part: Part, *, filename: str) -> None:
        for block in part.blocks:
            self._check_size(self._aside.size_bytes + len(block))
            self._aside.write(block)
        self._file = FormFile(
            filename=filename.replace("\\", "/").rsplit("/", 1)[-1],  # RFC 7578, 4.2
            content_type=part.content_type,
            content=self._aside,
        )
