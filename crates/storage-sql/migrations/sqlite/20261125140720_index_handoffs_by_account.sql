CREATE INDEX handoffs_by_account ON handoffs (account_id);
