"""What an external runner may do with a callback link: say how far it is, and how it ended.

The link is the runner's only right. It is good for one attempt, until that is over: the first
answer that ends it is the only one.
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
    """To be called before a body is read. Raises NotFound `link_invalid`, Gone `attempt_over`."""
    _attempt(token)


def take_answer(token: str, answer: RunnerAnswer) -> None:
    """Note progress, or end the attempt.

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

    Whatever goes wrong with the bytes leaves the attempt on, so that they may be sent again.
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
    """The run, if the attempt that the link is for is on. Raises NotFound, Gone."""
    run_id, lease_id = attempt_of(token)
    runs = WorkflowRun.objects.filter(id=run_id, status=RunStatus.RUNNING, lease_id=lease_id)
    # One whose deadline has passed is over, although the sweep has yet to notice.
    late = Q(is_handed_over=True, lease_expires_at__lte=Now())
    run = runs.exclude(late).select_related("workflow", "file").first()
    if run is None:
        raise _over()
    return run


def _apply(token: str, run: WorkflowRun, answer: RunnerAnswer) -> bool:
    """Whether the attempt was still on."""
    if answer.status == "progress":
        return claims.note_answer(run, Progress(percent=answer.percent, message=answer.message))
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
    """Long text is a result file as well: events and pages have its beginning only."""
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
    """Free what a request left that was cut off hard. Raises Conflict while one is being served."""
    if not run.result_key:
        return
    upload = UploadHandle(run.result_backend, run.result_key)
    with named(run.result_backend).locks.try_idle(upload) as is_idle:
        if not is_idle:
            raise _in_progress()
        discard_result(run, run.result_key)


def _whole(blocks: Iterator[memoryview], size_bytes: int) -> Iterator[memoryview]:
    """The same blocks. Raises InvalidInput when there is less in them than announced."""
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
    """Why a result was not taken: the attempt is over, or another result came in between."""
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
