"""The targets of proposals, `make pep-…` and `make claude-pep-…`, in a copy of what they touch."""

import os
import re
import shutil
import subprocess

import pytest

from boot.tests.portal import ROOT

pytestmark = pytest.mark.process

STEPS = {
    *("research", "plan", "discuss", "todo", "preflight", "implement", "review", "finalize"),
}
# Whatever else this machine has, a `claude` for example, is out of reach.
TOOLS = (
    *("make", "sh", "awk", "basename", "cat", "cut", "date", "dirname", "grep", "head", "ls"),
    *("mkdir", "mv", "paste", "rm", "sed", "sort", "tail", "tr", "wc"),
)
NASTY = [
    """Say "hello" and 'bye'""",
    "Files / folders / ../../outside",
    "What costs $HOME, $(shell touch pwned), $$PATH and $(touch pwned)",
    "Run `touch pwned`; touch pwned | touch pwned & touch pwned",
    "C# and 100 % of {{NUMBER}} \\n \\1 & more",
    "Größe über alles: Ω",
    "-n --help",
]
FAKE_CLAUDE = """#!/bin/sh
pwd > "$RECORD.folder"
for argument; do printf '%s\\0' "$argument"; done > "$RECORD"
"""


class Checkout:
    """A copy of the repository's part that the targets touch, and a PATH of its own."""

    def __init__(self, folder):
        self.folder = folder / "a copy"  # a path with a blank
        self.bin = folder / "bin"
        self.record = folder / "record"
        for name in ("PEPs", "scripts"):
            shutil.copytree(ROOT / name, self.folder / name)
        shutil.copy(ROOT / "Makefile", self.folder)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def make(self, *words, **environment):
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env={"PATH": str(self.bin), "RECORD": str(self.record), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def new(self, title):
        """The folder of a new proposal."""
        made = self.make("pep-new", f"TITLE={title}")
        assert made.returncode == 0, made.stderr
        return self.folder / made.stdout.strip()

    def install_claude(self):
        path = self.bin / "claude"
        path.write_text(FAKE_CLAUDE)
        path.chmod(0o755)

    def arguments(self):
        """What the stand-in for `claude` was called with."""
        return self.record.read_text().split("\0")[:-1]

    def read(self, name):
        return (self.folder / "PEPs" / name).read_text()

    def files(self):
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def next_number():
    text = "\n".join(path.read_text() for path in (ROOT / "PEPs").rglob("*.md"))
    return int(max(re.findall(r"^#+ PEP (\d{4}):", text, re.M))) + 1


def refused(done):
    """The one line that says what to do."""
    assert done.returncode != 0
    assert done.stdout == ""
    line, *rest = done.stderr.splitlines()
    assert rest == [] or rest[0].startswith("make: ***")
    return line.removeprefix("Error: ")


# --- Made by hand ---------------------------------------------------------------------------------


def test_a_proposal_is_begun_completed_and_archived(checkout):
    number = f"{next_number():04}"
    folder = checkout.new("Resume uploads after a restart")
    assert folder.name == f"PEP_{number}_resume_uploads_after_a_restart"
    assert sorted(path.name for path in folder.iterdir()) == ["plan.md", "summary.md"]
    link = f"| [{number}]({folder.name}/summary.md) | Resume uploads after a restart | Proposed |"
    assert link in checkout.read("INDEX.md")

    early = checkout.make("pep-complete", f"PEP={number}")
    assert early.returncode != 0
    assert f"PEPs/{folder.name}/plan.md:10:- [ ] **Step 1**" in early.stderr
    assert f"PEPs/{folder.name}/summary.md:" in early.stderr

    for page in folder.iterdir():
        page.write_text(page.read_text().replace("- [ ]", "- [x]"))
    complete = checkout.make("pep-complete", f"PEP={number}")
    assert complete.returncode == 0, complete.stderr
    entry = re.search(r"^### PEP .*?(?=\n\n)", complete.stdout, re.M | re.S)[0]
    assert entry.startswith(f"### PEP {number}: Resume uploads after a restart\n")

    latest = checkout.folder / "PEPs" / "IMPLEMENTED" / "LATEST.md"
    before = re.findall(r"^### .*", latest.read_text(), re.M)
    head, rest = latest.read_text().split("### ", maxsplit=1)
    latest.write_text(f"{head}{entry} It was built.\n\n### {rest}")
    shutil.rmtree(folder)
    archived = checkout.make("pep-archive")
    assert archived.returncode == 0, archived.stderr
    kept = re.findall(r"^### .*", latest.read_text(), re.M)
    assert kept == [f"### PEP {number}: Resume uploads after a restart", *before][:10]
    gone = set(before) - set(kept)
    past = "".join(path.read_text() for path in latest.parent.glob("PAST_*.md"))
    assert gone
    assert all(past.count(title) == 1 for title in gone)

    assert checkout.new("Another").name.startswith(f"PEP_{int(number) + 1:04}_")


def test_archiving_again_on_the_same_day_keeps_what_was_archived(checkout):
    folder = checkout.folder / "PEPs" / "IMPLEMENTED"
    entries = [f"### Entry {number}\n\nText {number}.\n\n" for number in range(25, 0, -1)]
    for path in folder.glob("PAST_*.md"):
        path.unlink()
    for amount in (12, 18):  # two older ones are archived, then six
        known = "".join(re.findall(r"^### .*\n\n.*\n\n?", (folder / "LATEST.md").read_text(), re.M))
        newer = "".join(entries[-amount : -amount + 6] if known else entries[-amount:])
        (folder / "LATEST.md").write_text(f"# Head\n\n{newer}{known}")
        assert checkout.make("pep-archive").returncode == 0
        entries_of = [path.read_text() for path in folder.glob("PAST_*.md")]
        assert len(entries_of) == 1
        latest = re.findall(r"^### Entry (\d+)", (folder / "LATEST.md").read_text(), re.M)
        past = re.findall(r"^### Entry (\d+)", entries_of[0], re.M)
        assert len(latest) == 10
        assert [int(number) for number in latest + past] == list(range(amount, 0, -1))


def test_nothing_is_archived_where_ten_are_kept(checkout):
    before = checkout.files()
    done = checkout.make("pep-archive")
    assert done.returncode == 0
    assert done.stdout.startswith("Nothing to archive")
    assert checkout.files() == before


@pytest.mark.parametrize("title", NASTY)
def test_a_title_is_taken_as_it_is_written(checkout, title):
    folder = checkout.new(title)

    assert folder.parent == checkout.folder / "PEPs"
    assert re.fullmatch(r"PEP_\d{4}_[a-z0-9_]+", folder.name)
    shown = title.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    heading = f"# PEP {folder.name[4:8]}: {shown}\n"
    assert (folder / "summary.md").read_text().startswith(heading)
    row = f"| [{folder.name[4:8]}]({folder.name}/summary.md) | {shown} | Proposed | |"
    assert row in checkout.read("INDEX.md").splitlines()
    node = re.search(rf'P{folder.name[4:8]}\["(.*)"\]:::proposed', checkout.read("INDEX.md"))[1]
    assert '"' not in node
    assert "`" not in node
    assert list(checkout.folder.rglob("pwned")) == []


def test_blanks_around_a_title_go(checkout):
    folder = checkout.new("  About blanks  ")
    assert folder.name.endswith("_about_blanks")
    assert ": About blanks\n" in (folder / "summary.md").read_text()


@pytest.mark.parametrize("title", ["", "   ", "///", "two\nlines", "a\ttab", "x" * 101])
def test_what_is_no_title_is_refused_and_nothing_changes(checkout, title):
    before = checkout.files()
    assert "title" in refused(checkout.make("pep-new", f"TITLE={title}")).lower()
    assert checkout.files() == before


def test_without_a_title_it_says_what_to_give(checkout):
    assert "make pep-new TITLE=" in refused(checkout.make("pep-new"))


def test_a_plan_without_steps_is_not_complete(checkout):
    folder = checkout.new("Nothing to do")
    for page in folder.iterdir():
        page.write_text(page.read_text().replace("- [ ] ", "- "))
    assert "has no step" in refused(checkout.make("pep-complete", f"PEP={folder.name[4:8]}"))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("", "say which proposal: PEP=NNNN"),
        ("20", "four digits"),
        ("00 6", "four digits"),
        ("*", "four digits"),
        ("../.", "four digits"),
        ("0000", "template"),
        ("0001", "is implemented"),
        ("9999", "there is no PEP 9999"),
    ],
)
def test_a_wrong_number_is_refused(checkout, number, said):
    checkout.install_claude()
    assert said in refused(checkout.make("pep-complete", f"PEP={number}"))
    assert said in refused(checkout.make("claude-pep-plan", f"PEP={number}"))
    assert not checkout.record.exists()


# --- Handed to Claude -----------------------------------------------------------------------------


def test_help_lists_every_target(checkout):
    listed = set(re.findall(r"^[a-z-]+", checkout.make("help").stdout, re.M))
    assert {"pep-new", "pep-complete", "pep-archive", "claude-pep-draft"} <= listed
    assert {f"claude-pep-{step}" for step in STEPS} <= listed


@pytest.fixture
def proposal(checkout):
    """The name of the folder of an open proposal, whatever is open today."""
    return checkout.new("Keep files on the moon").name


@pytest.fixture
def number(proposal):
    return proposal[4:8]


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_step_hands_over_its_prompt_for_the_proposal(checkout, proposal, number, step):
    checkout.install_claude()
    done = checkout.make(f"claude-pep-{step}", f"PEP={number}")

    assert done.returncode == 0, done.stderr
    permission, mode, prompt = checkout.arguments()
    assert (permission, mode) == ("--permission-mode", "acceptEdits")
    assert f"PEPs/{proposal}" in prompt
    assert "{{" not in prompt
    template = ROOT / "scripts" / "prompts" / f"pep-{step}" / "default.md"
    assert prompt.splitlines()[-1] == template.read_text().splitlines()[-1].replace(
        "{{FOLDER}}", f"PEPs/{proposal}"
    ).replace("{{PEP}}", number)
    assert checkout.record.with_name("record.folder").read_text().strip() == str(checkout.folder)


@pytest.mark.parametrize("wanted", [*NASTY, "several\nlines\n\nof text"])
def test_a_draft_hands_over_the_description_as_it_is_written(checkout, wanted):
    checkout.install_claude()
    done = checkout.make("claude-pep-draft", f"DESC={wanted}")

    assert done.returncode == 0, done.stderr
    prompt = checkout.arguments()[2]
    assert f"<description>\n{wanted}\n</description>\n" in prompt
    assert list(checkout.folder.rglob("pwned")) == []


@pytest.mark.parametrize("words", [[], ["DESC="], ["DESC=  "]])
def test_a_draft_of_nothing_is_refused(checkout, words):
    checkout.install_claude()
    assert "DESC=" in refused(checkout.make("claude-pep-draft", *words))
    assert not checkout.record.exists()


def test_another_prompt_can_be_chosen(checkout, number):
    checkout.install_claude()
    cautious = checkout.folder / "scripts" / "prompts" / "pep-implement" / "cautious.md"
    cautious.write_text("Carefully: PEP {{PEP}}.\n")

    assert checkout.make("claude-pep-implement", f"PEP={number}", "PROMPT=cautious").returncode == 0
    assert checkout.arguments()[2] == f"Carefully: PEP {number}."

    said = refused(checkout.make("claude-pep-implement", f"PEP={number}", "PROMPT=bold"))
    assert "pep-implement/bold.md" in said
    assert "cautious default" in said
    said = refused(checkout.make("claude-pep-implement", f"PEP={number}", "PROMPT=../../install"))
    assert "name of a variant" in said


def test_the_prompt_of_a_shell_is_no_variant(checkout, number):
    checkout.install_claude()
    done = checkout.make("claude-pep-plan", f"PEP={number}", PROMPT="%n@%m %~ %# ")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", ["draft", *sorted(STEPS)])
def test_without_claude_it_says_so(checkout, number, step):
    said = refused(checkout.make(f"claude-pep-{step}", f"PEP={number}", "DESC=Something"))
    assert "the command `claude` is missing" in said
    assert f"scripts/prompts/pep-{step}/default.md" in said


def test_every_prompt_names_the_gates_or_changes_no_code():
    for step in STEPS - {"research", "discuss"}:
        prompt = (ROOT / "scripts" / "prompts" / f"pep-{step}" / "default.md").read_text()
        assert "make check" in prompt, step


def test_scripts_can_be_run():
    names = [path.name for path in (ROOT / "scripts").glob("pep-*.sh")]
    assert sorted(names) == ["pep-archive.sh", "pep-claude.sh", "pep-complete.sh", "pep-new.sh"]
    assert all(os.access(ROOT / "scripts" / name, os.X_OK) for name in names)
