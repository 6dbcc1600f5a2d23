"""Tasks that do what tests need, good and bad."""

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from pydantic import Field

from uploads.workflows import (
    ADJUSTABLE,
    HandedOver,
    RunContext,
    SecretName,
    TaskConfig,
    TaskFailed,
    TryAgain,
    WorkflowResult,
    workflow_task,
)


class EchoConfig(TaskConfig):
    greeting: str = Field("hello", json_schema_extra=ADJUSTABLE)
    key: SecretName = ""
    pause: float = 0


@workflow_task("test_echo", config=EchoConfig)
def echo(context: RunContext[EchoConfig]) -> WorkflowResult:
    """Says what it was given."""
    config = context.config
    time.sleep(config.pause)
    with context.open() as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    context.progress(50, "half of it")
    context.logger.info("read %s", context.file.filename)
    context.spend(Decimal("0.25"))
    said = [config.greeting, digest, context.workflow_slug, str(context.attempt)]
    if config.key:
        said.append(context.secret(config.key))
    if context.previous:
        said.append(f"after {context.previous.task_name}: {context.previous.output_text}")
        earlier = context.open_previous()
        if earlier:
            with earlier:
                said.append(earlier.read().decode())
    path = context.folder / "echo.md"
    path.write_text("# Echo\n")
    return WorkflowResult("\n".join(said), file=path, filename=f"{context.file.filename}.md")


class MischiefConfig(TaskConfig):
    kind: str
    path: str = ""


@workflow_task("test_mischief", config=MischiefConfig)
def mischief(context: RunContext[MischiefConfig]) -> WorkflowResult:
    """Does what tasks should not."""
    return _MISCHIEF[context.config.kind](context)


def _loop(_context):
    while True:
        pass


def _sleep(_context):
    time.sleep(3600)


def _start_another(context):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(context.config.path).write_text(str(other.pid))
    time.sleep(3600)


def _allocate(_context):
    return WorkflowResult("x" * (8 * 2**30))


def _raise(_context):
    raise RuntimeError("a secret path: /etc/passwd")


def _fail(_context):
    raise TaskFailed("not_today", "Not today.")


def _again(context):
    if context.attempt < 2:
        raise TryAgain("busy", "Busy.", retry_after=0)
    return WorkflowResult("at last")


def _slow_at_first(context):
    if context.attempt == 1:
        time.sleep(600)
    return WorkflowResult("at last")


def _never(_context):
    raise TryAgain("busy", "Busy.", retry_after=0)


def _large_file(context):
    path = context.folder / "large.bin"
    with path.open("wb") as large:
        for _ in range(1024):
            large.write(bytes(2**20))
    return WorkflowResult(file=path)


def _long_text(_context):
    return WorkflowResult("ab\n" * 100_000, warnings=[f"Page {n}" for n in range(1, 61)])


def _crash(_context):
    ctypes.string_at(0)


def _exit(_context):
    os._exit(3)


def _tell_and_exit(context):
    context.logger.info("about to read page 7")
    context.spend(Decimal("1.5"))
    os._exit(3)


def _leave_another(context):
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    Path(context.config.path).write_text(str(other.pid))
    return WorkflowResult("left")


def _half_a_message(context):
    os.write(context.reporter._connection.fileno(), b'{"kind": "comp')
    time.sleep(3600)


def _link_to_itself(context):
    path = context.folder / "link"
    path.symlink_to(path)
    return WorkflowResult(file=path)


def _ask_for_ever(_context):
    raise TryAgain("busy\x00", "Busy.", retry_after=1e20)


def _spend_when_cancelled(context):
    while not context.cancelled():
        time.sleep(0.05)
    context.spend(Decimal("0.75"))
    raise TaskFailed("stopped", "I was asked to stop.")


def _outside(context):
    return WorkflowResult(file=Path(context.config.path))


def _link(context):
    path = context.folder / "link"
    path.symlink_to(context.config.path)
    return WorkflowResult(file=path)


def _wait_for_cancel(context):
    while not context.cancelled():
        context.progress(None, "waiting")
        time.sleep(0.05)
    raise TaskFailed("stopped", "I was asked to stop.")


def _talk(context):
    for number in range(5000):
        context.logger.info("line %d \x00 \ud800", number)
        context.progress(number / 50, f"line {number}")
    return WorkflowResult("\x00 \ud800 done")


def _hand_over(_context):
    return HandedOver(seconds=60)


def _spend_and_fail(context):
    context.spend(Decimal("0.1"))
    raise TryAgain("busy", "Busy.", retry_after=0)


_MISCHIEF = {
    "loop": _loop,
    "sleep": _sleep,
    "others": _start_another,
    "allocate": _allocate,
    "raise": _raise,
    "fail": _fail,
    "again": _again,
    "slow_at_first": _slow_at_first,
    "never": _never,
    "large_file": _large_file,
    "long_text": _long_text,
    "crash": _crash,
    "exit": _exit,
    "outside": _outside,
    "link": _link,
    "wait_for_cancel": _wait_for_cancel,
    "talk": _talk,
    "hand_over": _hand_over,
    "spend_and_fail": _spend_and_fail,
    "tell_and_exit": _tell_and_exit,
    "leave_another": _leave_another,
    "half_a_message": _half_a_message,
    "link_to_itself": _link_to_itself,
    "ask_for_ever": _ask_for_ever,
    "spend_when_cancelled": _spend_when_cancelled,
}
