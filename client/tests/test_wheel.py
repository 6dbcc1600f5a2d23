"""The distribution by itself: built, installed into an empty environment, used from there."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from boot.tests.portal import ROOT, Portal

pytestmark = [pytest.mark.process, pytest.mark.long]


def _call(*command: str | Path, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_installs_into_an_empty_environment_and_uploads(
    portal: Portal, token: str, tmp_path: Path
) -> None:
    hatchling = Path(sys.executable).with_name("hatchling")
    _call(hatchling, "build", "--target", "wheel", "--directory", tmp_path, cwd=ROOT / "client")
    [wheel] = tmp_path.glob("*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty" / "bin"
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    _call(*pip, "install", "--quiet", wheel)
    installed = _call(*pip, "list", "--format=freeze").lower()
    assert "django" not in installed

    document = tmp_path / "document.txt"
    document.write_text("from a machine without a portal")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOORITO_SERVER": portal.url,
        "DOORITO_TOKEN": token,
    }
    client = programs / "doorito-client"
    _call(client, "upload", document, env=environment, cwd=tmp_path)
    assert "document.txt" in _call(client, "ls", env=environment, cwd=tmp_path)
    library = "import doorito_client; print(doorito_client.__version__)"
    version = _call(programs / "python", "-c", library, cwd=tmp_path)
    assert version == _call(client, "--version", cwd=tmp_path)
