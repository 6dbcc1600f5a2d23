"""The commands, as people and scripts use them."""

import json
import stat
import subprocess
import sys

import pytest

from boot.tests.portal import ROOT


def rows(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# --- login ---------------------------------------------------------------------------------------


def test_a_login_is_tried_and_kept_for_this_user_alone(place):
    unnamed = {"DOORITO_SERVER": "", "DOORITO_TOKEN": ""}
    refused = place.run("login", place.portal.url, "--token", "-", stdin="drt_wrong\n", **unnamed)
    assert (refused.returncode, "token_invalid" in refused.stderr) == (3, False)
    assert place.run("ls", **unnamed).returncode == 1

    done = place.run("login", place.portal.url, "--token", "-", stdin=f"{place.token}\n", **unnamed)
    assert done.returncode == 0, done.stderr
    kept = place.folder / "config" / "doorito" / "client.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert place.token not in done.stdout + done.stderr
    assert place.run("ls", "--limit", "1", **unnamed).returncode == 0

    assert place.run("logout", **unnamed).returncode == 0
    assert place.token not in kept.read_text()
    lost = place.run("ls", **unnamed)
    assert (lost.returncode, lost.stderr.count("\n")) == (1, 1)
    assert "doorito-client login" in lost.stderr


def test_no_answer_is_exit_code_6(place):
    refused = place.run("login", "http://127.0.0.1:9", "--token", "-", stdin="drt_x\n")
    assert (refused.returncode, refused.stderr.count("\n")) == (6, 1)
    assert place.run("ls", "--server", "ftp://x").returncode == 1


# --- files ---------------------------------------------------------------------------------------


def test_upload_prints_ids_and_download_brings_the_file_back(place):
    path = place.file("there and back", 100_000)
    uploaded = place.run("upload", path, "--meta", "project=alpha")
    file_id = uploaded.stdout.split()[0]
    assert uploaded.stdout == f"{file_id}  {path}\n"
    (place.folder / "out").mkdir()
    fetched = place.run("download", file_id, "-o", place.folder / "out")
    assert fetched.stdout == f"{place.folder}/out/there and back\n"
    assert (place.folder / "out" / "there and back").read_bytes() == path.read_bytes()
    assert rows(place.run("show", file_id, "--json"))["metadata"] == {"project": "alpha"}
    assert place.run("rm", file_id).returncode == 0
    (place.folder / "gone").mkdir()
    assert place.run("download", file_id, "-o", place.folder / "gone").returncode == 4
    assert list((place.folder / "gone").iterdir()) == []


def test_standard_input_and_output(place):
    uploaded = place.run("upload", "-", "--name", "piped.txt", "--json", stdin="from a pipe")
    (row,) = rows(uploaded)
    assert row["file"]["original_filename"] == "piped.txt"
    assert place.run("download", row["file"]["id"], "-o", "-").stdout == "from a pipe"
    assert place.run("upload", "-").returncode == 2


def test_a_folder_becomes_a_batch_that_completes(place):
    folder = place.folder / "album"
    (folder / "inner").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "inner" / "two").write_text("2")
    assert place.run("upload", folder).returncode == 2

    found = rows(place.run("upload", folder, "--recursive", "--batch", "album", "--json"))

    batch_id = found[0]["file"]["batch_id"]
    assert [row["file"]["relative_path"] for row in found] == ["album/one", "album/inner/two"]
    batch = rows(place.run("batch", "show", batch_id, "--json"))
    assert (batch["name"], batch["status"], batch["total_files"]) == ("album", "complete", 2)
    assert len(rows(place.run("batch", "files", batch_id, "--json"))) == 2
    assert batch_id in place.run("batch", "ls").stdout


def test_an_interrupted_batch_is_gone_on_with(place):
    good = place.file("good", 10)
    missing = place.folder / "later"
    missing.symlink_to(place.folder / "nowhere")
    assert place.run("upload", good, missing, "--batch", "twice").returncode == 1
    forbidden = place.folder / "\x07bad"
    forbidden.write_text("a name that the portal refuses")
    assert place.run("upload", good, forbidden, "--batch", "twice").returncode == 1
    forbidden.rename(place.folder / "good-2")

    found = rows(place.run("upload", good, place.folder / "good-2", "--batch", "twice", "--json"))

    batch = rows(place.run("batch", "show", found[0]["file"]["batch_id"], "--json"))
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 2, 2)


def test_a_file_is_consumed_once(place):
    path = place.file("once", 1000)
    file_id = place.run("upload", path).stdout.split()[0]
    taken = rows(place.run("consume", file_id, "-o", place.folder / "taken", "--json"))
    assert taken["status"] == "processed"
    assert (place.folder / "taken").read_bytes() == path.read_bytes()
    assert place.run("consume", file_id).returncode == 5


def test_a_file_is_kept_longer(place):
    file_id = place.run("upload", place.file("longer", 1)).stdout.split()[0]
    before = rows(place.run("show", file_id, "--json"))["expires_at"]
    assert rows(place.run("extend", file_id, "3d", "--json"))["expires_at"] > before
    assert place.run("extend", file_id, "soon").returncode == 2


def test_what_the_account_takes_up_is_shown(place):
    before = rows(place.run("usage", "--json"))
    place.run("upload", place.file("counted", 1234))
    after = rows(place.run("usage", "--json"))
    assert after["files"]["used"] == before["files"]["used"] + 1
    assert after["bytes"]["used"] == before["bytes"]["used"] + 1234
    assert place.client().usage().files.used == after["files"]["used"]
    told = place.run("usage").stdout.splitlines()
    assert [line[:18].rstrip() for line in told] == ["storage", "files", "uploads under way"]


@pytest.mark.parametrize("program", ["doorito-client", "doorito"])
def test_the_shell_completes_commands_and_options(place, program):
    own = [sys.executable, "-m", "doorito_client"]

    def complete(words):
        asked = {
            f"_{program.replace('-', '_').upper()}_COMPLETE": "bash_complete",
            "COMP_WORDS": f"{program} {words}",
            "COMP_CWORD": str(len(words.split())),
        }
        done = subprocess.run(
            [ROOT / "doorito"] if program == "doorito" else own,
            env=place.environment() | asked,
            capture_output=True,
            text=True,
            check=False,
        )
        return {line.split(",")[1] for line in done.stdout.splitlines()}

    assert "upload" in complete("up")
    assert "--batch" in complete("upload --ba")


def test_what_steers_a_terminal_is_not_printed(place):
    file_id = place.run("upload", place.file("plain", 1), "--name", "a\u202eb").stdout.split()[0]
    assert "\u202e" not in place.run("show", file_id).stdout


# --- The portal's own command --------------------------------------------------------------------


def test_the_portals_own_command_has_them_too(place):
    path = place.file("by-doorito", 10)
    done = subprocess.run(
        [ROOT / "doorito", "upload", path],
        env=place.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [file.status for file in place.named("by-doorito")] == ["stored"]


@pytest.mark.parametrize("command", ["events", "webhook", "run"])
def test_lists_of_the_rest_are_json(place, command):
    assert isinstance(rows(place.run(command, "ls", "--json")), list)
