"""Which files form a batch, and when it is closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from frontend.tests.browser.conftest import CHUNK, LARGEST, Gate, Window
from frontend.tests.browser.upload_page import (
    UPLOAD,
    cancel,
    choose,
    expect_state,
    row,
)

NO_ROOM = {"code": "no_room", "detail": "The portal's disk has no room for this file."}


def refuse(page: Page, *names: str) -> None:
    """There is no room for files of these names, until `page.unroute_all()`."""

    def answer(route: Route) -> None:
        if any(f"filename={name}" in route.request.url for name in names):
            route.fulfill(status=507, json=NO_ROOM)
        else:
            route.continue_()

    page.route("**/api/v1/files?*", answer)


@contextmanager
def closing(page: Page) -> Iterator[None]:
    """What is done in the block leads to the batch's closing."""
    with page.expect_response("**/close*") as answer:
        yield
    assert answer.value.status == 200


def batch(window: Window) -> tuple:
    (only,) = window.get("/api/v1/batches")["items"]
    return only["status"], only["total_files"], only["stored_count"], only["failed_count"]


@pytest.fixture
def four(make_file) -> list[Path]:
    return [make_file(f"{number}.bin", 10 + number) for number in range(4)]


def test_files_of_a_batch_stay_together_over_a_reload(ada: Window, make_file):
    paths = [make_file(f"{number}.bin", CHUNK * 2) for number in range(8)]
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, *paths)
    expect(page.locator("[data-upload][data-state=uploading]")).to_have_count(6)
    gate.forget()
    page.reload()
    gate.open()
    with closing(page):
        choose(page, *paths)
    expect(page.get_by_role("heading", name="All 8 files are stored")).to_be_visible()
    assert len(ada.files()) == 8
    assert batch(ada) == ("complete", 8, 8, 0)


def test_a_batch_stays_open_while_refused_files_can_be_tried_again(ada: Window, four):
    ada.expected = ("507",)
    page = ada.open(UPLOAD)
    refuse(page, "1.bin", "2.bin")
    choose(page, *four)
    expect(page.get_by_role("heading", name="2 of 4 files stored, 2 failed")).to_be_visible()
    assert batch(ada) == ("in_progress", 2, 2, 0)
    page.unroute_all()
    with closing(page):
        page.get_by_role("button", name="Retry failed").click()
    assert batch(ada) == ("complete", 4, 4, 0)


def test_refused_files_that_are_given_up_make_a_batch_partial(ada: Window, four):
    ada.expected = ("507",)
    page = ada.open(UPLOAD)
    refuse(page, "1.bin", "2.bin")
    choose(page, *four)
    expect(page.get_by_role("heading", name="2 of 4 files stored, 2 failed")).to_be_visible()
    cancel(page, "1.bin")
    with closing(page):
        cancel(page, "2.bin")
    assert batch(ada) == ("partial", 4, 2, 2)


def test_a_file_that_would_always_be_refused_keeps_no_batch_open(ada: Window, make_file):
    ada.expected = ("413",)
    page = ada.open(UPLOAD)
    with closing(page):
        choose(page, make_file("huge.bin", LARGEST + 1), make_file("small.bin", 10))
    expect_state(page, "huge.bin", "failed")
    assert batch(ada) == ("partial", 2, 1, 1)


def test_a_file_that_is_given_up_before_its_turn_does_not_count(ada: Window, make_file):
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=0, address=Gate.FILES)
    choose(page, *(make_file(f"{number}.bin", 10) for number in range(8)))
    expect(page.locator("[data-upload][data-state=waiting]")).to_have_count(2)
    for name in ("6.bin", "7.bin"):
        cancel(page, name)
    with closing(page):
        gate.open()
    assert batch(ada) == ("complete", 6, 6, 0)


def test_a_lost_closing_is_repeated(ada: Window, four):
    ada.expected = ("ERR_FAILED",)
    page = ada.open(UPLOAD)
    lost: list[str] = []

    def lose_first(route: Route) -> None:
        lost.append(route.request.url)
        if len(lost) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/close*", lose_first)
    with closing(page):
        choose(page, *four)
    assert len(lost) == 2
    assert batch(ada) == ("complete", 4, 4, 0)


def test_a_refused_file_that_is_chosen_again_after_a_reload_joins_its_batch(ada: Window, four):
    ada.expected = ("507",)
    page = ada.open(UPLOAD)
    refuse(page, "1.bin")
    choose(page, *four)
    expect(page.get_by_role("heading", name="3 of 4 files stored, 1 failed")).to_be_visible()
    page.reload()
    page.unroute_all()
    with closing(page):
        choose(page, four[1])
    assert batch(ada) == ("complete", 4, 4, 0)
    assert all(file["batch_id"] for file in ada.files())


def test_a_refused_file_that_is_chosen_again_goes_on_in_its_row(ada: Window, four):
    ada.expected = ("507",)
    page = ada.open(UPLOAD)
    refuse(page, "1.bin")
    choose(page, *four)
    expect_state(page, "1.bin", "failed")
    page.unroute_all()
    with closing(page):
        choose(page, four[1])
    expect(page.locator("[data-upload]")).to_have_count(4)
    assert batch(ada) == ("complete", 4, 4, 0)


def test_a_batch_that_was_closed_elsewhere_keeps_no_file_from_being_stored(ada: Window, four):
    ada.expected = ("507", "409")
    page = ada.open(UPLOAD)
    refuse(page, "1.bin")
    choose(page, *four)
    expect_state(page, "1.bin", "failed")
    expect(page.locator("[data-upload][data-state=stored]")).to_have_count(3)
    (opened,) = ada.get("/api/v1/batches")["items"]
    ada.post(f"/api/v1/batches/{opened['id']}/close")
    page.unroute_all()
    page.get_by_role("button", name="Retry 1.bin").click()
    expect_state(page, "1.bin", "stored")
    assert [file["batch_id"] for file in ada.files()].count(None) == 1
    expect(row(page, "1.bin")).not_to_contain_text("closed")
