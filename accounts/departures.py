"""Functions that higher apps want called when an account is deleted.

They register them here once, when the application starts (`uploads.apps`).
"""

from collections.abc import Callable
from uuid import UUID

# Each takes the account's id, and raises Conflict while the account owns what must keep its owner.
obstacles: list[Callable[[UUID], None]] = []

# Called in the transaction that deletes the account, before its own rows are touched. Each detaches
# rows that refer to the account, in the order of locks. (Django would use another order.)
let_go: list[Callable[[UUID], None]] = []
