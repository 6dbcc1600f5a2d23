"""The upload page: what a person sees, and what goes over the network."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Dialog, Route, expect

from frontend.tests.browser.conftest import CHUNK, LARGEST, Gate, Window
from frontend.tests.browser.upload_page import (
    LARGE,
    PARTS,
    UPLOAD,
    cancel,
    choose,
    drop,
    expect_state,
    expect_stored,
    percent,
    row,
    sha256,
    wait_until_received,
)


def test_two_dropped_files_show_progress_and_are_listed_with_their_sha256(ada: Window, make_file):
    first, second = make_file("first.bin", CHUNK * PARTS), make_file("słońce.bin", CHUNK * 2 + 1)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=6)
    drop(page, first, second)
    expect(page.get_by_role("heading", name="0 of 2 files stored")).to_be_visible()
    total = page.get_by_role("progressbar", name="All files")
    expect(total).to_have_attribute("value", re.compile("[1-9]"))
    assert 0 < float(total.get_attribute("value")) < 100
    gate.open()
    expect(page.get_by_role("heading", name="All 2 files are stored")).to_be_visible()
    expect_stored(ada, first, second)

    page.get_by_role("link", name="Files", exact=True).locator("visible=true").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("#files").get_by_role("link", name="słońce.bin").click()
    expect(page.locator("#sha256")).to_have_text(sha256(second))

    files = ada.files()
    assert {file["sha256"] for file in files} == {sha256(first), sha256(second)}
    (batch_id,) = {file["batch_id"] for file in files}
    batch = ada.get(f"/api/v1/batches/{batch_id}")
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 2, 2)


def test_after_a_reload_the_same_file_goes_on_and_sends_only_what_is_missing(
    ada: Window, make_file
):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    before = set(gate.passed)

    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.get_by_role("heading", name="Upload", exact=True).click()  # a page asks only after use
    page.reload()
    assert asked == ["beforeunload"]
    gate.forget()
    gate.open()
    choose(page, path)
    expect_state(page, path.name, "stored")
    expect_stored(ada, path)
    assert len(before) == 4
    assert sorted(gate.passed) == sorted(set(range(1, PARTS + 1)) - before)
    assert len(ada.files()) == 1


def test_a_pause_keeps_what_is_under_way_and_resume_sends_the_rest(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    page.get_by_role("button", name="Pause large.bin").click()
    expect_state(page, path.name, "pausing")
    gate.open()
    expect_state(page, path.name, "paused")
    expect(page.get_by_role("heading", name="0 of 1 file stored, paused")).to_be_visible()
    before = len(gate.passed)
    assert 4 < before < PARTS
    assert percent(page, path.name) == 100 * before / PARTS
    page.wait_for_timeout(500)
    assert len(gate.passed) == before
    page.get_by_role("button", name="Resume large.bin").click()
    expect_stored(ada, path)
    assert sorted(gate.passed) == list(range(1, PARTS + 1))


def test_a_browser_that_remembers_nothing_can_pause_too(ada: Window, make_file):
    ada.page.add_init_script(
        """for (const name of ["getItem", "setItem", "removeItem"]) {
            Storage.prototype[name] = () => { throw new DOMException("off", "SecurityError"); };
        }"""
    )
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    answered: list[str] = []
    page.on("requestfinished", lambda request: answered.append(request.url))
    choose(page, path)
    while sum("/parts/" in url for url in answered) < 4:
        page.wait_for_event("requestfinished")
    page.get_by_role("button", name="Pause large.bin").click()
    page.get_by_role("button", name="Stop now large.bin").click()
    before = set(gate.passed)
    gate.forget()
    gate.open()
    page.get_by_role("button", name="Resume large.bin").click()
    expect_state(page, path.name, "stored")
    assert sorted(gate.passed) == sorted(set(range(1, PARTS + 1)) - before)
    assert len(ada.files()) == 1


def test_a_folder_keeps_its_paths_and_names_its_batch(ada: Window, make_file, tmp_path: Path):
    make_file("trip/one.bin", 10)
    make_file("trip/sea/two.bin", CHUNK + 1)
    make_file("trip/sea/empty.bin", 0)
    page = ada.open(UPLOAD)
    page.locator("#choose-folder").set_input_files(tmp_path / "trip")
    expect(page.get_by_role("heading", name="All 3 files are stored")).to_be_visible()
    files = ada.files()
    assert {file["relative_path"] for file in files} == {
        "trip/one.bin",
        "trip/sea/two.bin",
        "trip/sea/empty.bin",
    }
    assert ada.get(f"/api/v1/batches/{files[0]['batch_id']}")["name"] == "trip"


def test_what_the_server_refuses_is_shown_in_its_words(ada: Window, make_file):
    ada.expected = ("413",)
    page = ada.open(UPLOAD)
    choose(page, make_file("large.bin", LARGEST + 1))
    expect_state(page, "large.bin", "failed")
    expect(row(page, "large.bin")).to_contain_text(f"at most {LARGEST}")
    expect(page.get_by_role("heading", name="0 of 1 file stored, 1 failed")).to_be_visible()


def test_a_file_that_is_stored_is_not_stored_again_unless_it_is_asked_for(ada: Window, make_file):
    path = make_file("report.pdf", CHUNK + 1)
    page = ada.open(UPLOAD)
    choose(page, path)
    expect_state(page, path.name, "stored")
    page.reload()
    choose(page, path)
    expect(row(page, path.name)).to_contain_text("was stored already")
    expect_state(page, path.name, "stored")
    assert len(ada.files()) == 1
    page.get_by_role("button", name="Upload again: report.pdf").click()
    expect(row(page, path.name)).not_to_contain_text("was stored already")
    expect_state(page, path.name, "stored")
    first, second = ada.files()
    assert first["sha256"] == second["sha256"]

    for file in (first, second):
        ada.delete(f"/api/v1/files/{file['id']}")
    page.reload()
    choose(page, path)
    expect(row(page, path.name)).not_to_contain_text("was stored already")
    expect_state(page, path.name, "stored")


FOLDER = """(entries) => {
    // A folder as a drop gives it. Only a person can drop a real one.
    const file = (name, content) => ({
        name,
        isDirectory: false,
        file: (resolve, reject) => content ? resolve(content) : reject(new DOMException("gone")),
    });
    let left = entries.map(([name, path]) => file(name, path && new File(["x"], name)));
    const folder = {
        name: "trip",
        isDirectory: true,
        createReader: () => ({
            readEntries: (resolve) => { resolve(left); left = []; },
        }),
    };
    const items = [{ kind: "file", webkitGetAsEntry: () => folder, getAsFile: () => null }];
    const event = new Event("drop", { bubbles: true, cancelable: true });
    Object.defineProperty(event, "dataTransfer", { value: { items, types: ["Files"] } });
    document.querySelector(".dropzone").dispatchEvent(event);
}"""


def test_what_cannot_be_taken_is_said_and_costs_nothing_else(ada: Window, make_file):
    page = ada.open(UPLOAD)
    notice = page.locator("#upload-notice")
    page.evaluate(FOLDER, [])
    expect(notice).to_contain_text("is an empty folder: only files are uploaded.")
    page.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_hidden()
    expect(page.locator("#choose-files")).to_be_focused()

    page.evaluate(FOLDER, [["locked.txt", None], ["open.txt", "open.txt"]])
    expect(notice).to_contain_text("trip/locked.txt")
    expect_state(page, "open.txt", "stored")

    gate = Gate(page, allowed=0)
    path = make_file("large.bin", LARGE)
    choose(page, path)
    choose(page, path)
    expect(notice).to_have_text("One file is in the list already.")
    gate.open()


def test_the_focus_stays_where_the_pressed_button_was(ada: Window, make_file):
    page = ada.open(UPLOAD)
    Gate(page, allowed=0)
    choose(page, *(make_file(f"{name}.bin", CHUNK * 2) for name in ("a", "b")))
    expect(page.locator("[data-upload][data-state=uploading]")).to_have_count(2)
    page.wait_for_timeout(500)  # until both are sending
    assert page.locator("progress:indeterminate").count() == 0
    for press, then in (
        ("Pause a.bin", "Stop now a.bin"),
        ("Stop now a.bin", "Resume a.bin"),
        ("Resume a.bin", "Pause a.bin"),
        ("Cancel a.bin", "Undo a.bin"),
        ("Undo a.bin", "Pause a.bin"),
        ("Cancel a.bin", "Undo a.bin"),
        ("Give up now: a.bin", "Pause b.bin"),
    ):
        page.get_by_role("button", name=press).press("Enter")
        expect(page.get_by_role("button", name=then)).to_be_focused()
    for press in ("Cancel b.bin", "Give up now: b.bin"):
        page.get_by_role("button", name=press).press("Enter")
    expect(page.locator("#choose-files")).to_be_focused()


def test_of_very_many_files_those_in_view_are_drawn_and_failed_ones_first(ada: Window):
    page = ada.open(UPLOAD)
    ada.expected = ("415",)
    stored = {"id": "2", "sha256": "", "batch_id": None, "expires_at": None}

    def refuse_last(route: Route) -> None:
        if "filename=204.txt" in route.request.url:
            route.fulfill(status=415, json={"code": "type_not_allowed", "detail": "Not taken."})
        else:
            route.fulfill(json=stored)

    page.route("**/api/v1/files?*", refuse_last)
    page.locator("#choose-files").set_input_files(
        [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b""} for n in range(205)]
    )
    title = "204 of 205 files stored, 1 failed"
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    assert page.locator("[data-upload]").count() < 40  # those in view
    expect(page.locator("[data-upload]").first).to_contain_text("204.txt")
    expect(page.get_by_role("button", name="Retry 204.txt")).to_be_visible()


def test_a_drop_on_any_page_uploads_and_goes_on_while_one_walks_about(ada: Window, make_file):
    path = make_file("large.bin", LARGE)
    page = ada.open("/app/")
    gate = Gate(page, allowed=4)
    drop(page, path)
    wait_until_received(ada, path.name, 4)
    expect(page).to_have_title(re.compile(r"^[4-6]\d % · Dashboard"))
    page.get_by_role("link", name="Files", exact=True).locator("visible=true").click()
    expect(page.get_by_role("heading", name="Files", exact=True)).to_be_visible()
    expect(page).to_have_title(re.compile(r"^[4-6]\d % · Files"))
    page.go_back()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
    gate.open()
    expect_stored(ada, path)
    page.get_by_role("link", name="View file", exact=True).click()
    expect(page.get_by_role("heading", name="large.bin")).to_be_visible()


def test_what_another_browser_began_is_listed_and_goes_on_with_the_same_file(
    ada: Window, make_file
):
    path, other = make_file("large.bin", LARGE), make_file("other/large.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    page.evaluate("localStorage.clear()")
    page.reload()
    gate.forget()
    gate.open()
    kept = page.locator("[data-kept]")
    expect(kept).to_contain_text("256 KiB of 640 KiB kept: choose the file again")
    ada.expected = ("409",)
    kept.locator("input").set_input_files(other)
    expect(row(page, path.name)).to_contain_text("This is another file")
    cancel(page, path.name)
    page.reload()
    gate.passed.clear()
    kept.locator("input").set_input_files(path)
    expect_stored(ada, path)
    assert sorted(gate.passed) == [1, 4, *range(5, PARTS + 1)]


def test_a_clock_that_is_days_ahead_sends_nothing_twice(ada: Window, make_file):
    path = make_file("report.pdf", CHUNK + 1)
    ada.page.clock.install(time=datetime.now(tz=UTC) + timedelta(days=40))
    page = ada.open(UPLOAD)
    choose(page, path)
    expect_state(page, path.name, "stored")
    page.reload()
    choose(page, path)
    expect(row(page, path.name)).to_contain_text("was stored already")
    assert len(ada.files()) == 1


def test_a_name_with_every_kind_of_character_arrives_as_it_is(ada: Window, make_file):
    path = make_file("50% & more #1 słońce + ?.txt", 10)
    page = ada.open(UPLOAD)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert ada.files()[0]["original_filename"] == path.name


def test_a_name_that_the_server_refuses_says_what_to_do(ada: Window):
    ada.expected = ("400",)
    page = ada.open(UPLOAD)
    page.locator("#choose-files").set_input_files(
        [{"name": "two\\parts.txt", "mimeType": "text/plain", "buffer": b"x"}]
    )
    expect(page.locator("[data-upload]")).to_contain_text("Rename the file, then choose it again.")
