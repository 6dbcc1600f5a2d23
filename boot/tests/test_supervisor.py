"""The supervisor with processes that misbehave."""

import threading
import time
from pathlib import Path

import pytest

from boot import supervisor
from boot.errors import CannotRunError
from boot.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(supervisor, "HEAD_START", 0)


def sh(script):
    return ["/bin/sh", "-c", script]


def test_one_that_keeps_dying_ends_all_with_a_clear_line(capfd, tmp_path):
    steady = sh(f"trap 'echo ended > {tmp_path}/steady; exit' TERM; while :; do sleep 0.05; done")
    crashing = sh(f"echo again >> {tmp_path}/starts; echo something is wrong; exit 3")
    running = Supervisor({"web": steady, "worker": crashing}, stop_requested=threading.Event())
    with pytest.raises(CannotRunError, match=r"worker keeps stopping \(exit code 3\)"):
        running.run()
    assert (tmp_path / "steady").read_text() == "ended\n"
    assert (tmp_path / "starts").read_text().count("again") == supervisor.MAX_QUICK_DEATHS
    assert "worker  | something is wrong" in capfd.readouterr().out


def test_one_that_is_killed_again_and_again_is_started_again_and_again(tmp_path):
    stop = threading.Event()
    killed = sh(f"echo again >> {tmp_path}/starts; kill -KILL $$")
    running = Supervisor({"web": killed}, stop_requested=stop)
    thread = threading.Thread(target=running.run)
    thread.start()
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        starts = tmp_path / "starts"
        if starts.exists() and starts.read_text().count("again") > supervisor.MAX_QUICK_DEATHS + 1:
            break
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert starts.read_text().count("again") > supervisor.MAX_QUICK_DEATHS + 1


def test_one_that_does_not_stop_is_killed_with_its_children(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT", 1)
    stop = threading.Event()
    deaf = sh(f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60")
    thread = threading.Timer(1, stop.set)
    thread.start()
    Supervisor({"web": deaf}, stop_requested=stop).run()
    thread.join()
    child = int((tmp_path / "child").read_text())
    assert _ends(child)


def _ends(process_id):
    """A killed process is gone a moment after the signal, not with it."""
    give_up = time.monotonic() + 10
    while _is_alive(process_id) and time.monotonic() < give_up:
        time.sleep(0.02)
    return not _is_alive(process_id)


def _is_alive(process_id):
    try:
        with Path(f"/proc/{process_id}/stat").open() as stat:
            return stat.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
