"""How many requests may wait for their clients: in a process, and of an account in all of them."""

import multiprocessing
import os
import signal
import tempfile
from contextlib import contextmanager
from threading import Barrier, Thread

import pytest

from boot.places import Places, Shares
from common.errors import ServiceUnavailable, TooManyRequests
from common.http.exchange import NoPlaceError


@pytest.fixture
def file():
    with tempfile.TemporaryFile(buffering=0) as opened:
        yield opened.fileno()


def places_of(file, *, threads=24, per_account=100):
    return Places(threads=threads, shares=Shares(file, per_account=per_account))


def taken_until_refused(take, most=1000):
    given = []
    for _ in range(most):
        try:
            given.append(take())
        except (ServiceUnavailable, TooManyRequests, NoPlaceError) as refusal:
            return given, refusal
    raise AssertionError("nobody was refused")


@contextmanager
def another_process(file, *, account, count, per_account):
    """One that has taken `count` shares of the account; it holds them until it ends."""

    def hold(connection):
        shares = Shares(file, per_account=per_account)
        held = [shares.take(account) for _ in range(count)]
        connection.send(len(held))
        connection.recv()

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(theirs,))
    process.start()
    try:
        assert ours.recv() == count
        yield process
    finally:
        process.kill()
        process.join()


def test_threads_stay_free_whatever_waits(file):
    places = places_of(file)
    transfers, full = taken_until_refused(lambda: places.take_for_transfer("a"))
    others, refusal = taken_until_refused(places.take_for_other)
    assert (len(transfers), full.code, full.retry_after) == (18, "server_busy", 2)
    assert (len(others), type(refusal)) == (3, NoPlaceError)


def test_places_can_be_taken_again_when_they_were_given_back(file):
    places = places_of(file)
    transfers, _ = taken_until_refused(lambda: places.take_for_transfer("a"))
    transfers.pop()()
    places.take_for_transfer("b")
    with pytest.raises(ServiceUnavailable):
        places.take_for_transfer("a")
    others, _ = taken_until_refused(places.take_for_other)
    others.pop()()
    places.take_for_other()


def test_even_a_single_thread_serves_transfers(file):
    places = places_of(file, threads=1)
    places.take_for_transfer("a")()
    places.take_for_other()()


def test_an_account_has_no_more_than_its_share_and_others_have_theirs(file):
    shares = Shares(file, per_account=5)
    taken, refusal = taken_until_refused(lambda: shares.take("a"))
    assert (len(taken), refusal.code, refusal.status) == (5, "too_many_transfers", 429)
    assert refusal.retry_after == 2
    shares.take("b")
    taken.pop()()
    shares.take("a")


def test_a_refused_place_costs_the_account_nothing(file):
    places = places_of(file, per_account=20)
    for _ in range(18):
        places.take_for_transfer("a")
    for _ in range(10):
        with pytest.raises(ServiceUnavailable):
            places.take_for_transfer("b")
    other = places_of(file, per_account=20)
    _, refusal = taken_until_refused(lambda: other.take_for_transfer("b"))
    assert refusal.code == "server_busy"  # before b's twenty are used up


@pytest.mark.process
def test_what_an_account_has_in_another_process_counts(file):
    with another_process(file, account="a", count=3, per_account=5):
        shares = Shares(file, per_account=5)
        taken, _ = taken_until_refused(lambda: shares.take("a"))
        assert len(taken) == 2
        assert len(taken_until_refused(lambda: shares.take("b"))[0]) == 5


@pytest.mark.process
def test_what_a_killed_process_had_is_free_again(file):
    shares = Shares(file, per_account=5)
    with another_process(file, account="a", count=5, per_account=5) as process:
        with pytest.raises(TooManyRequests):
            shares.take("a")
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert len(taken_until_refused(lambda: shares.take("a"))[0]) == 5


def test_threads_that_take_at_once_never_take_too_many(file):
    shares = Shares(file, per_account=50)
    outcomes = []
    start = Barrier(8)

    def take_many():
        start.wait()
        for _ in range(20):
            try:
                outcomes.append(shares.take("a"))
            except TooManyRequests:
                outcomes.append(None)

    threads = [Thread(target=take_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [outcome for outcome in outcomes if outcome]
    assert (len(outcomes), len(given)) == (160, 50)
    for give_back in given:
        give_back()
    assert len(taken_until_refused(lambda: shares.take("a"))[0]) == 50
