"""Bounded work, repeated until there is none."""

from collections.abc import Callable

_MOST_ROUNDS = 500  # a run ends; the next one goes on


def drain(step: Callable[[], int]) -> int:
    """Call `step`, which says how much it did, until that is nothing; how much it was in all."""
    total = 0
    for _ in range(_MOST_ROUNDS):
        done = step()
        total += done
        if done == 0:
            break
    return total
