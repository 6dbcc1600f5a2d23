"""Repeats bounded work until none is left."""

from collections.abc import Callable

_MOST_ROUNDS = 500  # the next run continues


def drain(step: Callable[[], int]) -> int:
    """Call `step` until it returns 0, at most 500 times. Returns the sum of its results."""
    total = 0
    for _ in range(_MOST_ROUNDS):
        done = step()
        total += done
        if done == 0:
            break
    return total
