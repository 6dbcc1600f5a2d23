"""A password hasher that tells what it was asked."""

from typing import ClassVar

from django.contrib.auth.hashers import MD5PasswordHasher


class ListingHasher(MD5PasswordHasher):
    """Keeps the passwords that it hashed. To be emptied by the test that uses it."""

    hashed: ClassVar[list[str]] = []

    def encode(self, password: str, salt: str) -> str:
        self.hashed.append(password)
        return super().encode(password, salt)
