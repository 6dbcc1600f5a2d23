"""`./doorito up`, end to end."""

import os
import signal
import socket
import subprocess
import time

import httpx
import psutil
import pytest

from boot.errors import STOPPED
from boot.tests.portal import ROOT, Portal

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def own():
    """A portal that these tests start and stop as they like."""
    with Portal() as own:
        yield own


@pytest.fixture
def started(own):
    if not own.processes:
        own.start()
    return own


def all_processes(portal):
    """Those of the portal with all their children, the database's backends included."""
    found = set(portal.processes.values())
    return found | {child for process in found for child in process.children(recursive=True)}


def until(condition, *, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_it_serves_tells_its_address_and_creates_the_first_administrator(started):
    health = httpx.get(f"{started.url}/healthz/").json()
    assert health["status"] == "ok"
    assert f"Created the administrator {started.admin_email}." in started.logs()
    assert started.admin_password not in started.logs()
    until(lambda: f"Doorito is ready: http://localhost:{started.port}/" in started.logs())


def test_it_listens_on_loopback_only(started):
    found = [c.laddr for p in all_processes(started) for c in p.net_connections("inet")]
    assert set(found) == {("127.0.0.1", started.port)}


def test_sigterm_stops_everything_and_a_second_start_works(started):
    running = all_processes(started)
    assert started.stop() == 0
    assert psutil.wait_procs(running, timeout=5)[1] == []
    started.start()
    assert started.logs().count("Created the administrator") == 1


def test_ctrl_c_stops_it_with_exit_code_0(started):
    assert started.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(("command", "code"), [("up", 0), ("check", STOPPED)], ids=["up", "check"])
def test_ctrl_c_during_the_first_start_is_no_failure_and_leaves_nothing(command, code):
    with Portal() as fresh:
        # A group of its own, as a terminal makes one: Ctrl-C goes to all of it.
        process = subprocess.Popen(
            [ROOT / "doorito", command],
            env=fresh.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        until((fresh.data_dir / "postgres" / "cluster.new").exists)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert (said.splitlines()[-1], process.returncode) == ("Stopped.", code)
        assert not (fresh.data_dir / "postgres" / "cluster" / "postmaster.pid").exists()


def test_a_killed_supervisor_takes_its_processes_along_and_the_next_one_starts(started):
    mine = all_processes(started) - all_backends(started)
    started.kill("supervisor")
    assert psutil.wait_procs(mine, timeout=10)[1] == []
    started.start()
    assert started.stop() == 0


def all_backends(portal):
    server = portal.processes["postgres"]
    return {server, *server.children(recursive=True)}


def test_a_second_one_on_the_same_data_directory_is_refused_in_one_line(started):
    refused = started.run("up")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "runs with the data directory" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_port_in_use_is_refused_in_one_line():
    with Portal() as other, socket.socket() as taken:
        taken.bind(("127.0.0.1", other.port))
        taken.listen()
        refused = other.run("up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: Cannot listen on 127.0.0.1:{other.port}: ")
    assert "WEB_PORT" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_bad_settings_are_refused_before_anything_is_made():
    with Portal(environment={"WEB_THREADS": "0"}) as other:
        refused = other.run("up")
        assert not other.data_dir.joinpath("postgres").exists()
    assert refused.returncode == 1
    assert "WEB_THREADS must be at least 1, not 0." in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_line():
    with Portal(environment={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}) as other:
        refused = other.run("check")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: The database does not answer: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_a_killed_process_comes_back(started, name):
    killed = started.processes[name]
    started.kill(name)
    until(lambda: name in started.processes and started.processes[name] != killed)
    started.wait()


def test_a_killed_database_server_comes_back(started):
    started.kill("postgres")
    until(lambda: "PostgreSQL stopped" in started.logs())
    started.wait()
