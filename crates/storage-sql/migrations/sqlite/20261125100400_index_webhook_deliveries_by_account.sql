CREATE INDEX webhook_deliveries_by_account ON webhook_deliveries (account_id) WHERE account_id IS NOT NULL;
