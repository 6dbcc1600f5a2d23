import shutil
import subprocess

import pytest

from boot.tests.portal import ROOT

pytestmark = pytest.mark.process


@pytest.fixture
def clone(tmp_path):
    """A folder with the installer and a lock file that asks for nothing."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "install.sh", tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    return tmp_path


@pytest.fixture
def tools(tmp_path):
    """A PATH with the shell's usual tools, and whatever a test adds."""
    path = tmp_path / "tools"
    path.mkdir()
    for name in ("sh", "cmp", "cp", "rm"):
        (path / name).symlink_to(shutil.which(name))
    return path


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def install(clone, tools):
    return subprocess.run(
        ["/bin/sh", "scripts/install.sh", "requirements.txt"],
        cwd=clone,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_python_one_line_says_what_to_install(clone, tools):
    refused = install(clone, tools)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: Doorito needs Python 3.12 or newer")
    assert refused.stderr.count("\n") == 1


def test_pythons_that_are_too_old_or_broken_shims_are_passed_over(clone, tools):
    script(tools / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    script(tools / "python3", "exit 1")  # what `version < (3, 12)` makes of an old one
    assert install(clone, tools).returncode == 1
    (tools / "python3.13").symlink_to(ROOT / ".venv" / "bin" / "python")
    done = install(clone, tools)
    assert done.returncode == 0, done.stderr
    assert (clone / ".venv" / "bin" / "python").exists()


def test_an_unchanged_lock_is_not_installed_again(clone, tools):
    (tools / "python3").symlink_to(ROOT / ".venv" / "bin" / "python")
    assert install(clone, tools).stdout == "Installing requirements.txt\n"
    assert install(clone, tools).stdout == ""
    (clone / "requirements.txt").write_text("# nothing, said otherwise\n")
    assert install(clone, tools).stdout == "Installing requirements.txt\n"
