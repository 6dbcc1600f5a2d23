"""Accounts and tokens for tests; every one is new unless it is named."""

from datetime import datetime
from itertools import count

from accounts import principals, services
from accounts.models import ApiToken, User
from accounts.principals import Principal

PASSWORD = "correct horse battery"

_numbers = count(1)


def make_user(*, email: str | None = None, is_staff: bool = False) -> User:
    address = f"person{next(_numbers)}@example.org" if email is None else email
    return services.create_user(email=address, password=PASSWORD, is_staff=is_staff)


def principal_of(user: User) -> Principal:
    """Somebody who may do all that their account may, as after logging in."""
    return principals.of_session(user)


def make_token(
    *,
    user: User | None = None,
    name: str = "a script",
    scopes: tuple[str, ...] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    return services.create_token(
        user=user or make_user(), name=name, scopes=scopes, expires_at=expires_at
    )
