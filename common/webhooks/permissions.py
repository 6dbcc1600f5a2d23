"""What staff need for webhooks, deliveries and events, which tell of everybody's files."""

SEE_WEBHOOKS = "common.view_webhookendpoint"
CHANGE_WEBHOOKS = "common.change_webhookendpoint"
