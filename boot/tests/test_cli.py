import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from boot.cli import APP_COMMANDS
from boot.tests.portal import ROOT, Portal, clean_environment
from common.version import VERSION

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def stopped():
    """A portal whose database is prepared and does not run."""
    with Portal() as stopped:
        stopped.prepare()
        migrated = stopped.manage("migrate", "--verbosity", "0")
        assert migrated.returncode == 0, migrated.stderr
        yield stopped


def server_runs(portal):
    return (portal.data_dir / "postgres" / "cluster" / "postmaster.pid").exists()


def test_version_prints_the_version_alone(stopped):
    assert stopped.run("version").stdout == f"{VERSION}\n"


def test_help_lists_every_command(stopped):
    shown = stopped.run("--help").stdout
    for name in ("up", "check", "version", *APP_COMMANDS):
        assert f"\n  {name} " in shown


def test_help_of_a_subcommand_needs_no_database():
    with Portal() as fresh:
        assert "--email" in fresh.run("token", "create", "--help").stdout
        assert "--forward" in fresh.run("listen", "-h").stdout
        assert not (fresh.data_dir / "postgres").exists()


def test_commands_start_the_database_for_their_time(stopped):
    done = stopped.run("token", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not server_runs(stopped)


def test_management_commands_do_so_too(stopped):
    done = stopped.manage("shell", "--no-imports", "-c", _COUNT_USERS)
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert not server_runs(stopped)


_COUNT_USERS = "from accounts.models import User; print(User.objects.count())"


def test_check_is_content_with_a_prepared_portal(stopped):
    done = stopped.run("check")
    assert (done.returncode, done.stdout) == (0, "No problems found.\n")


def test_check_names_a_workflow_that_cannot_run_in_one_line(stopped):
    made = stopped.manage("shell", "--no-imports", "-c", _MAKE_ORPHAN)
    assert made.returncode == 0, made.stderr
    refused = stopped.run("check")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "The workflow orphan runs the task 'no_such_task'" in refused.stderr
    assert "switch it off" in refused.stderr
    assert refused.stderr.count("\n") == 1

    stopped.manage("shell", "--no-imports", "-c", _SWITCH_OFF)
    assert stopped.run("check").stdout == "No problems found.\n"


_MAKE_ORPHAN = """
from uploads.models import Workflow
Workflow.objects.create(name="Orphan", slug="orphan", task_name="no_such_task")
"""
_SWITCH_OFF = """
from uploads.models import Workflow
Workflow.objects.filter(slug="orphan").update(is_active=False)
"""


def test_check_and_other_commands_say_that_the_database_is_not_prepared():
    with Portal() as fresh:
        for command in (("check",), ("token", "list")):
            refused = fresh.run(*command)
            assert refused.returncode == 1
            assert "run `./doorito prepare`" in refused.stderr
            assert refused.stderr.count("\n") == 1


def test_an_error_of_ours_is_one_line_and_exit_code_1(stopped):
    refused = stopped.run("token", "create", "--email", "nobody@example.com", "--name", "x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: No account has the e-mail address")
    assert refused.stderr.count("\n") == 1


def test_wrong_usage_is_exit_code_2(stopped):
    assert stopped.run("token", "create").returncode == 2
    assert stopped.run("no-such-command").returncode == 2


def test_a_superuser_can_be_created(stopped):
    stopped.environment["DJANGO_SUPERUSER_PASSWORD"] = "correct horse"
    done = stopped.manage("createsuperuser", "--noinput", "--email", "root@example.com")
    assert done.returncode == 0, done.stderr
    assert stopped.run("token", "create", "--email", "root@example.com", "--name", "x").stdout


def test_it_runs_from_another_folder_with_a_python_that_lacks_everything(tmp_path):
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    done = subprocess.run(
        [bare / "bin" / "python", ROOT / "doorito", "version"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{VERSION}\n", done.stderr


def test_a_fresh_clone_says_what_to_do_first(tmp_path):
    """Before `make install` there is no environment, and no Python that has the packages."""
    shutil.copy(ROOT / "doorito", tmp_path)
    shutil.copytree(ROOT / "boot", tmp_path / "boot")
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", tmp_path / "doorito", "up"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: The package click is missing: run `make install` first.\n"


def test_an_output_without_room_is_one_line(stopped):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [ROOT / "doorito", "token", "list", "--json"],
            env=stopped.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: Cannot write the output: No space left on device.\n",
    )
