"""Every page as the browser sees it: no error, no policy violation, no sideways scrolling."""

import json
import re

import pytest
from playwright.sync_api import expect

from boot.tests.portal import Portal
from common.tests.receiver import Receiver
from frontend.tests.browser.conftest import Window

OPEN_PAGES = ["/app/login/", "/app/register/", "/app/password/reset/"]
PAGES = [
    *("/app/", "/app/upload/", "/app/uploads/", "/app/batches/", "/app/help/"),
    *("/app/tokens/", "/app/password/change/"),
]
LONG = "a-very-long-name-without-any-place-to-break-it-" * 5  # 235 bytes


def overflow(window: Window) -> int:
    return window.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_scrolls_sideways_or_logs_an_error(ada: Window, width: int):
    file_id = ada.store(f"{LONG}.txt", metadata={"note": LONG, LONG: 1})
    ada.page.set_viewport_size({"width": width, "height": 800})
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)
        for path in [*PAGES, f"/app/uploads/{file_id}/"]:
            ada.open(path)
            assert overflow(ada) <= 0, (path, width)
    ada.context.clear_cookies()
    for path in OPEN_PAGES:
        ada.open(path)
        assert overflow(ada) <= 0, (path, width)


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_of_staff_scrolls_sideways_or_logs_an_error(
    grace: Window, product: Portal, width: int
):
    added = product.run(
        "webhook", "add", f"http://127.0.0.1:9/{LONG}", "--description", LONG, "--json"
    )
    endpoint = f"/app/webhooks/{json.loads(added.stdout)['id']}/"
    try:
        page = grace.open(endpoint)
        page.set_viewport_size({"width": width, "height": 800})
        page.get_by_role("button", name="Send test event").click()
        result = page.get_by_role("link", name="Open this delivery")
        delivery = result.get_attribute("href")
        assert overflow(grace) <= 0
        page.goto(grace.url + delivery)
        event = page.locator("main a[href^='/app/events/']").get_attribute("href")
        paths = [endpoint, f"{endpoint}edit/", f"{endpoint}?since=2026-01-01T00:00:00Z"]
        paths += ["/app/webhooks/", "/app/webhooks/new/", "/app/events/", delivery, event]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for path in paths:
                grace.open(path)
                assert overflow(grace) <= 0, (path, width)
    finally:
        product.run("webhook", "remove", endpoint.split("/")[-2])


@pytest.mark.parametrize("width", [375, 1280])
def test_a_file_with_the_longest_name_fits_the_upload_page(ada: Window, make_file, width: int):
    ada.page.set_viewport_size({"width": width, "height": 800})
    page = ada.open("/app/upload/")
    page.locator("#choose-files").set_input_files(str(make_file(f"{'n' * 251}.bin", 10)))
    expect(page.locator("[data-upload]")).to_have_attribute("data-state", "stored")
    assert overflow(ada) <= 0
    fits = "(row) => row.scrollWidth <= row.clientWidth"
    assert page.locator("[data-upload]").evaluate(fits)


def test_a_call_tried_in_the_documentation_of_the_api_is_made_with_the_session(ada: Window):
    page = ada.open("/api/v1/docs")
    page.locator(".opblock-post", has_text="/api/v1/batches").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("textarea").first.fill('{"name": "From the documentation"}')
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("201")
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert batch["name"] == "From the documentation"


def test_violations_of_the_policy_would_be_noticed(window: Window):
    page = window.open("/app/login/")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))"
    )
    page.wait_for_function("true")
    assert any("Content Security Policy" in problem for problem in window.problems)
    window.expected = ("Content Security Policy",)


def test_the_keyboard_reaches_the_content_and_the_file_inputs(ada: Window):
    page = ada.open("/app/upload/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#choose-files")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#choose-folder")).to_be_focused()


def test_the_list_is_filtered_loads_more_and_fifty_files_are_deleted_at_once(
    ada: Window,
):
    for number in range(60):
        ada.store(f"{number}.txt")
    ada.store("holiday.jpg")
    page = ada.open("/app/uploads/")
    expect(page.locator("tbody tr:not([data-more])")).to_have_count(50)
    page.get_by_role("link", name="Load more").click()
    expect(page.locator("tbody tr")).to_have_count(61)
    expect(page.locator("tbody tr:nth-child(51) a[title]")).to_be_focused()

    page.get_by_label("Search by name").fill("holi")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/app/uploads/\?.*search=holi&"))
    page.get_by_label("Search by name").fill("nothing like it")
    expect(page.get_by_text("No file matches").first).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="holiday.jpg")).to_be_visible()

    page.get_by_label("Search by name").fill("")
    expect(page.locator("tbody tr:not([data-more])")).to_have_count(50)
    page.locator("#choose-all").check()
    expect(page.get_by_text("50 files chosen")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("50 files are deleted.")).to_be_visible()


def test_deleting_asks_first(ada: Window):
    file_id = ada.store("old.txt")
    page = ada.open(f"/app/uploads/{file_id}/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    assert page.get_by_role("dialog").evaluate("(dialog) => dialog.matches(':modal')")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("old.txt is deleted.")).to_be_visible()


def test_a_files_page_follows_its_delivery(ada: Window, product: Portal):
    with Receiver() as receiver:
        added = product.run(
            "webhook", "add", receiver.url, "--description", "Transcriber", "--json"
        )
        endpoint = json.loads(added.stdout)
        try:
            page = ada.open(f"/app/uploads/{ada.store('note.txt')}/")
            delivery = page.locator("#events li", has_text="file.uploaded")
            expect(delivery).to_contain_text("Transcriber")
            expect(delivery.locator(".badge")).to_have_text("Delivered", timeout=20_000)
            delivery.get_by_text("1 attempt").click()
            expect(delivery.get_by_text("HTTP 200")).to_be_visible()
            assert len(receiver.received) == 1
        finally:
            product.run("webhook", "remove", endpoint["id"])
