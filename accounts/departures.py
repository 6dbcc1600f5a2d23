"""What the rooms above have to say when an account is deleted.

They register it here, once, when the application starts (`uploads.apps`).
"""

from collections.abc import Callable
from uuid import UUID

# Each raises Conflict while the account, given by its id, has what must not lose its owner.
obstacles: list[Callable[[UUID], None]] = []

# Called in the transaction that deletes the account, before its own rows are touched. Each takes
# the rows that name it from it, in the order of locks: Django would take them in another one.
let_go: list[Callable[[UUID], None]] = []
