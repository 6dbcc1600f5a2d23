"""A real Chromium in front of the whole product. What a page logs as an error fails the test."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Route,
    expect,
    sync_playwright,
)

from accounts.tests.factories import PASSWORD
from boot.tests.portal import Portal

CHUNK = 64 * 1024  # bytes; small, so that a small file has many parts
LEAST_CHUNK = CHUNK // 4
LARGEST = 8 * 2**20  # bytes
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE = 15_000  # milliseconds: on a busy machine even a good page is slow

_numbers = count(1)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def product() -> Iterator[Portal]:
    """A portal of its own, for its small parts."""
    environment = {
        "PORTAL_CHUNK_SIZE": str(CHUNK),
        "PORTAL_CHUNK_SIZE_MIN": str(LEAST_CHUNK),
        "PORTAL_MAX_FILE_SIZE": str(LARGEST),
    }
    with Portal(environment=environment) as portal:
        portal.start()
        yield portal


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """For this folder alone: its event loop keeps Django from the database while it runs."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("The browser tests drive Chromium: install it (Debian: apt install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Window:
    """A browser window at the portal, and what went wrong in it."""

    url: str
    context: BrowserContext
    page: Page
    email: str = ""
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def watch(self, page: Page) -> Page:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.location['url']}: {message.text}")

    def open(self, path: str, *, base_url: str | None = None) -> Page:
        """A page with all that it loads; `base_url` is of another way to the portal."""
        self.page.goto((base_url or self.url) + path)
        if path == "/app/upload/":
            self.page.wait_for_selector("#uploads[data-ready]", state="attached")
        return self.page

    def register(self) -> None:
        self.email = f"person{next(_numbers)}@example.org"
        page = self.open("/app/register/")
        page.get_by_label("E-mail address").fill(self.email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        page.wait_for_url("**/app/upload/")

    def sign_up(self) -> None:
        """As `register`, without a page: the cookies are all that changes."""
        self.email = f"person{next(_numbers)}@example.org"
        self._send_form("/app/register/", email=self.email, password=PASSWORD)

    def sign_in(self, email: str) -> None:
        self.email = email
        self._send_form("/app/login/", username=email, password=PASSWORD)

    def sign_out(self) -> None:
        self._send_form("/app/logout/")

    def _send_form(self, path: str, **fields: str) -> None:
        """As a page in another tab would: all share the cookies."""
        self.context.request.get(f"{self.url}/app/login/")  # for the CSRF cookie
        form = fields | {"csrfmiddlewaretoken": self._csrf_token()}
        response = self.context.request.post(self.url + path, form=form, max_redirects=0)
        assert response.status == 302, response.text()

    def _csrf_token(self) -> str:
        cookies = {cookie["name"]: cookie["value"] for cookie in self.context.cookies()}
        return cookies["csrftoken"]

    def log_in(self, page: Page) -> None:
        page.goto(f"{self.url}/app/login/")
        page.get_by_label("E-mail address").fill(self.email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/app/")

    def get(self, path: str) -> dict[str, Any]:
        """JSON of the API, asked with the browser's session."""
        response = self.context.request.get(self.url + path)
        assert response.ok, response.text()
        return response.json()

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        response = self.context.request.post(
            self.url + path, data=body, headers={"X-CSRFToken": self._csrf_token()}
        )
        assert response.ok, response.text()
        return response.json()

    def delete(self, path: str) -> None:
        response = self.context.request.delete(
            self.url + path, headers={"X-CSRFToken": self._csrf_token()}
        )
        assert response.ok, response.text()

    def store(self, filename: str, **values: Any) -> str:
        """The id of a new, empty file."""
        sessions = "/api/v1/uploads/sessions"
        session = self.post(sessions, filename=filename, size_bytes=0, **values)
        return self.post(f"{sessions}/{session['session_id']}/finalize")["id"]

    def files(self) -> list[dict[str, Any]]:
        return self.get("/api/v1/files")["items"]

    def unexpected(self) -> list[str]:
        return [
            problem for problem in self.problems if not any(it in problem for it in self.expected)
        ]


@pytest.fixture
def window(chromium: Browser, product: Portal) -> Iterator[Window]:
    """Nobody is logged in yet."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800},
        # Each is another client: the portal limits how many accounts one registers.
        extra_http_headers={"X-Forwarded-For": f"2001:db8:0:{next(_numbers):x}::1"},
    )
    context.set_default_timeout(PATIENCE)
    window = Window(url=product.url, context=context, page=context.new_page())
    window.watch(window.page)
    yield window
    context.close()
    assert window.unexpected() == []


@pytest.fixture
def ada(window: Window) -> Window:
    """A new account, logged in."""
    window.sign_up()
    return window


@pytest.fixture
def grace(window: Window, product: Portal) -> Window:
    """The administrator, logged in."""
    window.email = product.admin_email
    window.log_in(window.page)
    return window


class Gate:
    """Stands between the page and an address: lets `allowed` requests through, holds the rest.

    A held request looks to the page like a slow network, for as long as the test wants.
    """

    PARTS = "**/parts/*"
    FILES = "**/api/v1/files?*"  # small ones, in one request

    def __init__(self, page: Page, *, allowed: int, address: str = PARTS) -> None:
        self.page = page
        self.allowed = allowed
        self.passed: list[int] = []  # numbers of parts
        self._held: list[Route] = []
        page.route(address, self._handle)

    def open(self) -> None:
        self.allowed = 10**9
        held, self._held = self._held, []
        for route in held:
            self._pass(route)

    def _handle(self, route: Route) -> None:
        if len(self.passed) < self.allowed:
            self._pass(route)
        else:
            self._held.append(route)

    def _pass(self, route: Route) -> None:
        last = route.request.url.rpartition("/")[2]
        self.passed.append(int(last) if last.isdigit() else 0)
        route.continue_()

    def forget(self) -> None:
        """The page went away, and with it the requests that were held."""
        self._held.clear()
        self.passed.clear()


@pytest.fixture
def make_file(tmp_path: Path):
    """A file of random bytes, so that no two are alike."""

    def make(name: str, size: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    return make
