"""/api/v1/usage: what the account takes up, and what it may."""

from ninja import Router, Schema

from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from uploads.files.limits import AccountUsage, account_usage

router = Router(tags=["Usage"])
may_read = Authenticator(TokenScope.READ)


class UsageOut(Schema):
    """`used` may exceed `limit` where that was lowered; null: no limit."""

    used: int
    limit: int | None


class AccountUsageOut(Schema):
    """Of files that are uploading or stored. Their bytes count as announced from the first on."""

    bytes: UsageOut
    files: UsageOut
    uploads_under_way: UsageOut

    @classmethod
    def of(cls, account: AccountUsage) -> "AccountUsageOut":
        used, limits = account.used, account.limits
        return cls(
            bytes=UsageOut(used=used.size_bytes, limit=limits.size_bytes),
            files=UsageOut(used=used.files, limit=limits.files),
            uploads_under_way=UsageOut(used=used.open_sessions, limit=limits.open_sessions),
        )


@router.get("", response={200: AccountUsageOut}, auth=may_read)
def get_usage(request: AuthenticatedRequest) -> AccountUsageOut:
    """What your account takes up of its limits."""
    return AccountUsageOut.of(account_usage(principal=request.principal))
