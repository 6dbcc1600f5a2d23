"""``doorito run``: workflows on files, started and watched."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import click

from accounts import services as accounts
from accounts.principals import Principal, at_the_shell
from common.console import Row, iso, print_json, print_rows, printable
from common.db import DATABASE_GONE, renew_connections
from common.errors import DooritoError, NotFound
from common.pagination import MAX_PAGE
from uploads import selectors
from uploads.models import RunStatus, WorkflowAttempt, WorkflowLogLine, WorkflowRun
from uploads.workflows import runs, starting
from uploads.workflows import selectors as run_selectors

INTERRUPTED = 130  # the exit code that shells have for it
POLL = 0.5  # seconds


class Setting(click.ParamType):
    """A member of a configuration: ``name=value``, the value as JSON or, else, a text."""

    name = "setting"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not a setting such as max_pages=20.", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


_run_id = click.argument("run_id", metavar="ID", type=click.UUID)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_wait = click.option(
    "--wait",
    "is_waiting",
    is_flag=True,
    help="Until it has ended. Exit code 1 unless it went well.",
)
_acting = click.option(
    "--user", "email", metavar="EMAIL", help="Who does it. Without it, the owner of the file."
)


@click.group()
def run() -> None:
    """Runs of workflows on files: start, watch, cancel, retry."""


@run.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("file_ids", metavar="FILE...", type=click.UUID, nargs=-1, required=True)
@click.option(
    "--set",
    "settings",
    multiple=True,
    type=Setting(),
    metavar="KEY=VALUE",
    help="Change the configuration for this run; repeatable. Some of it only administrators may: "
    "name one with --user.",
)
@_acting
@_wait
@_json
def start(
    workflow: str,
    *,
    file_ids: tuple[UUID, ...],
    settings: tuple[tuple[str, Any], ...],
    email: str | None,
    is_waiting: bool,
    as_json: bool,
) -> None:
    """Start a workflow, named by its slug, on files, named by their ids. Prints the runs' ids."""
    run_selectors.get_workflow(workflow)
    started = []
    for file_id in dict.fromkeys(file_ids):
        try:
            principal = _principal(email, file_id=file_id)
            made = starting.start(
                principal=principal, file_id=file_id, slug=workflow, changes=dict(settings)
            )
        except DooritoError as exc:
            click.echo(f"Error: {file_id}: {exc.message}", err=True)
            continue
        started.append(made.id)
        if not as_json:
            click.echo(made.id)
    went_well = _follow(started) if is_waiting else True
    if as_json:
        print_rows([_row(run_selectors.find_run(run_id)) for run_id in started], as_json=True)
    if len(started) < len(set(file_ids)) or not went_well:
        sys.exit(1)


@run.command("list")
@click.option("--status", type=click.Choice(RunStatus.values), help="Only in this state.")
@click.option("--workflow", metavar="SLUG", help="Only of this workflow.")
@click.option("--file", "file_id", type=click.UUID, help="Only on this file.")
@click.option("--user", "email", metavar="EMAIL", help="Only on this account's files.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, help="At most."
)
@_json
def list_(
    *,
    status: str | None,
    workflow: str | None,
    file_id: UUID | None,
    email: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest runs, everybody's unless told otherwise."""
    page = run_selectors.all_runs_page(
        owner=accounts.get_user(email=email) if email else None,
        status=status,
        workflow=workflow,
        file_id=file_id,
        limit=limit,
    )
    print_rows([_row(each) for each in page.items], as_json=as_json)


@run.command()
@_run_id
@_json
def show(run_id: UUID, as_json: bool) -> None:
    """Show a run with its attempts and its output."""
    found = run_selectors.find_run(run_id)
    attempts = run_selectors.attempts_of(found)
    if as_json:
        print_json(_details(found, attempts))
        return
    for name, value in (_row(found) | _more(found)).items():
        if value not in (None, ""):
            click.echo(f"{name:<13}  {printable(str(value))}")
    if attempts:
        click.echo("\n" + "\n".join(_attempt_line(each) for each in attempts))
    if found.output_text:
        click.echo(f"\n{_harmless(found.output_text)}")
    for warning in found.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    if found.output_is_cut:
        click.echo("There was more output than is kept.", err=True)


@run.command()
@_run_id
@click.option("--follow", "is_following", is_flag=True, help="Go on until the run has ended.")
def logs(run_id: UUID, is_following: bool) -> None:
    """Print what a run wrote to its log."""
    run_selectors.find_run(run_id)
    try:
        for line in _lines(run_id, is_following=is_following):
            at = iso(line.at)
            click.echo(f"{at}  {line.attempt}  {line.level:<7}  {printable(line.message)}")
    except KeyboardInterrupt:
        return


@run.command()
@_run_id
@_acting
def cancel(run_id: UUID, email: str | None) -> None:
    """Take a run back; one that is under way ends soon."""
    found = run_selectors.find_run(run_id)
    principal = _principal(email, file_id=found.file_id)
    cancelled = runs.cancel_run(principal=principal, run_id=run_id)
    if cancelled.status == RunStatus.CANCELLED:
        click.echo(f"Cancelled run {run_id}.", err=True)
    else:
        click.echo(f"Run {run_id} is told to stop; ./doorito run show {run_id}", err=True)


@run.command()
@_run_id
@_acting
@_wait
def retry(run_id: UUID, email: str | None, is_waiting: bool) -> None:
    """Try a run again that failed or was cancelled."""
    found = run_selectors.find_run(run_id)
    principal = _principal(email, file_id=found.file_id)
    runs.retry_run(principal=principal, run_id=run_id)
    click.echo(f"Run {run_id} is tried again.", err=True)
    if is_waiting and not _follow([run_id]):
        sys.exit(1)


def _principal(email: str | None, *, file_id: UUID) -> Principal:
    """Acts for the named account, otherwise for the owner of the file."""
    if email:
        return at_the_shell(accounts.get_user(email=email))
    owner = selectors.get_linked_file(file_id).uploaded_by
    if owner is None:
        raise NotFound(
            "user_not_found",
            "The account of the file's owner is gone; name an administrator with --user.",
        )
    return at_the_shell(owner)


def _follow(run_ids: Sequence[UUID]) -> bool:
    """Wait until all runs have ended. Returns whether all completed.

    Ctrl-C stops the waiting, not the runs.
    """
    try:
        return _watch(run_ids)
    except KeyboardInterrupt:
        click.echo(f"\nThe work goes on. To see it: ./doorito run show {run_ids[0]}", err=True)
        sys.exit(INTERRUPTED)


def _watch(run_ids: Sequence[UUID]) -> bool:
    """Show a progress bar until all runs have ended. Returns whether all completed."""
    total = 100 * len(run_ids)
    shown = 0
    with click.progressbar(length=total, label="Running", file=sys.stderr) as bar:
        while True:
            found = _patiently(lambda: run_selectors.find_runs(run_ids))
            gone = len(run_ids) - len(found)
            done = 100 * gone + sum(_percent(each) for each in found)
            bar.update(max(0, done - shown))
            shown = max(shown, done)
            if all(each.status in WorkflowRun.ENDED for each in found):
                break
            time.sleep(POLL)
    for each in found:
        click.echo(_end_line(each), err=True)
    return not gone and all(each.status == RunStatus.COMPLETED for each in found)


def _patiently[T](read: Callable[[], T]) -> T:
    """Call `read`, again and again while the database does not answer."""
    while True:
        try:
            return read()
        except DATABASE_GONE:
            renew_connections()
            time.sleep(POLL)


def _percent(found: WorkflowRun) -> int:
    return 100 if found.status in WorkflowRun.ENDED else int(found.progress_percent or 0)


def _end_line(found: WorkflowRun) -> str:
    text = f"{found.file.original_filename}: {found.status}"
    if found.status == RunStatus.FAILED:
        text += f" ({found.error_code}): {found.error_message}"
    return f"{printable(text)}  ./doorito run show {found.id}"


def _lines(run_id: UUID, *, is_following: bool) -> Iterator[WorkflowLogLine]:
    after: UUID | None = None
    while True:
        # The status is read before the lines: once a run has ended, its lines are complete.
        found = _patiently(lambda: run_selectors.find_run(run_id))
        while lines := run_selectors.log_page(found, after=after):
            yield from lines
            after = lines[-1].id
        if not is_following or found.status in WorkflowRun.ENDED:
            return
        time.sleep(POLL)


def _row(found: WorkflowRun) -> Row:
    """`progress` is 0 to 100."""
    is_well = found.status == RunStatus.COMPLETED
    return {
        "id": str(found.id),
        "workflow": found.workflow.slug,
        "file_id": str(found.file_id),
        "filename": found.file.original_filename,
        "status": found.status,
        "progress": found.progress_percent,
        "attempt": found.attempt,
        "created": iso(found.created_at),
        "completed": iso(found.completed_at),
        "error": "" if is_well else found.error_message,
    }


def _more(found: WorkflowRun) -> Row:
    result = found.result_file
    is_pending = found.status == RunStatus.PENDING
    return {
        "owner": found.file.uploaded_by.email if found.file.uploaded_by else None,
        "trigger": found.trigger,
        "started_by": found.started_by.email if found.started_by else None,
        "message": found.progress_message,
        "due": iso(found.due_at) if is_pending else None,
        "deadline": iso(found.lease_expires_at) if found.is_handed_over else None,
        "attempts_left": found.attempts_left,
        "cost": str(found.cost) if found.cost is not None else None,
        "result_id": str(result.id) if result else None,
        "result_name": result.original_filename if result else None,
    }


def _details(found: WorkflowRun, attempts: Sequence[WorkflowAttempt]) -> Row:
    return (
        _row(found)
        | _more(found)
        | {
            "error_code": found.error_code,
            "config": found.config,
            "output_text": found.output_text,
            "output_is_cut": found.output_is_cut,
            "warnings": found.warnings,
            "attempts": [_attempt_row(each) for each in attempts],
        }
    )


def _attempt_row(attempt: WorkflowAttempt) -> Row:
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "started": iso(attempt.started_at),
        "ended": iso(attempt.ended_at),
        "outcome": attempt.outcome,
        "error": attempt.error_message,
        "traceback": attempt.traceback,
    }


def _attempt_line(attempt: WorkflowAttempt) -> str:
    parts = (f"attempt {attempt.number}", iso(attempt.started_at), attempt.worker, attempt.outcome)
    line = "  ".join([*map(str, parts), printable(attempt.error_message)]).rstrip()
    return f"{line}\n{_harmless(attempt.traceback)}" if attempt.traceback else line


def _harmless(text: str) -> str:
    """The text without terminal control sequences; line breaks stay."""
    return "\n".join(printable(line.replace("\t", "    ")) for line in text.splitlines())
