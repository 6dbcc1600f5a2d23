"""The upload page on a bad network, and with files that change meanwhile."""

import os

from playwright.sync_api import Page, Route, expect

from frontend.tests.browser.conftest import CHUNK, LEAST_CHUNK, Gate, Window
from frontend.tests.browser.upload_page import (
    LARGE,
    PARTS,
    UPLOAD,
    choose,
    expect_state,
    expect_stored,
    row,
    sha256,
    wait_until_received,
)


def test_a_lost_network_is_waited_for(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * PARTS)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    ada.expected = ("ERR_INTERNET_DISCONNECTED",)
    ada.context.set_offline(True)
    expect(page.get_by_text("You are offline. Uploads go on by themselves")).to_be_visible()
    gate.open()
    expect(row(page, path.name)).to_contain_text("You are offline")
    gate.forget()
    gate.allowed = 0
    ada.context.set_offline(False)
    expect(row(page, path.name)).not_to_contain_text("You are offline")
    gate.open()
    expect_state(page, path.name, "stored")
    assert ada.files()[0]["sha256"] == sha256(path)


def test_a_broken_request_is_tried_again(ada: Window, make_file):
    path = make_file("large.bin", CHUNK * 3)
    page = ada.open(UPLOAD)
    ada.expected = ("ERR_FAILED", "503")
    failed: list[str] = []

    def fail_first(route: Route) -> None:
        if route.request.url in failed:
            route.continue_()
            return
        failed.append(route.request.url)
        if len(failed) == 1:
            route.abort()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0"}, body="busy")

    page.route("**/parts/*", fail_first)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert len(failed) == 3


def test_a_lost_answer_makes_no_second_session(ada: Window, make_file):
    path = make_file("once.bin", CHUNK + 1)
    page = ada.open(UPLOAD)
    ada.expected = ("ERR_FAILED",)
    answers: list[int] = []

    def lose_first(route: Route) -> None:
        answer = route.fetch()
        answers.append(answer.status)
        if len(answers) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route("**/api/v1/uploads/sessions", lose_first)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert answers == [201, 200]
    assert len(ada.files()) == 1


def test_what_takes_long_is_asked_again_and_can_be_left(ada: Window, make_file):
    ada.page.add_init_script(
        "const real = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (milliseconds) => real(milliseconds / 300);"
    )
    page = ada.open(UPLOAD)
    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)

    page.route("**/finalize", hold)
    choose(page, make_file("giant.bin", CHUNK + 1))
    expect(row(page, "giant.bin")).to_contain_text("The server takes long to answer.")
    expect_state(page, "giant.bin", "checking")
    while len(asked) < 2:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Pause giant.bin").click()
    expect_state(page, "giant.bin", "paused")
    page.unroute_all()
    page.get_by_role("button", name="Resume giant.bin").click()
    expect_state(page, "giant.bin", "stored")


def test_an_upload_that_nobody_takes_says_so(ada: Window, make_file):
    page = ada.page
    page.clock.install()
    ada.open(UPLOAD)
    Gate(page, allowed=0)
    choose(page, make_file("large.bin", LARGE))
    page.clock.run_for(1000)
    expect_state(page, "large.bin", "uploading")
    page.clock.run_for(12_000)
    expect(row(page, "large.bin")).to_contain_text("not taking anything")
    expect(row(page, "large.bin")).not_to_contain_text("/s")


def behind_a_proxy(page: Page, *, limit: int) -> None:
    """One that refuses larger bodies with a page of its own, as nginx does."""

    def pass_on(route: Route) -> None:
        if len(route.request.post_data_buffer or b"") > limit:
            route.fulfill(status=413, content_type="text/html", body="<h1>413 Too Large</h1>")
        else:
            route.continue_()

    page.route("**/api/v1/**", pass_on)


def test_a_proxy_that_takes_smaller_bodies_only_gets_smaller_parts(ada: Window, make_file):
    ada.expected = ("413",)
    paths = [make_file("large.bin", LARGE), make_file("small.bin", CHUNK)]
    page = ada.open(UPLOAD)
    behind_a_proxy(page, limit=CHUNK // 2)
    with page.expect_response("**/close*"):
        choose(page, *paths)
    expect_stored(ada, *paths)
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 2, 2)


def test_a_proxy_that_takes_not_even_the_smallest_parts_is_named(ada: Window, make_file):
    ada.expected = ("413",)
    page = ada.open(UPLOAD)
    behind_a_proxy(page, limit=LEAST_CHUNK - 1)
    choose(page, make_file("large.bin", LARGE))
    expect_state(page, "large.bin", "failed")
    expect(row(page, "large.bin")).to_contain_text("A proxy in front of the portal")
    expect(row(page, "large.bin")).to_contain_text("client_max_body_size")


def test_a_part_that_is_damaged_on_its_way_is_sent_again(ada: Window, make_file):
    ada.expected = ("422",)
    path = make_file("large.bin", CHUNK * 3)
    page = ada.open(UPLOAD)
    damaged: list[str] = []

    def damage(route: Route) -> None:
        if damaged:
            route.continue_()
            return
        damaged.append(route.request.url)
        route.continue_(post_data=b"x" * CHUNK)

    page.route("**/parts/2", damage)
    choose(page, path)
    expect_state(page, path.name, "stored")
    assert damaged
    assert ada.files()[0]["sha256"] == sha256(path)


def test_a_file_that_changes_while_it_is_sent_is_given_up_and_chosen_again(ada: Window, make_file):
    path = make_file("large.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path, make_file("other.bin", 10))
    wait_until_received(ada, path.name, 4)
    path.write_bytes(os.urandom(LARGE))
    os.utime(path, (0, 0))
    with page.expect_response(lambda response: response.request.method == "DELETE") as answer:
        gate.open()
    assert answer.value.status == 204
    expect(row(page, path.name)).to_contain_text("The file was changed, moved or removed")
    expect(page.get_by_role("button", name="Retry large.bin")).to_be_hidden()
    with page.expect_response("**/close*"):
        page.get_by_label("Choose again: large.bin").set_input_files(path)
    expect_stored(ada, path)
    (batch,) = ada.get("/api/v1/batches")["items"]
    assert (batch["status"], batch["total_files"], batch["stored_count"]) == ("complete", 2, 2)


def test_no_mixture_is_stored_of_a_file_that_changed_under_the_same_time(ada: Window, make_file):
    """Browsers compare a file's time to the second: the digests of what was read are closer."""
    path = make_file("large.bin", LARGE)
    page = ada.open(UPLOAD)
    gate = Gate(page, allowed=4)
    choose(page, path)
    wait_until_received(ada, path.name, 4)
    before = path.stat()
    path.write_bytes(os.urandom(LARGE))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    gate.open()
    expect(row(page, path.name)).to_contain_text("The file was changed, moved or removed")
    assert {file["status"] for file in ada.files()} <= {"failed", "uploading"}
