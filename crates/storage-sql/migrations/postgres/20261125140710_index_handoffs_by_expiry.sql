CREATE INDEX handoffs_by_expiry ON handoffs (expires_at);
