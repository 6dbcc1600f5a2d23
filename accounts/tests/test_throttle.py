from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts import throttle
from accounts.models import Throttle
from common.errors import TooManyRequests
from common.tests.threads import results_and_errors

pytestmark = pytest.mark.django_db

ADA = "ada@example.org"
HOME = "198.51.100.7"


def fail(email: str = ADA, address: str = HOME, *, times: int = 1) -> None:
    for _ in range(times):
        throttle.begin_login(email=email, address=address)


def succeed(email: str = ADA, address: str = HOME) -> None:
    throttle.succeeded(throttle.begin_login(email=email, address=address))


def refusal_of(email: str = ADA, address: str = HOME) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as refusal:
        throttle.begin_login(email=email, address=address)
    return refusal.value


@contextmanager
def later(**time: int):
    """Counts are as much older: their times are the database's."""
    Throttle.objects.update(window_start=F("window_start") - timedelta(**time))
    yield
    Throttle.objects.update(window_start=F("window_start") + timedelta(**time))


def stored_text() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(throttle::text, ' ') FROM throttle")
        return cursor.fetchone()[0]


def test_ten_failures_of_an_account_and_client_are_let_through_in_a_quarter_of_an_hour():
    fail(times=10)
    refusal = refusal_of()
    assert refusal.code == "too_many_logins"
    assert 890 < refusal.retry_after <= 900
    assert "Try again in 15 minutes." in refusal.message
    with later(minutes=14, seconds=30):
        assert "Try again in a minute." in refusal_of().message
        assert refusal_of().retry_after <= 30
    with later(minutes=15):
        fail(times=10)
        refusal_of()


def test_other_clients_and_other_accounts_go_on():
    fail(times=10)
    fail(address="198.51.100.8")
    fail("bob@example.org")


def test_a_hundred_failures_of_an_account_from_many_clients_are_let_through_in_an_hour():
    for number in range(100):
        fail(address=f"198.51.100.{number}")
    assert "Try again in an hour." in refusal_of(address="203.0.113.9").message
    fail("bob@example.org", "203.0.113.9")


def test_a_hundred_failures_of_a_client_with_many_accounts_are_let_through_in_a_quarter():
    for number in range(100):
        fail(f"person{number}@example.org")
    assert "Try again in 15 minutes." in refusal_of().message
    fail(address="203.0.113.9")


def test_the_longest_wait_is_told():
    for number in range(100):
        fail(address=f"198.51.100.{number % 50}")
    for number in range(98):
        fail(f"person{number}@example.org")
    assert "Try again in an hour." in refusal_of().message


def test_who_is_refused_brings_no_other_limit_nearer():
    fail(times=10)
    before = stored_text()
    for _ in range(100):
        refusal_of()
    assert stored_text() == before


def test_a_flood_is_refused_by_one_read(django_assert_num_queries):
    fail(times=10)
    with django_assert_num_queries(1) as queries:
        refusal_of()
    assert queries[0]["sql"].startswith("SELECT")


def test_a_success_forgets_the_pairs_failures():
    fail(times=9)
    succeed()
    fail(times=10)
    refusal_of()


def test_successes_are_not_counted():
    for _ in range(120):
        succeed()
    fail(times=10)


def test_a_success_leaves_a_clients_failures_with_other_accounts():
    for number in range(100):
        fail(f"person{number}@example.org")
        if number % 10 == 0:
            succeed("own@example.org")
    refusal_of("own@example.org")


def test_a_success_of_an_ended_window_takes_nothing_from_the_next():
    attempt = throttle.begin_login(email=ADA, address=HOME)
    with later(hours=1):
        fail("bob@example.org", times=10)
        throttle.succeeded(attempt)
        for number in range(90):
            fail(f"person{number}@example.org")
        refusal_of("eve@example.org")


def test_a_proven_owner_starts_anew():
    fail(times=10)
    throttle.forget_failed_logins(email=ADA, address=HOME)
    fail(times=10)


@pytest.mark.parametrize("spelling", ["ADA@EXAMPLE.ORG", " ada@example.org ", "Ada@Example.Org"])
def test_spellings_of_an_address_share_its_limit(spelling):
    fail(times=10)
    refusal_of(spelling)


def test_letters_that_the_database_may_take_for_the_same_share_a_limit():
    fail("is@example.org", times=10)
    refusal_of("\u0131\u017f@example.org")  # dotless i and long s: in capitals, IS


def test_a_client_of_ipv6_is_its_network():
    fail(address="2001:db8:1:2::1", times=10)
    refusal_of(address="2001:db8:1:2:ffff::2")
    fail(address="2001:db8:1:3::1")


def test_neither_addresses_nor_clients_are_kept_in_clear():
    fail()
    throttle.count_registration(address=HOME)
    throttle.count_reset(email=ADA, address=HOME)
    assert Throttle.objects.count() == 6
    for clear in (ADA, ADA.upper(), HOME):
        assert clear not in stored_text()


def test_twenty_registrations_of_a_client_are_let_through_in_an_hour():
    for _ in range(20):
        throttle.count_registration(address=HOME)
    with pytest.raises(TooManyRequests) as refusal:
        throttle.count_registration(address=HOME)
    assert refusal.value.code == "too_many_registrations"
    assert "Try again in an hour." in refusal.value.message
    throttle.count_registration(address="203.0.113.9")


def test_five_resets_of_an_account_are_let_through_in_an_hour():
    for number in range(5):
        throttle.count_reset(email=ADA, address=f"198.51.100.{number}")
    with pytest.raises(TooManyRequests) as refusal:
        throttle.count_reset(email=ADA, address=HOME)
    assert refusal.value.code == "too_many_resets"
    assert "Try again in an hour." in refusal.value.message


def test_twenty_resets_of_a_client_are_let_through_in_an_hour():
    for number in range(20):
        throttle.count_reset(email=f"person{number}@example.org", address=HOME)
    with pytest.raises(TooManyRequests):
        throttle.count_reset(email=ADA, address=HOME)


@pytest.mark.django_db(transaction=True)
def test_of_thirty_guesses_at_once_ten_are_let_through():
    results = results_and_errors([fail] * 30)
    assert [type(each) for each in results if each is not None] == [TooManyRequests] * 20


@pytest.mark.django_db(transaction=True)
def test_who_is_refused_in_a_race_is_counted_nowhere():
    for number in range(95):
        fail(f"person{number}@example.org")
    results = results_and_errors([lambda n=n: fail(f"late{n}@example.org") for n in range(20)])
    assert results.count(None) == 5
    assert Throttle.objects.count() == 100 + 100 + 1  # pairs, accounts, the client


@pytest.mark.django_db(transaction=True)
def test_successes_and_failures_at_once_are_counted_exactly():
    calls = [lambda n=n: succeed(f"good{n}@example.org") for n in range(20)]
    calls += [lambda n=n: fail(f"bad{n}@example.org") for n in range(20)]
    assert results_and_errors(calls) == [None] * 40
    for number in range(80):
        fail(f"person{number}@example.org")
    refusal_of()


def test_what_is_over_is_purged_in_batches(monkeypatch):
    monkeypatch.setattr(throttle, "PURGE_BATCH", 4)
    for number in range(2):
        fail(f"person{number}@example.org", f"198.51.100.{number}")
    with later(minutes=61):
        fail()
        assert [throttle.purge() for _ in range(3)] == [4, 2, 0]
    assert Throttle.objects.count() == 3


@pytest.mark.parametrize("hours", [-10, 10])
def test_the_clock_of_a_web_server_neither_locks_out_nor_lets_guess(hours):
    fail(times=10)
    with time_machine.travel(timezone.now() + timedelta(hours=hours)):
        assert 890 < refusal_of().retry_after <= 900
        fail("bob@example.org", times=10)
        refusal_of("bob@example.org")
    refusal_of("bob@example.org")


def test_nobody_is_locked_out_until_the_time_before_the_clock_was_set_back():
    fail(times=10)
    Throttle.objects.update(window_start=timezone.now() + timedelta(hours=5))
    fail(times=10)
    refusal_of()
