"""An upload page whose account logs out, or whose browser logs another account in."""

from uuid import uuid4

from playwright.sync_api import expect

from frontend.tests.browser.conftest import CHUNK, Gate, Window
from frontend.tests.browser.upload_page import (
    LARGE,
    UPLOAD,
    choose,
    expect_state,
    row,
    wait_until_received,
)


def come_back(window: Window) -> None:
    """The person looks at the page again, after having been in another tab."""
    window.page.evaluate("dispatchEvent(new Event('focus'))")


def test_whoever_was_logged_out_logs_in_and_the_upload_goes_on(ada: Window, make_file):
    path = make_file("large.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    ada.expected = ("401", "403")
    ada.context.clear_cookies()
    gate.open()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    expect(row(page, path.name)).to_contain_text("Waits until you are logged in again.")
    ada.log_in(ada.watch(ada.context.new_page()))
    come_back(ada)
    expect_state(page, path.name, "stored")
    expect(page.get_by_text("You are logged out.")).to_be_hidden()
    assert len(ada.files()) == 1


def test_what_a_page_sends_is_never_stored_for_another_account(ada: Window, make_file):
    paths = [make_file(f"large{number}.bin", CHUNK * 2) for number in range(5)]
    paths += [make_file(f"small{number}.bin", 10) for number in range(5)]
    owner = ada.email
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=1)
    choose(page, *paths)
    expect(page.locator("[data-upload][data-state=uploading]")).to_have_count(5)
    ada.expected = ("409", "401")  # it asks while nobody is logged in, too
    ada.sign_out()
    ada.sign_up()
    gate.open()
    expect(page.get_by_text("Another account is logged in in this browser now")).to_be_visible()
    expect(page.get_by_text("Waits until you are logged in again.").first).to_be_visible()
    assert ada.files() == []
    assert ada.get("/api/v1/batches")["items"] == []

    ada.sign_out()
    ada.sign_in(owner)
    come_back(ada)
    expect(page.get_by_role("heading", name="All 10 files are stored")).to_be_visible()
    expect(page.get_by_text("Another account is logged in")).to_be_hidden()
    files = ada.files()
    assert len(files) == 10
    assert len({file["batch_id"] for file in files}) == 1


def test_a_list_that_is_still_open_shows_nothing_of_another_account(ada: Window):
    page = ada.open("/app/uploads/")
    ada.sign_out()
    ada.sign_up()
    ada.store("secret.txt")
    ada.expected = ("409",)
    page.get_by_label("Search by name").fill("secret")
    expect(page.get_by_text("Another account is logged in in this browser now.")).to_be_visible()
    expect(page.get_by_label(f"Account of {ada.email}").locator("visible=true")).to_be_visible()


def test_an_upload_that_the_server_does_not_know_is_begun_anew_only_when_asked(
    ada: Window, make_file
):
    path = make_file("large.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    page.reload()
    gate.forget()
    page.evaluate(
        """(sessionId) => {
            const [name] = Object.keys(localStorage).filter((key) => key.includes("large.bin"));
            const entry = JSON.parse(localStorage[name]);
            localStorage[name] = JSON.stringify({ ...entry, sessionId });
        }""",
        str(uuid4()),
    )
    ada.expected = ("404",)
    gate.open()
    choose(page, path)
    expect(row(page, path.name)).to_contain_text("The server does not know this upload any more.")
    assert gate.passed == []
    page.get_by_role("button", name="Retry large.bin").click()
    expect_state(page, path.name, "stored")


def test_the_session_is_prolonged_while_somebody_uploads(ada: Window, make_file):
    page = ada.page
    page.clock.install()
    ada.open(UPLOAD)
    Gate(page, allowed=0)
    choose(page, make_file("large.bin", LARGE))
    page.clock.run_for(1000)
    expect_state(page, "large.bin", "uploading")
    with page.expect_response("**/app/session/renew/") as answer:
        page.clock.fast_forward("10:01")
    assert answer.value.status == 204
