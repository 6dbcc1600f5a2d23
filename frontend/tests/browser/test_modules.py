"""The unit tests of the pages' modules (frontend/tests/js), in the browser that they run in.

They need no portal: the browser gets every file from the checkout.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

ROOT = Path(__file__).resolve().parents[3]
TESTS = Path(__file__).resolve().parents[1] / "js"
ORIGIN = "http://modules.localhost"  # a secure context, as browsers have it: with crypto.subtle
TEST_FILES = sorted(path.name for path in TESTS.glob("*.test.js"))
RUN = """async (name) => {
    await import(`/tests/${name}`);
    const { run } = await import("/tests/harness.js");
    return run();
}"""


def serve(route: Route) -> None:
    path = urlsplit(route.request.url).path
    if path == "/":
        route.fulfill(content_type="text/html", body="<!doctype html><title>Tests</title>")
    elif path.startswith("/tests/"):
        route.fulfill(content_type="text/javascript", path=TESTS / path.removeprefix("/tests/"))
    elif path.startswith("/static/js/"):
        route.fulfill(content_type="text/javascript", path=ROOT / path.removeprefix("/"))
    else:
        route.fulfill(status=404)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    context.route(f"{ORIGIN}/**", serve)
    page = context.new_page()
    page.goto(f"{ORIGIN}/")
    yield page
    context.close()


def test_there_are_tests_of_modules():
    assert len(TEST_FILES) >= 8


@pytest.mark.parametrize("name", TEST_FILES)
def test_the_modules_do_what_their_tests_say(page: Page, name: str):
    result = page.evaluate(RUN, name)
    assert result["failed"] == []
    assert result["passed"]


def test_a_test_that_fails_is_told(page: Page):
    told = page.evaluate(
        """async () => {
            const { equal, run, test } = await import("/tests/harness.js");
            test("one is two", () => equal(1, 2));
            test("one is one", () => equal(1, 1));
            return run();
        }"""
    )
    assert told["passed"] == ["one is one"]
    assert "1 is not 2" in told["failed"][0]
