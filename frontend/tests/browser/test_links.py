"""A stranger with an upload link, or a share link, in a browser of their own."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from boot.tests.portal import Portal
from frontend.tests.browser.conftest import PATIENCE, Gate, Window
from frontend.tests.browser.upload_page import LARGE, choose, drop, expect_state, row


@pytest.fixture
def stranger(chromium: Browser, product: Portal) -> Iterator[Window]:
    """Whose browser has never seen the portal."""
    context = chromium.new_context(viewport={"width": 360, "height": 800})
    context.set_default_timeout(PATIENCE)
    window = Window(url=product.url, context=context, page=context.new_page())
    window.watch(window.page)
    yield window
    context.close()
    assert window.unexpected() == []


def link_of(owner: Window, **values: Any) -> dict[str, Any]:
    owner.open("/app/links/")  # for the CSRF cookie
    made = owner.post("/api/v1/grants", name="Invoices of March", **values)
    return made | {"path": f"/send/{made['token']}/"}


def open_link(window: Window, link: dict[str, Any]) -> Page:
    page = window.open(link["path"])
    page.wait_for_selector("#uploads[data-ready]", state="attached")
    return page


def expect_whole(owner: Window, path: Path) -> None:
    stored = {file["original_filename"]: file["sha256"] for file in owner.files()}
    assert stored[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_stranger_sends_files_until_the_link_is_revoked(ada: Window, stranger: Window, make_file):
    link = link_of(ada, max_files=4, max_file_size=2 * LARGE)
    small, large, huge, late = (
        make_file(name, size)
        for name, size in (
            ("small.bin", 100),
            ("large.bin", LARGE),
            ("huge.bin", 2 * LARGE + 1),
            ("late.bin", LARGE),
        )
    )
    page = open_link(stranger, link)
    expect(page.get_by_text(ada.email)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    stranger.expected = ("413", "401")

    drop(page, small, huge)
    expect_state(page, "small.bin", "stored")
    expect(row(page, "huge.bin")).to_contain_text("takes up to 1.2 MiB a file")
    assert row(page, "small.bin").get_by_role("link").count() == 0

    gate = Gate(page, allowed=4)
    choose(page, large)
    expect(row(page, "large.bin")).to_have_attribute("data-state", "uploading")
    page.reload()
    gate.forget()
    gate.open()
    page.wait_for_selector("#uploads[data-ready]", state="attached")
    assert page.get_by_text("Unfinished uploads").is_hidden()
    choose(page, large)  # goes on where it stopped: the browser remembers it
    expect_state(page, "large.bin", "stored")
    expect(page.get_by_text("You can close this page")).to_be_visible()

    held = Gate(page, allowed=2)
    choose(page, late)
    expect(row(page, "late.bin")).to_have_attribute("data-state", "uploading")
    ada.delete(f"/api/v1/grants/{link['id']}")
    held.open()
    expect(row(page, "late.bin")).to_contain_text("This upload link was revoked.")
    stranger.expected += ("410",)
    page.reload()
    expect(page.get_by_role("heading", name="This link was revoked")).to_be_visible()

    for path in (small, large):
        expect_whole(ada, path)
    listed = ada.open(f"/app/links/{link['id']}/")
    expect(listed.locator("#page").get_by_role("link", name="large.bin")).to_be_visible()


def test_whoever_is_logged_in_sends_by_a_link_for_its_owner_and_stays_logged_in(
    ada: Window, make_file
):
    """Both in one browser, whose one cookie is the second's."""
    path = make_file("mine.bin", 100)
    link, owner = link_of(ada, password="let me in"), ada.email
    ada.sign_out()
    ada.sign_up()
    page = ada.open(link["path"])
    page.get_by_label("Password", exact=True).fill("let me in")
    page.get_by_label("Password", exact=True).press("Enter")
    page.wait_for_selector("#uploads[data-ready]", state="attached")
    choose(page, path)
    expect_state(page, "mine.bin", "stored")

    assert ada.files() == []
    listed = ada.open("/app/uploads/")
    expect(listed.get_by_label(f"Account of {ada.email}").locator("visible=true")).to_be_visible()
    ada.sign_out()
    ada.sign_in(owner)
    expect_whole(ada, path)


def test_a_shared_file_is_downloaded_by_a_stranger(ada: Window, stranger: Window):
    file_id = ada.store("plan.txt")
    page = ada.open(f"/app/uploads/{file_id}/")
    page.get_by_role("button", name="Create link").click()
    address = page.locator("#link-address").inner_text()

    shown = stranger.open(f"/share/{address.rstrip('/').rpartition('/')[2]}/")
    assert shown.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    with shown.expect_download() as download:
        shown.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "plan.txt"
    page.reload()
    expect(page.get_by_text("1 download, the last")).to_be_visible()
