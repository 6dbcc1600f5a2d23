"""What the tests of the upload page do on it, and see there."""

import base64
import hashlib
import json
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from frontend.tests.browser.conftest import CHUNK, Window

UPLOAD = "/app/upload/"
PARTS = 10
LARGE = CHUNK * PARTS  # bytes of a file that is sent in parts


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choose(page: Page, *paths: Path) -> None:
    page.locator("#choose-files").set_input_files([str(path) for path in paths])


def drop(page: Page, *paths: Path) -> None:
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            const zone = document.querySelector("#page");
            for (const type of ["dragenter", "dragover", "drop"]) {
                zone.dispatchEvent(
                    new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true })
                );
            }
        }""",
        files,
    )


def row(page: Page, name: str) -> Locator:
    return page.locator("[data-upload]", has_text=name)


def expect_state(page: Page, name: str, state: str) -> None:
    expect(row(page, name)).to_have_attribute("data-state", state)


def expect_stored(window: Window, *paths: Path) -> None:
    """What is called stored is on the server, byte for byte."""
    for path in paths:
        expect_state(window.page, path.name, "stored")
    files = [file for file in window.files() if file["status"] == "stored"]
    stored = {file["original_filename"]: file["sha256"] for file in files}
    assert {path.name: stored[path.name] for path in paths} == {
        path.name: sha256(path) for path in paths
    }


def cancel(page: Page, name: str) -> None:
    """For good: without the seconds in which it can be undone."""
    page.get_by_role("button", name=f"Cancel {name}").click()
    page.get_by_role("button", name=f"Give up now: {name}").click()


def percent(page: Page, name: str) -> float:
    return float(row(page, name).get_by_role("progressbar").get_attribute("value"))


def received_by_server(window: Window, name: str) -> int:
    key = window.page.evaluate(
        "(name) => Object.keys(localStorage).find((key) => key.includes(name))", name
    )
    if key is None:
        return 0
    session = json.loads(window.page.evaluate("(key) => localStorage[key]", key)).get("sessionId")
    if session is None:
        return 0
    return window.get(f"/api/v1/uploads/sessions/{session}")["received_parts_count"]


def wait_until_received(window: Window, name: str, parts: int) -> None:
    """Asks the server, since only it knows what arrived."""
    for _ in range(200):
        if received_by_server(window, name) == parts:
            return
        window.page.wait_for_timeout(50)
    raise AssertionError(f"{received_by_server(window, name)} of {parts} parts arrived")
