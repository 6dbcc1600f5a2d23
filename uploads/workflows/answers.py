"""The answer of an external runner: sent at once, or later to the run's result URL.

A result file is not part of the answer: runners PUT its bytes to the result URL.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from uploads.workflows.errors import TaskFailed, TryAgain

BODY_MAX = (
    8 * 1024 * 1024
)  # bytes of an answer: room for the longest text with every character escaped in JSON
OUTPUT_TEXT_MAX = 2**20  # characters; longer text belongs in a result file
MESSAGE_MAX = 1000  # characters


def _without_nul(text: str) -> str:
    """Drop NUL characters, which PostgreSQL cannot store in text."""
    return text.replace("\x00", "\ufffd")


_Text = Annotated[str, AfterValidator(_without_nul)]
_Message = Annotated[_Text, Field(max_length=MESSAGE_MAX)]


class _Strict(BaseModel):
    """Unknown members and wrong types are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunnerError(_Strict):
    """Why a runner failed. `code` is for programs, `message` for the file's owner."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    message: _Message


class RunnerAnswer(_Strict):
    """The progress of a run, or how it ended."""

    status: Literal["accepted", "progress", "completed", "failed"]
    percent: float | None = Field(default=None, ge=0, le=100)
    message: _Message = ""
    output_text: Annotated[_Text, Field(max_length=OUTPUT_TEXT_MAX)] = ""
    error: RunnerError | None = None  # present if and only if `status` is `failed`
    retry: bool = False  # whether another attempt may succeed

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("`error` belongs to the status `failed`, and to no other.")
        if self.retry and self.error is None:
            raise ValueError("`retry` belongs to the status `failed`.")
        if self.output_text and self.status != "completed":
            raise ValueError("`output_text` belongs to the status `completed`.")
        return self

    def failure(self) -> TaskFailed:
        """The error that ends the run. Call only when `status` is `failed`."""
        assert self.error is not None  # noqa: S101 - see `_is_consistent`
        kind = TryAgain if self.retry else TaskFailed
        return kind(self.error.code, self.error.message)
