"""The record of proposals in PEPs/: complete, consistent, and true about commits."""

import re
import subprocess

import pytest

from boot.tests.portal import ROOT

PEPS = ROOT / "PEPs"
RECORDS = sorted((PEPS / "IMPLEMENTED").glob("*.md"))
FOLDERS = [path for path in sorted(PEPS.glob("PEP_*")) if path.name != "PEP_0000_template"]
INDEX = (PEPS / "INDEX.md").read_text()
FIRST_COMMIT = "79db60e"
STATUSES = {"Proposed", "Accepted", "Implementing", "Rejected", "Deferred", "Withdrawn"}
ENTRY = re.compile(
    r"### (?:PEP (?P<number>\d{4}): )?(?P<title>.+)\n"
    r"- \*\*Implemented\*\*: (?P<date>\d{4}-\d\d-\d\d)\n"
    r"- \*\*Commit\(s\)\*\*: (?P<commits>`[0-9a-f]{7,40}`(?:, `[0-9a-f]{7,40}`)*)\n"
    r"- \*\*Summary\*\*: (?P<summary>.+)"
)


def entries(path):
    return [ENTRY.match(part) for part in re.split(r"^(?=### )", path.read_text(), flags=re.M)[1:]]


def implemented():
    """Titles and dates of all entries, by number."""
    found = [entry for path in RECORDS for entry in entries(path) if entry["number"]]
    return {entry["number"]: (entry["title"], entry["date"]) for entry in found}


def numbers_of(folders):
    return [folder.name[4:8] for folder in folders]


def rows(heading):
    """Of the index: the cells of each row of the table below a heading."""
    section = INDEX.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| \[?\d{4}", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_every_entry_of_the_record_is_complete(path):
    assert entries(path)
    assert None not in entries(path)


def test_the_newest_file_has_ten_entries_at_most_and_no_file_repeats_one():
    assert len(entries(PEPS / "IMPLEMENTED" / "LATEST.md")) <= 10
    numbers = [entry["number"] for path in RECORDS for entry in entries(path) if entry["number"]]
    assert sorted(numbers) == sorted(set(numbers))


def test_the_newest_entries_come_first():
    past = sorted((path for path in RECORDS if path.name.startswith("PAST_")), reverse=True)
    dates = [
        entry["date"]
        for path in [PEPS / "IMPLEMENTED" / "LATEST.md", *past]
        for entry in entries(path)
    ]
    assert dates == sorted(dates, reverse=True)


def test_every_number_is_used_once():
    numbers = [*implemented(), *numbers_of(FOLDERS)]
    assert sorted(numbers) == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_the_index_lists_what_is_implemented():
    listed = {number: (title, date) for number, title, date in rows("Implemented")}
    assert listed == implemented()


def test_the_index_lists_what_is_under_way_with_its_status():
    listed = rows("Under way")
    assert [re.match(r"\[(\d{4})\]", row[0])[1] for row in listed] == numbers_of(FOLDERS)
    for folder, (link, title, status, *_) in zip(FOLDERS, listed, strict=True):
        summary = (folder / "summary.md").read_text()
        assert link.endswith(f"]({folder.name}/summary.md)")
        assert summary.startswith(f"# PEP {folder.name[4:8]}: {title}\n")
        assert f"| **Status** | {status} |" in summary
        assert status in STATUSES


def test_the_graph_has_every_proposal_and_its_state():
    graph = INDEX.split("```mermaid\n")[1].split("```")[0]
    nodes = dict(re.findall(r"^ +P(\d{4})\[\".+\"\]:::(\w+)$", graph, re.M))
    expected = dict.fromkeys(implemented(), "implemented")
    expected |= {row[0][1:5]: row[2].lower() for row in rows("Under way")}
    assert nodes == expected
    assert set(re.findall(r"P(\d{4})", graph.split("%% new proposals above")[1])) == set(nodes)


def test_what_is_under_way_has_a_plan_with_steps():
    for folder in FOLDERS:  # perhaps none
        plan = (folder / "plan.md").read_text()
        assert re.search(r"^- \[[ x]\] \*\*Step", plan, re.M), folder


@pytest.mark.parametrize("page", sorted(PEPS.rglob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_what_the_record_names_exists(path):
    named = re.findall(
        r"`((?:boot|common|accounts|uploads|frontend|static)/[\w/.-]*)`", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.process
def test_every_commit_named_is_one_of_this_history():
    """Where the history is there in full: an archive or a shallow copy cannot tell."""
    named = set(re.findall(r"`([0-9a-f]{7,40})`", "\n".join(map(_text, PEPS.rglob("*.md")))))
    assert FIRST_COMMIT in named
    if is_commit(FIRST_COMMIT):
        assert [commit for commit in sorted(named) if not is_commit(commit)] == []


def is_commit(name):
    command = ["git", "-C", ROOT, "cat-file", "-e", f"{name}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _text(path):
    return path.read_text()
