"""The upload page: what a person sees, and what goes over the network."""

import base64
import hashlib
import json
import re
from pathlib import Path

from playwright.sync_api import APIResponse, Dialog, Page, Route, expect

from frontend.tests.browser.conftest import CHUNK, LARGEST, Gate, Window

PARTS = 10
UPLOAD = "/app/upload/"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choose(page: Page, *paths: Path) -> None:
    page.locator("#choose-files").set_input_files([str(path) for path in paths])


def drop(page: Page, *paths: Path) -> None:
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            const zone = document.querySelector(".dropzone");
            for (const type of ["dragenter", "dragover", "drop"]) {
                zone.dispatchEvent(
                    new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true })
                );
            }
        }""",
        files,
    )


def row(page: Page, name: str):
    return page.locator("[data-upload]", has_text=name)


def expect_state(page: Page, name: str, state: str) -> None:
    expect(row(page, name)).to_have_attribute("data-state", state)


def percent(page: Page, name: str) -> float:
    return float(row(page, name).get_by_role("progressbar").get_attribute("value"))


def received_by_server(window: Window, name: str) -> int:
    key = window.page.evaluate(
        "(name) => Object.keys(localStorage).find((key) => key.includes(name))", name
    )
    if key is None:
        return 0
    session = json.loads(window.page.evaluate("(key) => localStorage[key]", key)).get("sessionId")
    if session is None:
        return 0
    return window.get(f"/api/v1/uploads/sessions/{session}")["received_parts_count"]


def wait_until_received(window: Window, name: str, parts: int) -> None:
    """Asks the server, since only it knows what arrived."""
    for _ in range(200):
        if received_by_server(window, name) == parts:
            return
        window.page.wait_for_timeout(50)
    raise AssertionError(f"{received_by_server(window, name)} of {parts} parts arrived")


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
    for path in (first, second):
        expect(row(page, path.name).locator("code")).to_have_text(sha256(path))

    page.get_by_role("link", name="Uploads", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="słońce.bin").click()
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
    expect(row(page, path.name).locator("code")).to_have_text(sha256(path))
    assert len(before) == 4
    assert sorted(gate.passed) == sorted(set(range(1, PARTS + 1)) - before)
    assert len(ada.files()) == 1


def test_a_pause_stops_sending_and_resume_sends_the_rest(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    page.get_by_role("button", name="Pause large.bin").click()
    expect_state(page, path.name, "paused")
    expect(page.get_by_role("heading", name="0 of 1 file stored, paused")).to_be_visible()
    assert percent(page, path.name) == 40.0
    before = set(gate.passed)
    gate.forget()
    gate.allowed = 10**9
    page.wait_for_timeout(500)
    assert gate.passed == []
    page.get_by_role("button", name="Resume large.bin").click()
    expect_state(page, path.name, "stored")
    assert sorted(gate.passed) == sorted(set(range(1, PARTS + 1)) - before)
    assert ada.files()[0]["sha256"] == sha256(path)


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
    before = set(gate.passed)
    gate.forget()
    gate.open()
    page.get_by_role("button", name="Resume large.bin").click()
    expect_state(page, path.name, "stored")
    assert sorted(gate.passed) == sorted(set(range(1, PARTS + 1)) - before)
    assert len(ada.files()) == 1


def test_files_of_a_batch_stay_together_over_a_reload(ada: Window, make_file):
    paths = [make_file(f"{number}.bin", CHUNK * 2) for number in range(6)]
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, *paths)
    expect(page.locator("[data-upload][data-state=uploading]")).to_have_count(4)
    gate.forget()
    page.reload()
    gate.open()
    choose(page, *paths)
    expect(page.get_by_role("heading", name="All 6 files are stored")).to_be_visible()
    files = ada.files()
    assert len(files) == 6
    (batch_id,) = {file["batch_id"] for file in files}
    batch = ada.get(f"/api/v1/batches/{batch_id}")
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 6, 6)


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


def test_an_empty_file_is_stored_without_any_part(ada: Window, make_file):
    path = make_file("empty.txt", 0)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=0)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert gate.passed == []
    expect(row(page, path.name).locator("code")).to_have_text(hashlib.sha256(b"").hexdigest())


def test_what_is_left_grows_smaller_without_a_jump(ada: Window):
    page = ada.open(UPLOAD)
    told = page.evaluate(
        """async () => {
            const { timeLeft } = await import("/static/js/format.js");
            return [0.2, 59, 59.5, 61, 89, 91, 3569, 3571, 7300].map(timeLeft);
        }"""
    )
    minutes = ["1 min left", "1 min left", "1 min left", "2 min left", "59 min left"]
    assert told == ["1 s left", "59 s left", *minutes, "1 h 0 min left", "2 h 2 min left"]


def test_a_lost_network_is_waited_for(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    ada.expected = ("ERR_INTERNET_DISCONNECTED",)
    ada.context.set_offline(True)
    expect(page.get_by_text("You are offline. Uploads go on by themselves")).to_be_visible()
    gate.open()
    expect(row(page, path.name)).to_contain_text("You are offline")
    gate.forget()
    gate.allowed = 0
    ada.context.set_offline(False)
    expect(row(page, path.name)).not_to_contain_text("You are offline")
    gate.open()
    expect_state(page, path.name, "stored")
    assert ada.files()[0]["sha256"] == sha256(path)


def test_a_broken_request_is_tried_again(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * 3)
    page = ada.open(UPLOAD)
    ada.expected = ("ERR_FAILED", "503")
    failed: list[str] = []

    def fail_first(route: Route) -> None:
        if route.request.url in failed:
            route.continue_()
            return
        failed.append(route.request.url)
        if len(failed) == 1:
            route.abort()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0"}, body="busy")

    page.route("**/parts/*", fail_first)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert len(failed) == 3


def test_a_lost_answer_makes_no_second_session(ada: Window, make_file):
    path = make_file("once.bin", 10)
    page = ada.open(UPLOAD)
    ada.expected = ("ERR_FAILED",)
    answers: list[int] = []

    def lose_first(route: Route) -> None:
        answer = route.fetch()
        answers.append(answer.status)
        if len(answers) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route("**/api/v1/uploads/sessions", lose_first)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert answers == [201, 200]
    assert len(ada.files()) == 1


def test_what_the_server_refuses_is_shown_in_its_words(ada: Window, make_file):
    ada.expected = ("413",)
    page = ada.open(UPLOAD)
    choose(page, make_file("large.bin", LARGEST + 1))
    expect_state(page, "large.bin", "failed")
    expect(row(page, "large.bin")).to_contain_text(f"at most {LARGEST}")
    expect(page.get_by_role("heading", name="0 of 1 file stored, 1 failed")).to_be_visible()


def test_whoever_was_logged_out_logs_in_and_goes_on(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    ada.expected = ("401", "403")
    ada.context.clear_cookies()
    gate.open()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    expect_state(page, path.name, "failed")
    other = ada.watch(ada.context.new_page())
    ada.log_in(other)
    expect(row(page, path.name)).to_contain_text("Log in again, then retry.")
    gate.forget()
    gate.allowed = 0
    page.get_by_role("button", name="Retry large.bin").click()
    expect(page.get_by_text("You are logged out.")).to_be_hidden()
    gate.open()
    expect_state(page, path.name, "stored")
    assert len(ada.files()) == 1


def test_cancelling_gives_the_upload_up(ada: Window, make_file):
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, make_file("large.bin", CHUNK * PARTS))
    wait_until_received(ada, "large.bin", 1)
    with page.expect_response(lambda response: response.request.method == "DELETE") as answer:
        page.get_by_role("button", name="Cancel large.bin").click()
    assert answer.value.status == 204
    expect(page.locator("[data-upload]")).to_have_count(0)
    assert page.evaluate("localStorage.length") == 0
    assert len(gate.passed) == 1
    assert ada.files()[0]["status"] == "failed"


def test_one_of_several_is_cancelled_or_removed_and_the_others_go_on(ada: Window, make_file):
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=0)
    choose(page, make_file("kept.bin", CHUNK * 3), make_file("dropped.bin", CHUNK * 3))
    expect(page.locator("[data-upload][data-state=uploading]")).to_have_count(2)
    page.get_by_role("button", name="Cancel dropped.bin").click()
    expect(page.locator("[data-upload]")).to_have_count(1)
    gate.open()
    expect_state(page, "kept.bin", "stored")
    page.get_by_role("button", name="Remove from this list: kept.bin").click()
    expect(page.locator("[data-upload]")).to_have_count(0)


def test_an_upload_that_is_cancelled_while_it_is_being_created_is_given_up(ada: Window, make_file):
    page = ada.open(UPLOAD)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/api/v1/uploads/sessions", lambda route: held.append((route, route.fetch())))
    choose(page, make_file("first.bin", 10), make_file("second.bin", 10))
    while len(held) < 2:  # the server made both; only its answers are slow
        page.wait_for_timeout(50)
    for name in ("first.bin", "second.bin"):
        page.get_by_role("button", name=f"Cancel {name}").click()
    expect(page.locator("[data-upload]")).to_have_count(0)
    for route, answer in held:
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            route.fulfill(response=answer)
    assert [file["status"] for file in ada.files()] == ["failed", "failed"]
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert batch["status"] == "failed"


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
    const file = (name, path) => ({
        name,
        isDirectory: false,
        file: (resolve, reject) =>
            path === null ? reject(new DOMException("gone")) : resolve(new File(["x"], name)),
    });
    let left = entries.map(([name, path]) => file(name, path));
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
    expect(notice).to_have_text("There is no file in what you dropped.")
    page.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_hidden()
    expect(page.locator("#choose-files")).to_be_focused()

    page.evaluate(FOLDER, [["locked.txt", None], ["open.txt", "open.txt"]])
    expect(notice).to_contain_text("trip/locked.txt")
    expect_state(page, "open.txt", "stored")

    gate = Gate(page, allowed=0)
    path = make_file("large.bin", CHUNK)
    choose(page, path)
    choose(page, path)
    expect(notice).to_have_text("One file is in the list already.")
    gate.open()


def test_the_focus_stays_where_the_pressed_button_was(ada: Window, make_file):
    page = ada.open(UPLOAD)
    Gate(page, allowed=0)
    choose(page, *(make_file(f"{name}.bin", CHUNK * 2) for name in ("a", "b")))
    assert page.locator("progress:indeterminate").count() == 0
    for press, then in (
        ("Pause a.bin", "Resume a.bin"),
        ("Resume a.bin", "Pause a.bin"),
        ("Cancel a.bin", "Pause b.bin"),
    ):
        page.get_by_role("button", name=press).press("Enter")
        expect(page.get_by_role("button", name=then)).to_be_focused()
    page.get_by_role("button", name="Cancel b.bin").press("Enter")
    expect(page.locator("#choose-files")).to_be_focused()


def test_of_very_many_files_the_failed_ones_are_shown_first(ada: Window):
    page = ada.open(UPLOAD)
    ada.expected = ("415",)
    session = {"session_id": "1", "status": "init", "received_bytes": 0, "total_parts": 0}
    stored = {"id": "2", "sha256": "", "batch_id": None, "expires_at": None}

    def refuse_last(route: Route) -> None:
        if route.request.post_data_json["filename"] == "204.txt":
            route.fulfill(status=415, json={"detail": "Not taken."})
        else:
            route.fulfill(json=session | {"received_parts": ""})

    page.route("**/api/v1/uploads/sessions", refuse_last)
    page.route("**/finalize", lambda route: route.fulfill(json=stored))
    page.locator("#choose-files").set_input_files(
        [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b""} for n in range(205)]
    )
    expect(page.get_by_text("and 5 more: 5 waiting")).to_be_visible()
    expect(page.get_by_text("and 5 more: 5 stored")).to_be_visible()
    expect(page.locator("[data-upload]").first).to_contain_text("204.txt")
    expect(page.get_by_role("button", name="Retry 204.txt")).to_be_visible()


def test_what_takes_long_is_asked_again_and_can_be_left(ada: Window, make_file):
    ada.page.add_init_script(
        "const real = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (milliseconds) => real(milliseconds / 300);"
    )
    page = ada.open(UPLOAD)
    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)

    page.route("**/finalize", hold)
    choose(page, make_file("giant.bin", 10))
    expect(row(page, "giant.bin")).to_contain_text("The server takes long to answer.")
    expect_state(page, "giant.bin", "checking")
    while len(asked) < 2:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Pause giant.bin").click()
    expect_state(page, "giant.bin", "paused")
    page.unroute_all()
    page.get_by_role("button", name="Resume giant.bin").click()
    expect_state(page, "giant.bin", "stored")


def test_cancelling_too_late_says_that_the_file_is_stored(ada: Window, make_file):
    page = ada.open(UPLOAD)
    ada.expected = ("409",)
    late: list[APIResponse] = []
    page.route("**/finalize", lambda route: late.append(route.fetch()))
    choose(page, make_file("small.bin", 10))
    expect_state(page, "small.bin", "checking")
    while not late:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Cancel small.bin").click()
    expect(page.locator("#upload-notice")).to_contain_text("was stored before it could be")


def test_a_file_that_another_tab_stored_is_shown_as_stored(ada: Window, make_file):
    path = make_file("twice.bin", CHUNK * 4)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, path)
    wait_until_received(ada, path.name, 1)
    ada.expected = ("410",)
    other = ada.watch(ada.context.new_page())
    other.goto(ada.url + UPLOAD)
    choose(other, path)
    expect_state(other, path.name, "stored")
    gate.open()
    expect_state(page, path.name, "stored")
    assert len(ada.files()) == 1


def test_an_upload_that_nobody_takes_says_so(ada: Window, make_file):
    page = ada.page
    page.clock.install()
    ada.open(UPLOAD)
    Gate(page, allowed=0)
    choose(page, make_file("large.bin", CHUNK))
    page.clock.run_for(1000)
    expect_state(page, "large.bin", "uploading")
    page.clock.run_for(12_000)
    expect(row(page, "large.bin")).to_contain_text("not taking anything")
    expect(row(page, "large.bin")).not_to_contain_text("/s")
