"""Permissions of staff for webhooks, deliveries and events, which show all users' files."""

SEE_WEBHOOKS = "common.view_webhookendpoint"
CHANGE_WEBHOOKS = "common.change_webhookendpoint"
