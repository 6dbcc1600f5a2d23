import time

from boot.waiting import Waiting


def test_those_who_waited_longest_come_first():
    waiting = Waiting[str](10)
    for name in "abc":
        waiting.add(name)
    waiting.add("a")  # anew
    assert (waiting.longest(), waiting.everybody()) == ("b", ["b", "c", "a"])


def test_nobody_is_overdue_before_the_time():
    waiting = Waiting[str](60)
    waiting.add("a")
    assert waiting.overdue() == []


def test_the_overdue_stay_until_they_are_removed():
    waiting = Waiting[str](0)
    waiting.add("a")
    waiting.add("b")
    assert waiting.overdue() == waiting.overdue() == ["a", "b"]
    waiting.remove("a")
    assert waiting.overdue() == ["b"]


def test_who_does_not_wait_can_be_removed():
    waiting = Waiting[str](0)
    waiting.remove("a")
    assert (len(waiting), waiting.longest()) == (0, None)


def test_all_can_be_told_to_end_sooner():
    waiting = Waiting[str](60)
    waiting.add("a")
    waiting.end_by(time.monotonic())
    assert waiting.overdue() == ["a"]


def test_that_makes_nobody_wait_longer():
    waiting = Waiting[str](0)
    waiting.add("a")
    waiting.end_by(time.monotonic() + 60)
    assert waiting.overdue() == ["a"]
