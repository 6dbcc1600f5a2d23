"""The supervisor with processes that misbehave."""

import os
import pwd
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from boot import process_report, supervisor
from boot.errors import CannotRunError
from boot.supervisor import Supervisor
from boot.tests.portal import free_port

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _of_its_own(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY", 0.05)
    monkeypatch.setattr(supervisor, "HEAD_START", 0)
    settings.EMBEDDED_POSTGRES = False
    settings.DOORITO_DATA_DIR = tmp_path
    settings.WEB_PORT = free_port()


def sh(script):
    return ["/bin/sh", "-c", script]


@contextmanager
def running(commands):
    """A supervisor in a thread of its own, stopped at the end."""
    stop = threading.Event()
    errors = []

    def run():
        try:
            Supervisor(commands, stop_requested=stop).run()
        except CannotRunError as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert errors == []


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def web(settings):
    """What makes the portal ready: a web server that answers."""
    with HTTPServer(("127.0.0.1", settings.WEB_PORT), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield sh("exec sleep 60")
        server.shutdown()
        thread.join()


def until(condition):
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


def count(path):
    return path.read_text().count("again") if path.exists() else 0


def states(folder):
    """Whether each process is up, as the web server is told."""
    report = process_report.read(folder, supervisor=os.getpid()) or {}
    return {name: state.is_up for name, state in report.items()}


def test_a_start_that_cannot_succeed_ends_all_with_a_clear_line(capfd, tmp_path):
    steady = sh(f"trap 'echo ended > {tmp_path}/steady; exit' TERM; while :; do sleep 0.05; done")
    crashing = sh(f"echo again >> {tmp_path}/starts; echo something is wrong; exit 3")
    starting = Supervisor({"web": steady, "worker": crashing}, stop_requested=threading.Event())
    with pytest.raises(
        CannotRunError, match=r"worker keeps stopping \(exit code 3\); its output is above"
    ):
        starting.run()
    assert (tmp_path / "steady").read_text() == "ended\n"
    assert count(tmp_path / "starts") == supervisor.MAX_QUICK_FAILURES
    assert "worker  | something is wrong" in capfd.readouterr().out


def test_output_is_promised_only_where_there_is_some():
    silent = Supervisor({"web": sh("exit 3")}, stop_requested=threading.Event())
    with pytest.raises(CannotRunError, match=r"web keeps stopping \(exit code 3\); it printed not"):
        silent.run()


def test_a_portal_that_was_ready_goes_on_although_a_process_keeps_failing(
    web, monkeypatch, tmp_path, capfd
):
    mended = tmp_path / "mended"
    failing = sh(f"echo again >> {tmp_path}/starts; [ -e {mended} ] && exec sleep 60; exit 3")
    with running({"web": web, "beat": failing}):
        until(lambda: count(tmp_path / "starts") > 2 * supervisor.MAX_QUICK_FAILURES)
        until(lambda: states(tmp_path) == {"web": True, "beat": False})
        mended.touch()
        monkeypatch.setattr(supervisor, "STEADY_AFTER", 0.5)
        until(lambda: states(tmp_path) == {"web": True, "beat": True})
    told = capfd.readouterr().out
    assert "beat stopped (exit code 3, 9 times in a row), next start in 0.05 s" in told
    assert process_report.read(tmp_path, supervisor=os.getpid()) is None


def test_one_that_is_killed_and_killed_and_then_stopped_is_started_again(tmp_path):
    """Before the portal is ready, too: those who kill it do not show that it cannot run."""
    starts = tmp_path / "starts"
    script = f"echo again >> {starts}; [ $(wc -l < {starts}) = 7 ] && exit 0; kill -KILL $$"
    with running({"web": sh(script)}):
        until(lambda: count(starts) > supervisor.MAX_QUICK_FAILURES + 3)


def test_one_that_cannot_be_started_is_tried_again(web, settings, tmp_path, capfd):
    settings.BASE_DIR = tmp_path / "later"
    with running({"web": web, "worker": sh(f"echo again >> {tmp_path}/starts; exec sleep 60")}):
        until(lambda: "worker  | cannot be started: " in capfd.readouterr().out)
        settings.BASE_DIR.mkdir()
        until(lambda: count(tmp_path / "starts") == 1)


def test_a_database_server_that_cannot_be_started_is_tried_again(
    web, settings, monkeypatch, tmp_path, capfd
):
    monkeypatch.setattr(supervisor, "DATABASE_CHECK_INTERVAL", 0)
    damaged = tmp_path / "postgres" / "cluster"
    damaged.mkdir(parents=True)
    for folder in (damaged.parent, damaged):
        folder.chmod(0o700)
        if os.geteuid() == 0:
            entry = pwd.getpwnam("nobody")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
    settings.EMBEDDED_POSTGRES = True
    with running({"web": web}):
        for _ in range(2):
            until(lambda: "PostgreSQL cannot be started, next try in" in capfd.readouterr().out)
        until(lambda: states(tmp_path) == {"web": True})


def test_it_goes_on_when_nothing_can_be_printed(web, monkeypatch, tmp_path):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        chatty = sh(f"echo again; echo again >> {tmp_path}/starts; exit 1")
        with running({"web": web, "worker": chatty}):
            until(lambda: count(tmp_path / "starts") > supervisor.MAX_QUICK_FAILURES)
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space left"):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_report_that_is_old_or_of_another_supervisor_counts_for_nothing(tmp_path):
    process_report.write(tmp_path, {"web": process_report.ProcessState(True, 0)})
    assert states(tmp_path) == {"web": True}
    assert process_report.read(tmp_path, supervisor=1) is None
    report = tmp_path / "processes.json"
    os.utime(report, (time.time() - 90, time.time() - 90))
    assert states(tmp_path) == {}
    report.write_text("")
    assert states(tmp_path) == {}


def test_one_that_does_not_stop_is_killed_with_its_children(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT", 1)
    deaf = sh(f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60")
    with running({"web": deaf}):
        until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
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
