"""How often something may be done: the buckets, and what requests are answered."""

import threading

import pytest

from accounts import rates
from accounts.rates import Buckets
from uploads.tests.factories import Api, assert_problem


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _new_buckets(monkeypatch, tmp_path, settings) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates, "_buckets", Buckets(clock=clock))
    settings.DOORITO_DATA_DIR = tmp_path
    return clock


def test_a_bucket_fills_up_evenly_and_not_beyond_its_limit():
    clock = Clock()
    buckets = Buckets(clock=clock)
    taken = [buckets.take("a", limit=2) for _ in range(3)]
    assert (taken[:2], taken[2] < 0) == ([1, 0], True)
    assert buckets.take("b", limit=2) == 1

    clock.now = 30  # seconds, of 60 for two
    assert buckets.take("a", limit=2) == 0
    clock.now = 3600
    assert [buckets.take("a", limit=2) for _ in range(2)] == [1, 0]


def test_threads_get_exactly_the_limit():
    buckets = Buckets(clock=Clock())
    got: list[bool] = []

    def take() -> None:
        got.extend(buckets.take("a", limit=100) >= 0 for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(got), len(got)) == (100, 400)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(rates, "_MOST_BUCKETS", 10)
    buckets = Buckets(clock=Clock())
    for number in range(100):
        buckets.take(f"{number}", limit=1)
    assert len(buckets._left) == 10


def test_an_account_is_told_its_limit_and_when_to_go_on(db, settings, _new_buckets):
    settings.PORTAL_RATE_SESSIONS = 2
    api, other = Api(), Api()
    first = api.create_session()
    assert first["RateLimit-Policy"] == '"sessions";q=2;w=60'
    assert first["RateLimit"] == '"sessions";r=1;t=0'
    api.create_session()

    refused = api.create_session()

    assert assert_problem(refused, 429, "rate_limited")["limit"] == 2
    assert (refused["Retry-After"], refused["RateLimit"]) == ("30", '"sessions";r=0;t=30')
    assert other.create_session().status_code == 201  # another account from the same address
    _new_buckets.now = 30
    assert api.create_session().status_code == 201


def test_many_accounts_of_an_address_have_a_limit_too(db, settings):
    settings.PORTAL_RATE_FILES = 1
    replies = [Api().post_raw(b"x", filename="a.txt") for _ in range(6)]
    assert [reply.status_code for reply in replies] == [201] * 5 + [429]


def test_what_is_not_limited_has_no_headers_and_0_switches_off(db, settings):
    settings.PORTAL_RATE_SESSIONS = 0
    api = Api()
    assert "RateLimit" not in api.create_session()
    assert "RateLimit" not in api.get("/api/v1/files")


def test_invalid_tokens_are_refused_and_valid_ones_go_on(db, settings):
    settings.PORTAL_RATE_TOKEN_FAILURES = 2
    api = Api()
    wrong = {"authorization": "Bearer drt_wrong"}
    codes = [api.http.get("/api/v1/files", headers=wrong).status_code for _ in range(3)]
    assert codes == [401, 401, 429]
    assert api.get("/api/v1/files").status_code == 200


def test_signed_links_have_a_limit(db, settings):
    settings.PORTAL_RATE_LINKS = 1
    api = Api()
    assert [api.http.get("/f/wrong").status_code for _ in range(2)] == [404, 429]
    assert api.http.get("/c/wrong").status_code == 429
    assert api.post("/api/v1/runs/callback/wrong", {"status": "completed"}).status_code == 429
