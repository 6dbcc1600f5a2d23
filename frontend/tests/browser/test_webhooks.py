"""Webhooks as an administrator uses them: against a real receiver, sent by the real worker."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from boot.tests.portal import Portal
from common.tests.receiver import Answer, Receiver
from frontend.tests.browser.conftest import Window

ARRIVAL = 30_000  # ms


@pytest.fixture
def receiver(product: Portal) -> Iterator[Receiver]:
    """Endpoints that lead to it are gone with it."""
    with Receiver() as receiver:
        yield receiver
        for endpoint in json.loads(product.run("webhook", "list", "--json").stdout):
            if endpoint["url"] == receiver.url:
                product.run("webhook", "remove", endpoint["id"])


def add_endpoint(window: Window, receiver: Receiver, name: str) -> Page:
    page = window.open("/app/webhooks/new/")
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("file.uploaded").check()
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    return page


def test_an_endpoint_is_created_tested_mended_and_sent_to_again(grace: Window, receiver: Receiver):
    receiver.default = Answer(500, body=b"<b>The model is not loaded.</b>")
    page = add_endpoint(grace, receiver, "Transcriber")
    page.get_by_role("button", name="Send test event").click()
    expect(page.get_by_text("The test failed: The receiver answered 500.")).to_be_visible()
    expect(page.get_by_text("Answer: HTTP 500")).to_be_visible()
    expect(page.get_by_text("<b>The model is not loaded.</b>")).to_be_visible()
    row = page.locator("#deliveries tr", has_text="webhook.test")
    expect(row.locator(".badge")).to_have_text("Failed")

    receiver.default = Answer(200, body=b"Thank you.")
    page.get_by_role("link", name="Open this delivery").click()
    expect(page.locator("#delivery-title .badge")).to_have_text("Failed")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator("#delivery-title .badge")).to_have_text("Delivered", timeout=ARRIVAL)
    expect(page.get_by_role("heading", name="2 attempts")).to_be_visible()
    expect(page.get_by_text("Thank you.")).to_be_visible()
    page.locator("#attempt-1").click()
    expect(page.get_by_text("<b>The model is not loaded.</b>")).to_be_visible()
    first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body

    page.locator("main").get_by_role("link", name="Transcriber").first.click()
    expect(page.locator("#deliveries .badge")).to_have_text("Delivered")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("The endpoint Transcriber is removed.")).to_be_visible()


def test_a_form_that_is_refused_goes_on_at_the_field_that_is_wrong(grace: Window):
    page = grace.open("/app/webhooks/new/")
    page.get_by_label("URL").fill("http://127.0.0.1:9/hook")
    page.get_by_label("Retry schedule").fill("soon")
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is saved yet")
    wrong = page.get_by_label("Retry schedule")
    expect(wrong).to_be_focused()
    right = page.get_by_label("Headers")
    colour = "element => getComputedStyle(element).borderTopColor"
    assert wrong.evaluate(colour) != right.evaluate(colour)


def test_what_an_endpoint_missed_while_it_was_disabled_is_recovered(
    grace: Window, receiver: Receiver
):
    page = add_endpoint(grace, receiver, "Indexer")
    endpoint = page.url
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Leave it on")).to_be_focused()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.get_by_text("disabled by hand")).to_be_visible()
    file_id = grace.store("missed.txt")

    page = grace.open(endpoint.removeprefix(grace.url))
    page.get_by_role("button", name="Enable").click()
    offer = page.get_by_role("region", name="Send again what was missed")
    expect(offer.get_by_label("What failed or was missed")).to_contain_text("since it began")
    offer.get_by_role("button", name="Send again").click()
    row = page.locator("#deliveries tr", has_text="missed.txt")
    expect(row.locator(".badge")).to_have_text("Delivered", timeout=ARRIVAL)
    expect(page.locator("#state")).not_to_contain_text("Recovering")
    (request,) = receiver.wait_for(1)
    assert request.json["data"]["file"]["id"] == file_id


def test_a_secret_is_shown_on_demand_and_rotated(grace: Window, receiver: Receiver):
    page = add_endpoint(grace, receiver, "Safe")
    card = page.locator("#secret")
    shown = page.locator("#secret-text")
    card.get_by_role("button", name="Show the secret").click()
    old = shown.text_content()
    assert old.startswith("whsec_")
    expect(card.get_by_role("link", name="Hide")).to_be_focused()
    card.get_by_role("link", name="Hide").click()
    expect(shown).to_have_count(0)

    card.get_by_role("button", name="Rotate").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    expect(card.get_by_text("This is the new secret.")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert shown.text_content() != old
    expect(card.get_by_role("button", name="Copy")).to_be_focused()
    card.get_by_role("button", name="Revoke old now").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke old").click()
    expect(card.get_by_text("Only the current secret signs now.")).to_be_visible()


def test_a_file_is_sent_again_from_its_page(grace: Window, receiver: Receiver):
    receiver.default = Answer(body=b"x" * 3000)  # in one line
    add_endpoint(grace, receiver, "Reader")
    page = grace.open(f"/app/uploads/{grace.store('again.txt')}/")
    delivery = page.locator("#events li", has_text="file.uploaded")
    expect(delivery.locator(".badge")).to_have_text("Delivered", timeout=ARRIVAL)
    delivery.get_by_text("1 attempt").click()
    delivery.get_by_role("button", name="Send again to Reader").click()
    expect(page.get_by_text("The event is being sent again.")).to_be_visible()
    expect(delivery.get_by_text("2 attempts")).to_be_visible(timeout=ARRIVAL)
    first, second = receiver.wait_for(2)
    assert first.body == second.body
    delivery.get_by_text("2 attempts").click()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
