"""Who may call what is about everybody's files: staff, with a token of the right scope."""

from accounts.authentication import Authenticator
from accounts.models import TokenScope
from common.webhooks.permissions import CHANGE_WEBHOOKS, SEE_WEBHOOKS

may_see_webhooks = Authenticator(TokenScope.WEBHOOKS, permission=SEE_WEBHOOKS)
may_restore = Authenticator(TokenScope.CONSUME, permission="uploads.change_ingestfile")
may_change_webhooks = Authenticator(TokenScope.WEBHOOKS, permission=CHANGE_WEBHOOKS)
