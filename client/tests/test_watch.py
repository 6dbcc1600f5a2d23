"""A watched folder: each finished file once, whatever happens in between."""

import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.long

# Runs the command, and kills its own process before or after a step.
KILLED_AT = """
import os, signal, sys
from doorito_client import uploading, watching
from doorito_client.cli.main import main
from doorito_client.states import States

owner, name, moment = sys.argv[1].split(".")
owner = {"States": States, "Watch": watching.Watch, "uploading": uploading}[owner]
step = getattr(owner, name)

def killed(*args, **kwargs):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    value = step(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
    return value

setattr(owner, name, killed)
main(sys.argv[2:])
"""
STEPS = [
    "States.keep.before",
    "States.keep.after",
    "States.mark_stored.before",
    "States.mark_stored.after",
    "Watch._put_away.before",
    "Watch._put_away.after",
    "States.forget.before",
    "States.forget.after",
]


@pytest.fixture
def scans(place):
    folder = place.folder / "scans"
    folder.mkdir()
    return folder


def watch_once(place, folder, *options):
    return place.run("watch", folder, "--once", "--settle", "0s", *options)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", [1000, 9 * 2**20], ids=["small", "in parts"])
def test_a_kill_in_any_step_costs_nothing_and_sends_nothing_twice(place, scans, step, size):
    name = f"{step}-{size}.pdf"
    data = place.file("scan", size).read_bytes()
    (scans / name).write_bytes(data)
    options = ["watch", scans, "--once", "--settle", "0s"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT, step, *map(str, options)],
        env=place.environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr

    done = watch_once(place, scans)

    assert done.returncode == 0, done.stderr
    (file,) = place.named(name)
    assert (file.status, file.size_bytes) == ("stored", size)
    assert (scans / "done" / name).read_bytes() == data
    assert not (scans / name).exists()
    assert list(place.states.glob("*.json")) == []


def test_a_file_that_comes_slowly_is_uploaded_once_and_whole(place, scans, until, ended):
    def write():
        with (scans / "slow.pdf").open("wb") as file:
            for _ in range(10):
                file.write(bytes(1000))
                file.flush()
                time.sleep(0.3)

    ended.append(place.start("watch", scans, "--settle", "1s"))
    writer = threading.Thread(target=write)
    writer.start()
    until((scans / "done" / "slow.pdf").exists)
    writer.join()
    assert [(file.status, file.size_bytes) for file in place.named("slow.pdf")] == [
        ("stored", 10_000)
    ]


def test_a_file_that_is_open_for_writing_waits(place, scans):
    with (scans / "open.pdf").open("wb") as file:
        file.write(b"first half")
        file.flush()
        assert watch_once(place, scans).returncode == 0
        assert place.named("open.pdf") == []
        file.write(b", second half")
    assert watch_once(place, scans).returncode == 0
    assert [file.size_bytes for file in place.named("open.pdf")] == [23]


def test_the_same_name_comes_again_as_another_file(place, scans):
    for text in ("monday", "tuesday"):
        (scans / "daily.pdf").write_text(text)
        assert watch_once(place, scans).returncode == 0
    assert len(place.named("daily.pdf")) == 2
    assert {path.name for path in (scans / "done").iterdir()} == {"daily.pdf", "daily-2.pdf"}


def test_files_may_stay_and_are_remembered(place, scans):
    (scans / "stays.pdf").write_text("1")
    for _ in range(2):
        assert watch_once(place, scans, "--keep").returncode == 0
    assert len(place.named("stays.pdf")) == 1
    (scans / "stays.pdf").write_text("changed")
    assert watch_once(place, scans, "--keep").returncode == 0
    assert len(place.named("stays.pdf")) == 2


def test_folders_inside_are_asked_for_and_hidden_files_and_links_are_passed_over(place, scans):
    (scans / "inside").mkdir()
    (scans / "inside" / "deep.pdf").write_text("deep")
    (scans / ".hidden.pdf").write_text("hidden")
    (scans / "link.pdf").symlink_to(scans / "inside" / "deep.pdf")
    assert watch_once(place, scans).stdout == ""
    assert watch_once(place, scans, "--recursive").returncode == 0
    assert [file.relative_path for file in place.named("deep.pdf")] == ["inside/deep.pdf"]
    assert (scans / "done" / "inside" / "deep.pdf").exists()
    assert place.named(".hidden.pdf") == []


def test_a_folder_is_watched_by_one_at_a_time(place, scans, until, ended):
    first = place.start("watch", scans)
    ended.append(first)
    until(lambda: list(place.states.glob("*.lock")) and first.poll() is None)
    until(lambda: watch_once(place, scans).returncode == 1)
    assert "Another watch has the folder" in watch_once(place, scans).stderr


def test_a_file_that_fails_is_told_and_stays(place, scans):
    (scans / f"{'ü' * 120}.pdf").write_text("a name that is longer in UTF-8 than may be")
    bad = scans / "control\x07.pdf"
    bad.write_text("a name that the portal refuses")
    failed = watch_once(place, scans)
    assert failed.returncode == 1
    assert "control character" in failed.stderr
    assert bad.exists()
