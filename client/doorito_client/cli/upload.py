"""``upload``: files and folders, in parallel, and gone on with after whatever interrupts it."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from doorito_client.cli.common import Command, as_json, connect, connection, print_json, printable
from doorito_client.cli.progress import bars
from doorito_client.client import CONNECTIONS, Client
from doorito_client.errors import Conflict, DooritoError, NotFound
from doorito_client.results import Batch, File, RunDetail, to_json
from doorito_client.states import Entry, Identity, States
from doorito_client.uploading import Outcome, Upload, settle

STDIN = "-"


class Member(click.ParamType):
    """A member of the metadata: ``name=value``."""

    name = "member"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not a member such as project=alpha.", param, ctx)
        return name, text


@dataclass(frozen=True)
class Worked:
    """A file's way: uploaded, and what workflows made of it."""

    outcome: Outcome
    runs: list[RunDetail]

    @property
    def is_well(self) -> bool:
        failed = any(run.is_over and run.status != "completed" for run in self.runs)
        return self.outcome.error is None and not failed

    def as_row(self) -> dict[str, Any]:
        error = self.outcome.error
        return {
            "path": str(self.outcome.upload.path),
            "file": to_json(self.outcome.file) if self.outcome.file else None,
            "error": {"code": getattr(error, "code", ""), "message": str(error)} if error else None,
            "runs": [to_json(run) for run in self.runs],
        }


@click.command(cls=Command)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--recursive", "-r", is_flag=True, help="Folders too, with all that is in them.")
@click.option("--batch", "batch_name", metavar="NAME", help="Put the files into a new batch.")
@click.option("--name", metavar="NAME", help="The file's name, for one file or standard input.")
@click.option(
    "--meta", "metadata", multiple=True, type=Member(), metavar="KEY=VALUE", help="Metadata."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=CONNECTIONS,
    show_default=True,
    help="Connections at once.",
)
@click.option("--workflow", metavar="SLUG", help="Start this workflow on every file.")
@click.option("--wait", "is_waiting", is_flag=True, help="Until workflows on the files have ended.")
@connection
@as_json
def upload(
    *,
    paths: tuple[str, ...],
    recursive: bool,
    batch_name: str | None,
    name: str | None,
    metadata: tuple[tuple[str, str], ...],
    parallel: int,
    workflow: str | None,
    is_waiting: bool,
    server: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Upload files; - is standard input. Prints each file's id.

    A file counts as stored once the portal says so and names its SHA-256. After an interruption the
    same command goes on where it was.
    """
    if STDIN in paths and (len(paths) > 1 or not name):
        raise click.UsageError("Standard input is uploaded alone, with a --name.")
    is_stdin = STDIN in paths
    found = [Upload(Path(STDIN))] if is_stdin else list(_found(paths, is_recursive=recursive))
    if name and len(found) > 1:
        raise click.UsageError("--name is for one file.")
    with connect(server, token, connections=parallel) as client:
        batch = _batch(client, batch_name) if batch_name else None
        uploads = [
            replace(
                each,
                filename=name or "",
                metadata=dict(metadata),
                batch_id=batch.id if batch else None,
            )
            for each in found
        ]
        if is_stdin:
            outcomes = [_upload_stdin(client, uploads[0], is_silent=as_json)]
        else:
            outcomes = _upload(client, uploads, is_silent=as_json)
        _settle(client, outcomes, batch)
        worked = [Worked(each, _runs(client, each.file, workflow, is_waiting)) for each in outcomes]
    if as_json:
        print_json([each.as_row() for each in worked])
    sys.exit(_exit_code(worked))


def _found(paths: Sequence[str], *, is_recursive: bool) -> Iterator[Upload]:
    """Each file once, with its place in the folder that was named. Links inside are passed over."""
    for path in map(Path, dict.fromkeys(paths)):
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            yield Upload(path)
        elif not stat.S_ISDIR(mode):
            raise click.UsageError(f"{path} is neither a file nor a folder.")
        elif not is_recursive:
            raise click.UsageError(f"{path} is a folder: add --recursive.")
        else:
            yield from _inside(path)


def _inside(folder: Path) -> Iterator[Upload]:
    root = folder.absolute().parent
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                yield Upload(path, relative_path=path.absolute().relative_to(root).as_posix())


def _upload_stdin(client: Client, what: Upload, *, is_silent: bool) -> Outcome:
    """What cannot be read again is told when it fails, and not gone on with."""
    file = client.upload_stream(
        sys.stdin.buffer, what.filename, metadata=what.metadata, batch_id=what.batch_id
    )
    if not is_silent:
        click.echo(f"{file.id}  {STDIN}")
    return Outcome(what, file=file)


def _upload(client: Client, uploads: list[Upload], *, is_silent: bool) -> list[Outcome]:
    sizes = {each.path: each.path.stat().st_size for each in uploads}

    def tell(outcome: Outcome) -> None:
        shown.end(str(outcome.upload.path))
        if outcome.error:
            said = printable(f"{outcome.upload.path}: {outcome.error}")
            click.echo(f"Error: {said}", err=True)
        elif outcome.file and not is_silent:
            click.echo(f"{outcome.file.id}  {printable(str(outcome.upload.path))}")

    with bars(files=len(uploads), total_bytes=sum(sizes.values())) as shown:
        followed = [
            replace(
                each,
                on_progress=shown.follow(str(each.path), sizes[each.path]),
                is_kept=len(uploads) > 1 or each.batch_id is not None,
            )
            for each in uploads
        ]
        try:
            return client.upload_all(followed, on_outcome=tell)
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command goes on where it was.", err=True)
            raise


def _settle(client: Client, outcomes: list[Outcome], batch: Batch | None) -> None:
    """Once all is there, the batch is closed and nothing is left to go on with."""
    if any(outcome.error for outcome in outcomes):
        if batch:
            click.echo(f"The batch {batch.id} stays open: repeat the command.", err=True)
        return
    if batch:
        client.close_batch(batch.id)
        States(client.core.states).forget(_batch_identity(client, batch.name))
        click.echo(f"Batch {batch.id} is closed.", err=True)
    settle(client.core, [outcome.upload for outcome in outcomes])


def _batch(client: Client, name: str) -> Batch:
    """A new batch, or the one that an interrupted command opened."""
    states = States(client.core.states)
    identity = _batch_identity(client, name)
    known = states.find(identity)
    if known:
        try:
            batch = client.batch(UUID(known.values["batch_id"]))
        except NotFound:
            batch = None
        if batch and batch.closed_at is None:
            return batch
    batch = client.create_batch(name)
    states.keep(identity, Entry.new({"batch_id": str(batch.id)}))
    return batch


def _batch_identity(client: Client, name: str) -> Identity:
    return Identity(client.core.server, f"batch {name}", 0, 0)


def _runs(
    client: Client, file: File | None, workflow: str | None, is_waiting: bool
) -> list[RunDetail]:
    """The run that was asked for; when waited for, also those that rules started."""
    if file is None or not (workflow or is_waiting):
        return []
    started: dict[UUID, RunDetail] = {}
    try:
        if workflow:
            run = client.start_run(workflow, file.id)
            started[run.id] = run
        if is_waiting:
            known = {run.id for run in client.runs(file_id=file.id)} | started.keys()
            started = {run_id: client.wait_for_run(run_id) for run_id in known}
    except Conflict as error:
        raise DooritoError(f"{file.original_filename}: {error}") from error
    for run in started.values():
        said = f"{file.original_filename}: {run.workflow.slug} {run.status}"
        click.echo(
            printable(f"{said}  {run.error.message if run.error else ''}").rstrip(), err=True
        )
    return list(started.values())


def _exit_code(worked: list[Worked]) -> int:
    """0 when all went well; where all failures are of one kind, its code."""
    failed = [each for each in worked if not each.is_well]
    codes = {each.outcome.error.exit_code if each.outcome.error else 1 for each in failed}
    if not codes:
        return 0
    return codes.pop() if len(codes) == 1 else 1
