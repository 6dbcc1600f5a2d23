"""Files that fit one request."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Request, Route, expect

from boot.tests.portal import Portal
from frontend.tests.browser.conftest import CHUNK, Gate, Window
from frontend.tests.browser.relay import Relay
from frontend.tests.browser.upload_page import (
    UPLOAD,
    cancel,
    choose,
    drop,
    expect_state,
    expect_stored,
    sha256,
)

FILES = "**/api/v1/files?*"


@pytest.fixture
def small(make_file) -> Path:
    return make_file("small.bin", 1000)


def requests_of_the_api(page: Page) -> list[Request]:
    """Filled from now on."""
    asked: list[Request] = []

    def note(request: Request) -> None:
        if "/api/" in request.url:
            asked.append(request)

    page.on("request", note)
    return asked


def test_a_small_file_takes_one_request_with_its_digests(ada: Window, small: Path):
    page = ada.open(UPLOAD)
    asked = requests_of_the_api(page)
    choose(page, small)
    expect_state(page, small.name, "stored")
    expect_stored(ada, small)
    (request,) = asked
    assert f"sha256={sha256(small)}" in request.url
    assert "content-digest" in request.headers


def test_many_small_files_take_one_request_each(ada: Window, make_file):
    page = ada.open(UPLOAD)
    asked = requests_of_the_api(page)
    with page.expect_response("**/close*"):
        choose(page, *(make_file(f"{number}.bin", 100) for number in range(20)))
    assert len(asked) == 22  # and a batch, opened and closed
    assert len(ada.files()) == 20


def test_an_empty_file_is_stored_without_any_part(ada: Window, make_file):
    path = make_file("empty.txt", 0)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=0)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert gate.passed == []
    expect_stored(ada, path)


def test_a_lost_answer_stores_no_file_twice(ada: Window, small: Path):
    page = ada.open(UPLOAD)
    ada.expected = ("ERR_FAILED",)
    answers: list[APIResponse] = []

    def lose_first(route: Route) -> None:
        answers.append(route.fetch())
        if len(answers) == 1:
            route.abort()
        else:
            route.fulfill(response=answers[-1])

    page.route(FILES, lose_first)
    choose(page, small)
    expect_state(page, small.name, "stored")
    assert len(answers) == 2
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_after_a_reload_an_answer_that_was_lost_is_asked_for_again(ada: Window, small: Path):
    page = ada.open(UPLOAD)
    answers: list[APIResponse] = []
    page.route(FILES, lambda route: answers.append(route.fetch()))
    choose(page, small)
    while not answers:
        page.wait_for_timeout(50)
    page.reload()
    page.unroute_all()
    choose(page, small)
    expect_state(page, small.name, "stored")
    (file,) = ada.files()
    assert answers[0].json()["id"] == file["id"]


@pytest.fixture
def relay(product: Portal) -> Iterator[Relay]:
    with Relay(product.url) as relay:
        yield relay


def test_a_small_file_that_is_cancelled_too_late_is_said_to_be_stored(
    ada: Window, small: Path, relay: Relay
):
    page = ada.open(UPLOAD, base_url=relay.url)
    relay.hold()
    choose(page, small)
    expect_state(page, small.name, "checking")
    cancel(page, "small.bin")
    expect(page.locator("[data-upload]")).to_have_count(0)
    relay.release()
    expect(page.locator("#upload-notice")).to_contain_text("was stored before it could be")
    assert len(ada.files()) == 1


def test_a_small_file_that_was_paused_while_it_was_stored_is_stored_once(
    ada: Window, small: Path, relay: Relay
):
    page = ada.open(UPLOAD, base_url=relay.url)
    relay.hold()
    choose(page, small)
    expect_state(page, small.name, "checking")
    page.get_by_role("button", name="Pause small.bin").click()
    expect_state(page, small.name, "paused")
    relay.release()
    page.get_by_role("button", name="Resume small.bin").click()
    expect_state(page, small.name, "stored")
    assert len(ada.files()) == 1


def test_a_small_file_that_is_cut_off_on_its_way_is_sent_again(
    ada: Window, make_file, relay: Relay
):
    ada.expected = ("ERR_", "409")  # the first may not have noticed yet when it is repeated
    paths = [make_file("whole.bin", CHUNK), make_file("tiny.bin", 10)]
    page = ada.open(UPLOAD, base_url=relay.url)
    relay.cut_after(CHUNK // 2)
    with page.expect_response("**/close*"):
        choose(page, *paths)
    assert relay.was_cut.is_set()
    expect_stored(ada, paths[0])
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 2, 2)


def test_files_that_are_dropped_while_the_portal_is_away_are_sent_once_it_is_back(
    ada: Window, small: Path
):
    ada.expected = ("ERR_FAILED",)
    page = ada.open("/app/uploads/")
    page.route("**/js/upload/page*.js", lambda route: route.abort())
    drop(page, small)
    notice = page.locator("#upload-notice")
    expect(notice).to_contain_text("sent as soon as it does")
    expect(notice).to_be_visible()
    page.unroute_all()
    expect_state(page, small.name, "stored")
    expect(notice).to_be_hidden()
    expect_stored(ada, small)
