# ruff: noqa: ARG002, N803  (Django names and passes the arguments)
"""Refuses a form that is larger than a one-request upload may be, before reading it."""

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler

from uploads import policy

_FORM_OVERHEAD = 64 * 1024  # boundaries and the other fields


class QuotaUploadHandler(FileUploadHandler):
    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *rest: Any) -> None:
        policy.check_single_request_size(content_length - _FORM_OVERHEAD)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
