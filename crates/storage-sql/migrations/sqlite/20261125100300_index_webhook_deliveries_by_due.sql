CREATE INDEX webhook_deliveries_by_due ON webhook_deliveries (endpoint, due_at, id);
