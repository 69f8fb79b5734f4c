CREATE INDEX security_events_by_time ON security_events (occurred_at);
