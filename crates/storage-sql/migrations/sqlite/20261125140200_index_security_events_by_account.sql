CREATE INDEX security_events_by_account ON security_events (account_id, occurred_at, id);
