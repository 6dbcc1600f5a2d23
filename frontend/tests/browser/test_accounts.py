from playwright.sync_api import Browser, expect

from frontend.tests.browser.conftest import Window


def test_somebody_registers_logs_out_and_logs_in_again(window: Window):
    window.register()
    page = window.page
    expect(page.get_by_text("Your account is ready.")).to_be_visible()
    page.get_by_label(f"Account of {window.email}").locator("visible=true").click()
    page.locator("button:visible", has_text="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    window.log_in(page)
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


def test_a_password_can_be_looked_at(window: Window):
    page = window.open("/app/login/")
    password = page.get_by_label("Password", exact=True)
    expect(password).to_have_attribute("type", "password")
    page.get_by_role("button", name="Show").click()
    expect(password).to_have_attribute("type", "text")


def test_a_chosen_theme_stays_and_the_systems_is_followed_again(window: Window):
    window.page.emulate_media(color_scheme="light")
    page = window.open("/app/login/")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("[data-theme-toggle]").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark
    page.locator("[data-theme-toggle]").click()
    assert page.evaluate("localStorage.length") == 0
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == dark


def test_a_new_token_is_copied(ada: Window):
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = ada.open("/app/tokens/")
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("button", name="Create token").click()
    text = page.locator("#token").inner_text()
    expect(page.get_by_role("region", name="Your new token")).to_be_focused()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == text

    page.reload()
    expect(page.locator("#token")).to_have_count(0)
    expect(page.get_by_role("button", name="Revoke nightly")).to_have_count(1)

    page.get_by_role("button", name="Revoke nightly").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("no longer works")).to_be_visible()


def test_a_choice_that_is_missing_gets_the_focus_and_its_error(ada: Window):
    page = ada.open("/app/tokens/")
    page.get_by_label("Name").fill("nothing")
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    page.get_by_role("button", name="Create token").click()
    first = page.get_by_role("checkbox").first
    expect(first).to_be_focused()
    expect(first).to_have_accessible_description("Choose at least one thing that the token may do.")


def test_the_account_menu_closes_when_the_focus_leaves_it(ada: Window):
    page = ada.open("/app/password/change/")
    page.get_by_label(f"Account of {ada.email}").locator("visible=true").click()
    log_out = page.locator("button:visible", has_text="Log out")
    log_out.focus()
    page.keyboard.press("Tab")
    expect(log_out).to_have_count(0)


def test_without_a_script_nothing_is_offered_that_needs_one(ada: Window, chromium: Browser):
    file_id = ada.store("old.txt")
    context = chromium.new_context(
        java_script_enabled=False, storage_state=ada.context.storage_state()
    )
    page = context.new_page()
    page.goto(f"{ada.url}/app/upload/")
    expect(page.locator(".dropzone")).to_be_hidden()
    expect(page.locator("[data-theme-toggle]")).to_be_hidden()
    page.goto(f"{ada.url}/app/uploads/{file_id}/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("old.txt is deleted.")).to_be_visible()
    context.close()
