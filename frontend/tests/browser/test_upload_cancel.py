"""Giving uploads up, in this tab or in another."""

from playwright.sync_api import APIResponse, Route, expect

from frontend.tests.browser.conftest import CHUNK, Gate, Window
from frontend.tests.browser.upload_page import (
    LARGE,
    PARTS,
    UPLOAD,
    cancel,
    choose,
    expect_state,
    row,
    wait_until_received,
)


def test_cancelling_gives_the_upload_up(ada: Window, make_file):
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, make_file("large.bin", CHUNK * PARTS))
    wait_until_received(ada, "large.bin", 1)
    with page.expect_response(lambda response: response.request.method == "DELETE") as answer:
        cancel(page, "large.bin")
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
    cancel(page, "dropped.bin")
    expect(page.locator("[data-upload]")).to_have_count(1)
    gate.open()
    expect_state(page, "kept.bin", "stored")
    page.get_by_role("button", name="Remove from this list: kept.bin").click()
    expect(page.locator("[data-upload]")).to_have_count(0)


def test_an_upload_that_is_cancelled_while_it_is_being_created_is_given_up(ada: Window, make_file):
    page = ada.open(UPLOAD)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/api/v1/uploads/sessions", lambda route: held.append((route, route.fetch())))
    choose(page, make_file("first.bin", LARGE), make_file("second.bin", LARGE))
    while len(held) < 2:  # the server made both; only its answers are slow
        page.wait_for_timeout(50)
    for name in ("first.bin", "second.bin"):
        cancel(page, name)
    expect(page.locator("[data-upload]")).to_have_count(0)
    for route, answer in held:
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            route.fulfill(response=answer)
    assert [file["status"] for file in ada.files()] == ["failed", "failed"]
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert batch["status"] == "failed"


def test_cancelling_too_late_says_that_the_file_is_stored(ada: Window, make_file):
    page = ada.open(UPLOAD)
    ada.expected = ("409",)
    late: list[APIResponse] = []
    page.route("**/finalize", lambda route: late.append(route.fetch()))
    choose(page, make_file("small.bin", CHUNK + 1))
    expect_state(page, "small.bin", "checking")
    while not late:
        page.wait_for_timeout(50)
    cancel(page, "small.bin")
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


def test_an_upload_that_another_tab_cancels_says_so_and_can_be_begun_anew(ada: Window, make_file):
    path = make_file("twice.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, path)
    wait_until_received(ada, path.name, 1)
    ada.expected = ("410",)
    other = ada.watch(ada.context.new_page())
    Gate(other, allowed=0)
    other.goto(ada.url + UPLOAD)
    choose(other, path)
    expect_state(other, path.name, "uploading")
    with other.expect_response(lambda response: response.request.method == "DELETE"):
        cancel(other, "twice.bin")
    gate.open()
    expect(row(page, path.name)).to_contain_text("cancelled elsewhere, in another tab perhaps")
    page.get_by_role("button", name="Retry twice.bin").click()
    expect_state(page, path.name, "stored")
