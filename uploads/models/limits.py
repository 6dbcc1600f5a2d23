"""What an account may take up, where that differs from the portal's quotas."""

from django.conf import settings
from django.db import models

_HELP = "Empty: as the portal's settings say. 0: no limit."


class AccountLimits(models.Model):
    """An empty field: as the settings PORTAL_QUOTA_… say. 0: no limit."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
        verbose_name="account",
    )
    size_bytes = models.PositiveBigIntegerField("bytes", null=True, blank=True, help_text=_HELP)
    files = models.PositiveBigIntegerField(null=True, blank=True, help_text=_HELP)
    open_sessions = models.PositiveBigIntegerField(
        "open uploads", null=True, blank=True, help_text=_HELP
    )

    class Meta:
        db_table = "upload_limits"
        verbose_name = "account's limits"
        verbose_name_plural = "limits of accounts"

    def __str__(self) -> str:
        return f"limits of {self.owner}"
