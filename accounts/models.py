"""People and their API tokens."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Upper

from common import lengths
from common.models import TimeStampedModel


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        user = self.model(email=self.normalize_email(email), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(TimeStampedModel, AbstractUser):
    """A user, who logs in with an e-mail address. Upper and lower case do not matter in it."""

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    objects = UserManager()  # type: ignore[assignment,misc]

    class Meta:
        db_table = "account_user"
        constraints = [
            # Also the index that each log-in uses: email__iexact compares UPPER(email).
            models.UniqueConstraint(
                Upper("email"),
                name="account_user_email_any_case",
                violation_error_message="An account with this e-mail address exists already.",
            ),
        ]

    def __str__(self) -> str:
        return self.email


class TokenScope(models.TextChoices):
    """What a token may be used for. By default a new token has all of its owner's rights."""

    UPLOAD = "upload", "Send files"
    READ = "read", "List and download files"
    CONSUME = "consume", "Consume and delete files"
    WEBHOOKS = "webhooks", "Manage webhooks"
    WORKFLOWS = "workflows", "Run workflows"


class ApiToken(TimeStampedModel):
    """A bearer token. Only its SHA-256 is kept; `hint` is enough to recognise it in a list."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=lengths.TOKEN_NAME)
    hint = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=32, choices=TokenScope), default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "api_token"
        indexes = [
            # A user's tokens, newest first.
            models.Index(fields=["user", "-id"], name="api_token_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class Throttle(models.Model):
    """How often something was tried in a window that began with the first try.

    The key is a SHA-256 of what is counted and for whom (see `accounts.throttle`).
    """

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField()
    window_start = models.DateTimeField()

    class Meta:
        db_table = "throttle"
        indexes = [
            # For the purge of windows that are over.
            models.Index(fields=["window_start"], name="throttle_over"),
        ]

    def __str__(self) -> str:
        return f"{self.count} since {self.window_start}"
