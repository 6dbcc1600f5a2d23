import multiprocessing
import subprocess
import sys
from collections.abc import Callable

import pytest

from boot.tests.kinds import StartedProcesses


def run_a_command() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


def run_a_function() -> None:
    process = multiprocessing.get_context("forkserver").Process(target=print)
    process.start()
    process.join()


@pytest.mark.process
@pytest.mark.parametrize("start", [run_a_command, run_a_function])
def test_a_process_is_started_by_marked_tests_only(
    request: pytest.FixtureRequest, started: StartedProcesses, start: Callable[[], None]
) -> None:
    unmarked: pytest.Item = pytest.Function.from_parent(
        request.node.parent, name="unmarked", callobj=lambda: None
    )
    started.refuse_unless_marked(unmarked)

    start()

    started.refuse_unless_marked(request.node)
    with pytest.raises(pytest.fail.Exception, match="mark it `process`"):
        started.refuse_unless_marked(unmarked)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> StartedProcesses:
    return request.config.stash[StartedProcesses.key]
