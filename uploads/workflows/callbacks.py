"""What an external runner may do with a callback link: report progress and the result.

The link is the runner's only credential. It is valid for one attempt, until the attempt ends; the
first answer that ends the attempt is the only one accepted.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from common.errors import Conflict, Gone, InvalidInput, NotFound, PayloadTooLarge
from uploads.models import RunStatus, WorkflowRun
from uploads.storage import UploadHandle, named
from uploads.workflows import claims
from uploads.workflows.answers import RunnerAnswer
from uploads.workflows.claims import Failure, Progress
from uploads.workflows.context import INLINE_OUTPUT, output_name
from uploads.workflows.links import attempt_of
from uploads.workflows.results import (
    LeaseLostError,
    StoredResult,
    discard_result,
    fitting_name,
    store_result,
)


def check(token: str) -> None:
    """Call before the body is read. Raises NotFound `link_invalid`, Gone `attempt_over`."""
    _attempt(token)


def take_answer(token: str, answer: RunnerAnswer) -> None:
    """Record progress, or end the attempt.

    Raises NotFound `link_invalid`, Gone `attempt_over`, InvalidInput `status_not_expected`, and,
    for text that is long enough for a file, what `take_result` raises.
    """
    run = _attempt(token)
    if not _apply(token, run, answer):
        raise _over()


def take_result(
    token: str, *, filename: str, size_bytes: int, blocks: Iterator[memoryview], output_text: str
) -> StoredResult:
    """Store a result file and complete the run with it.

    When something goes wrong with the bytes the attempt goes on, so that they can be sent again.
    Raises what `take_answer` and `store_result` raise, PayloadTooLarge `result_too_large`,
    Conflict `result_in_progress`, InvalidInput `body_incomplete`.
    """
    run = _attempt(token)
    check_result_size(size_bytes)
    return _complete_with_file(
        token,
        run,
        filename=filename,
        size_bytes=size_bytes,
        blocks=_whole(blocks, size_bytes),
        output_text=output_text,
    )


def _complete_with_file(
    token: str,
    run: WorkflowRun,
    *,
    filename: str,
    size_bytes: int,
    blocks: Iterator[memoryview],
    output_text: str,
) -> StoredResult:
    _make_way(run)
    try:
        result = store_result(run, filename=filename, size_bytes=size_bytes, blocks=blocks)
    except (LeaseLostError, NotFound) as exc:
        raise _refusal(token) from exc
    if not claims.complete(run, output_text=output_text, is_cut=False, result=result):
        discard_result(run, result.stored.key)
        raise _refusal(token)
    return result


def _attempt(token: str) -> WorkflowRun:
    """The run whose current attempt the link belongs to. Raises NotFound, Gone."""
    run_id, lease_id = attempt_of(token)
    runs = WorkflowRun.objects.filter(id=run_id, status=RunStatus.RUNNING, lease_id=lease_id)
    # An attempt is over once its deadline has passed, even before the sweep ends it.
    late = Q(is_handed_over=True, lease_expires_at__lte=Now())
    run = runs.exclude(late).select_related("workflow", "file").first()
    if run is None:
        raise _over()
    return run


def _apply(token: str, run: WorkflowRun, answer: RunnerAnswer) -> bool:
    """Apply the answer. Returns False when the attempt was over."""
    if answer.status == "progress":
        return claims.record_progress(run, Progress(percent=answer.percent, message=answer.message))
    if answer.status == "completed":
        return _complete_with_text(token, run, answer.output_text)
    if answer.error is None:
        raise InvalidInput(
            "status_not_expected",
            "Here, status is progress, completed or failed; accepted is said to the request.",
        )
    return claims.fail(
        run, Failure(answer.error.code, answer.error.message, may_retry=answer.retry)
    )


def _complete_with_text(token: str, run: WorkflowRun, text: str) -> bool:
    """Store long text as a result file too: events and pages show only its beginning."""
    if len(text) <= INLINE_OUTPUT:
        return claims.complete(run, output_text=text, is_cut=False, result=None)
    content = text.encode()
    _complete_with_file(
        token,
        run,
        filename=fitting_name(output_name(run.file.original_filename, run.workflow.slug)),
        size_bytes=len(content),
        blocks=iter([memoryview(content)]),
        output_text=text,
    )
    return True


def check_result_size(size_bytes: int) -> None:
    """Raises PayloadTooLarge `result_too_large`."""
    most = settings.PORTAL_WORKFLOW_RESULT_MAX
    if size_bytes > most:
        raise PayloadTooLarge(
            "result_too_large",
            f"The result has {size_bytes} bytes; at most {most} are taken.",
            max_bytes=most,
        )


def _make_way(run: WorkflowRun) -> None:
    """Delete the bytes of an interrupted request. Raises Conflict while a request is sending."""
    if not run.result_key:
        return
    upload = UploadHandle(run.result_backend, run.result_key)
    with named(run.result_backend).locks.try_idle(upload) as is_idle:
        if not is_idle:
            raise _in_progress()
        discard_result(run, run.result_key)


def _whole(blocks: Iterator[memoryview], size_bytes: int) -> Iterator[memoryview]:
    """Pass the blocks on. Raises InvalidInput when they hold less than `size_bytes`."""
    received = 0
    for block in blocks:
        received += block.nbytes
        yield block
    if received < size_bytes:
        raise InvalidInput(
            "body_incomplete",
            f"The result ended after {received} of {size_bytes} bytes; send it again.",
        )


def _refusal(token: str) -> Conflict | Gone:
    """Why a result was refused: the attempt is over, or another request sent a result first."""
    try:
        _attempt(token)
    except Gone as exc:
        return exc
    return _in_progress()


def _in_progress() -> Conflict:
    return Conflict("result_in_progress", "Another request is sending the result of this attempt.")


def _over() -> Gone:
    return Gone(
        "attempt_over",
        "This attempt is over: it has ended, was cancelled, or its deadline has passed. "
        "Nothing of this was kept.",
    )
